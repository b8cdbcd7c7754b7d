/** From decided events to a frozen attempt, and from an attempt to a definite answer, or to doubt. */
import { randomUUID } from 'node:crypto'
import { type CustomerEvent, currentVersion, customerEventData } from '../events/catalogue.ts'
import { chain, type Head } from '../events/chain.ts'
import type { Attempt, EventStore, SendOutcome } from '../eventstore/store.ts'

/** Who caused an event, for its metadata. */
export interface Origin {
  /** The request's id. */
  readonly correlationId: string
  /** The command's id, or that of the event reacted to. */
  readonly causationId: string
  readonly actor: string
}

export interface Caused {
  readonly event: CustomerEvent
  readonly origin: Origin
}

/** Gives decided events their ids, metadata and places behind `head`. From here on nothing of it changes. */
export function freeze(stream: string, head: Head, caused: readonly Caused[]): { attempt: Attempt; head: Head } {
  const linked = chain(
    stream,
    head,
    caused.map(({ event, origin }) => ({
      id: event.type === 'DetectionSucceeded' ? event.data.detectionId : randomUUID(),
      type: event.type,
      data: customerEventData[event.type].parse(event.data),
      metadata: { ...origin, schema: String(currentVersion[event.type]) },
    })),
  )
  const expectedRevision = head.revision < 0n ? 'no_stream' : head.revision
  return { attempt: { stream, expectedRevision, events: linked.events }, head: linked.head }
}

export interface Patience {
  /** Of one send, in milliseconds. */
  readonly sendMs: number
  /** Of all sends of one attempt. */
  readonly attemptMs: number
}
export const defaultPatience: Patience = { sendMs: 2_500, attemptMs: 8_000 }

/**
 * Sends the same attempt until its outcome is known, or patience ends; then `unknown`. Once one send ended unknown, a
 * refusal of a later one says nothing of it: it may have landed, or land yet.
 */
export async function sendUntilKnown(store: EventStore, attempt: Attempt, patience: Patience): Promise<SendOutcome> {
  const giveUpAt = performance.now() + patience.attemptMs
  let unknown: SendOutcome | undefined
  for (let pauseMs = 25; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    const left = giveUpAt - performance.now()
    // A process that was frozen in the pause must not send what it decided long ago.
    if (unknown !== undefined && left <= 0) return unknown
    const outcome = await store.send(attempt, Math.max(1, Math.min(patience.sendMs, left)))
    if (outcome.kind === 'appended' || outcome.kind === 'conflict') return outcome
    if (outcome.kind === 'refused' && unknown === undefined) return outcome
    unknown = { kind: 'unknown', cause: outcome.cause }
    if (performance.now() + pauseMs >= giveUpAt) return unknown
    await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random() / 2)))
  }
}
