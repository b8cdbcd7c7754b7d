/** Writes the answer to whatever was thrown: common structure, customer's counters, log line, unread body. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { counters } from '../commands/state.ts'
import type { Caller, Execute } from './caller.ts'
import type { Dependencies } from './dependencies.ts'
import { type ApiError, errorStatus, failure, type MonthCounters } from './envelope.ts'
import { endingOf, logEnding } from './errors.ts'
import { answerThenDrain, bodyIsUnread } from './unread-body.ts'

/** How long an error may wait for the customer's counters before it goes out without them. */
const maxCountersMs = 1_000

export type AnswerError = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

export function createErrorAnswers(
  { version, isUnavailable }: Pick<Dependencies, 'version' | 'isUnavailable'>,
  execute: Execute,
  date: () => string,
): AnswerError {
  return async (thrown, request, reply) => {
    const ending = endingOf(thrown, isUnavailable)
    if (ending.kind !== 'answer') {
      logEnding(request.log, ending, thrown, 'closed without an answer')
      reply.hijack()
      request.raw.socket.destroy()
      return reply
    }
    const { error, ledgerOut } = ending
    request.errorCode = error.code
    logEnding(request.log, ending, thrown, error.message)

    // Nobody is named when authentication fails, also where the ledger is the one to say so.
    const caller = error.anonymous ? null : (request.caller ?? null) // a URL that cannot be read comes before any hook
    const month = caller === null ? null : await monthOf(caller, error, ledgerOut)
    const named = caller === null || month === 'bad key' ? null : { customerId: caller.customerId, month }
    const stamp = { date: date(), ver: version }
    const body = JSON.stringify(failure(stamp, error, named?.customerId ?? null, named?.month ?? null))

    reply.code(errorStatus[error.code]).type('application/json; charset=utf-8')
    if (error.retryAfterSeconds !== undefined) reply.header('retry-after', String(error.retryAfterSeconds))
    if (!bodyIsUnread(request.raw)) return reply.send(body)
    reply.header('connection', 'close')
    // A client that waits for "100 Continue" has not begun to send, and will not.
    if (request.headers.expect !== undefined) return reply.send(body)
    return reply.header('content-length', Buffer.byteLength(body)).send(answerThenDrain(request.raw, body))

    /** 'bad key' where the throttle came before the ledger could say so. */
    async function monthOf(
      caller: Caller,
      error: ApiError,
      ledgerOut: boolean,
    ): Promise<MonthCounters | 'bad key' | null> {
      if (error.state !== undefined) return counters(error.state)
      if (ledgerOut) return null
      let timer: NodeJS.Timeout | undefined
      const tooLate = new Promise<null>((resolve) => {
        timer = setTimeout(resolve, maxCountersMs, null)
      })
      const observed = execute(request, caller, { type: 'Observe', keyId: caller.keyId }).then(
        (executed) => (executed.kind === 'refused' ? 'bad key' : counters(executed.state)),
        () => null, // the answer goes out without the figures; the failure itself is counted as a command's
      )
      return Promise.race([observed, tooLate]).finally(() => clearTimeout(timer))
    }
  }
}
