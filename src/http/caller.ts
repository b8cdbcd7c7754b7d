/** Who is calling, and the one way in which a request gives commands to that customer's ledger. */
import type { FastifyRequest } from 'fastify'
import type { Executed } from '../commands/batch.ts'
import type { CustomerCommand } from '../commands/customer.ts'
import type { IdempotencyKey, KeyLookup } from '../commands/idempotency.ts'
import type { Dependencies } from './dependencies.ts'
import { ApiError } from './envelope.ts'
import type { HttpMetrics } from './metrics.ts'

export interface Caller {
  readonly customerId: string
  readonly keyId: string
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Null before the key was found good, and on routes without authentication. */
    caller: Caller | null
    /** The code of the error answered, for log and metrics. */
    errorCode: string | null
  }
}

/** The caller of a route behind the authentication hook. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null) throw new Error(`${request.routeOptions.url} is not behind the authentication`)
  return request.caller
}

export type Execute = (
  request: FastifyRequest,
  caller: Caller,
  command: CustomerCommand,
  options?: {
    readonly idempotency?: { readonly keys: readonly IdempotencyKey[]; readonly lookup: KeyLookup } | undefined
    readonly signal?: AbortSignal | undefined
    readonly doubtStanding?: boolean
  },
) => Promise<Executed>

/** @returns a function that throws what Ledger.execute throws */
export function createExecute(ledgers: Dependencies['ledgers'], metrics: HttpMetrics): Execute {
  return async (request, { customerId, keyId }, command, { idempotency, signal, doubtStanding = false } = {}) => {
    const origin = { correlationId: request.id, causationId: request.id, actor: `key:${keyId}` }
    let outcome = 'failed'
    try {
      const executed = await ledgers.execute(customerId, { command, origin, idempotency, signal }, { doubtStanding })
      outcome = executed.kind === 'refused' ? executed.refusal : executed.kind
      return executed
    } catch (error) {
      if (error instanceof Error) outcome = error.name
      throw error
    } finally {
      metrics.commands.inc({ command: command.type, outcome })
    }
  }
}

/** What a command that was not refused left behind. @throws ApiError for every other end */
export function granted(executed: Executed): Extract<Executed, { kind: 'done' | 'replayed' }> {
  switch (executed.kind) {
    case 'done':
    case 'replayed':
      return executed
    case 'key_reused':
      throw new ApiError('invalid_request', 'This Idempotency-Key was used before, with another request body.', {
        state: executed.state,
      })
    case 'tables_behind':
      throw new ApiError('service_unavailable', 'The service is temporarily unavailable. Try again in a moment.', {
        state: executed.state,
      })
    case 'refused':
      switch (executed.refusal) {
        case 'invalid_api_key':
        case 'no_such_customer':
          throw new ApiError('invalid_api_key', invalidKeyMessage)
        case 'quota_exceeded':
          throw new ApiError('quota_exceeded', executed.message, { state: executed.state })
        default:
          throw new Error(`a request was refused with ${executed.refusal}: ${executed.message}`)
      }
  }
}

/** The same words for every bad key: nobody learns from them whether a key exists. */
export const invalidKeyMessage = 'The API key is missing, unknown, deactivated or expired.'
