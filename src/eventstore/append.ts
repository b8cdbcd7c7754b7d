import {
  AccessDeniedError,
  jsonEvent,
  MaxAppendSizeExceededError,
  StreamDeletedError,
  WrongExpectedVersionError,
} from '@eventstore/db-client'
import { asError } from '../as-error.ts'
import type { Connection } from './connection.ts'
import type { Attempt, SendOutcome } from './store.ts'

/** gRPC's numbers. After these two the client reconnects by itself; they come as raw errors too, so by number. */
const CANCELLED = 1
const UNAVAILABLE = 14

/**
 * Sends an attempt once, and ends after `deadlineMs` at the latest: the client's batch append has no deadline of its
 * own. An answer after that is ignored. Never throws.
 */
export async function sendAttempt(connection: Connection, attempt: Attempt, deadlineMs: number): Promise<SendOutcome> {
  const { client } = connection
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<SendOutcome>((resolve) => {
    timer = setTimeout(
      () => resolve({ kind: 'unknown', cause: new Error(`No answer in ${deadlineMs} ms`) }),
      deadlineMs,
    )
  })
  const refusal = unsendable(attempt)
  if (refusal !== undefined) {
    clearTimeout(timer)
    return { kind: 'refused', cause: refusal }
  }
  const answer = client
    .appendToStream(attempt.stream, attempt.events.map(toClientEvent), {
      expectedRevision: attempt.expectedRevision,
      deadline: deadlineMs,
    })
    .then(
      ({ nextExpectedRevision }): SendOutcome => ({ kind: 'appended', revision: nextExpectedRevision }),
      (error: unknown) => {
        const outcome = outcomeOf(error)
        if (outcome.kind === 'unknown' && needsNewClient(error)) connection.replace(client)
        return outcome
      },
    )
  const outcome = await Promise.race([answer, deadline])
  clearTimeout(timer)
  return outcome
}

function toClientEvent({ id, type, data, metadata }: Attempt['events'][number]) {
  return jsonEvent({ id, type, data, metadata })
}

/** What the client would trip over out of reach of any catch, or the server take for something else. */
function unsendable({ events }: Attempt): Error | undefined {
  if (events.length === 0) return new Error('An attempt without events')
  try {
    for (const { data, metadata } of events) {
      JSON.stringify(data)
      JSON.stringify(metadata)
    }
  } catch (error) {
    return asError(error)
  }
  return undefined
}

function outcomeOf(error: unknown): SendOutcome {
  if (error instanceof WrongExpectedVersionError) return { kind: 'conflict' }
  if (
    error instanceof MaxAppendSizeExceededError ||
    error instanceof AccessDeniedError ||
    error instanceof StreamDeletedError
  ) {
    return { kind: 'refused', cause: error }
  }
  return { kind: 'unknown', cause: asError(error) }
}

/** An error of the call itself carries a number; an answer to an append carries none. */
function needsNewClient(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'number' && code !== UNAVAILABLE && code !== CANCELLED
}
