/** Anything thrown anywhere → how the request ends. One place, so that no error reaches a customer by accident. */

import type { FastifyBaseLogger } from 'fastify'
import { ClockOutOfService } from '../commands/clock.ts'
import { AttemptInDoubt, ClientGone, LedgerUnavailable, LogMismatch, Undeliverable } from '../commands/errors.ts'
import { UnreadableEvent } from '../events/parse.ts'
import { EventStoreUnavailable } from '../eventstore/store.ts'
import { InvalidImage } from '../inference/image-format.ts'
import { Overloaded } from '../inference/pool.ts'
import { ApiError, type ErrorCode } from './envelope.ts'

export type Ending =
  | {
      readonly kind: 'answer'
      readonly error: ApiError
      readonly log: 'none' | 'warn' | 'error' | 'alarm'
      /** The customer's counters cannot be read for this answer either: do not make the caller wait for that. */
      readonly ledgerOut: boolean
    }
  /** Nobody knows whether the call is billed. Every answer could be a lie, so the connection just closes. */
  | { readonly kind: 'close_unanswered' }
  | { readonly kind: 'client_gone' }

const answer = (
  error: ApiError,
  log: Extract<Ending, { kind: 'answer' }>['log'] = 'none',
  ledgerOut = false,
): Ending => ({ kind: 'answer', error, log, ledgerOut })

/** @param isUnavailable says of errors that http does not know by type whether they pass by themselves */
export function endingOf(thrown: unknown, isUnavailable: (error: unknown) => boolean): Ending {
  if (thrown instanceof ApiError) return answer(thrown)
  if (thrown instanceof Undeliverable) return { kind: 'close_unanswered' }
  if (thrown instanceof ClientGone || isAbortedUpload(thrown)) return { kind: 'client_gone' }
  if (thrown instanceof InvalidImage) return answer(new ApiError('invalid_image', thrown.message))
  if (thrown instanceof Overloaded) {
    return answer(unavailable('Too many checks are waiting. Try again in a moment.', thrown), 'warn')
  }
  if (thrown instanceof LogMismatch || thrown instanceof UnreadableEvent) {
    return answer(unavailable('The service is temporarily unavailable.', thrown), 'alarm', true)
  }
  if (
    thrown instanceof LedgerUnavailable ||
    thrown instanceof AttemptInDoubt ||
    thrown instanceof ClockOutOfService ||
    thrown instanceof EventStoreUnavailable
  ) {
    return answer(unavailable(tryAgain, thrown), 'warn', true)
  }
  if (isUnavailable(thrown)) return answer(unavailable(tryAgain, thrown), 'warn')
  const refused = asFrameworkRefusal(thrown)
  if (refused !== null) return answer(refused)
  return answer(new ApiError('internal_error', 'Something went wrong on our side.', { cause: thrown }), 'error')
}

/** The line that an ending is worth, if any: with the alarm where a customer's log cannot be trusted. */
export function logEnding(log: FastifyBaseLogger, ending: Ending, thrown: unknown, message: string): void {
  if (ending.kind === 'close_unanswered') log.error({ err: thrown, alarm: 'undeliverable' }, message)
  if (ending.kind !== 'answer') return
  if (ending.log === 'warn') log.warn({ err: thrown }, message)
  else if (ending.log === 'alarm') log.error({ err: thrown, alarm: 'customer_log' }, message)
  else if (ending.log === 'error') log.error({ err: thrown }, message)
}

/** Node's word for a client that went away in the middle of its own request body. */
const isAbortedUpload = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && thrown.code === 'ECONNRESET' && thrown.message === 'aborted'

const tryAgain = 'The service is temporarily unavailable. Try again in a moment.'
const unavailable = (message: string, cause: unknown) => new ApiError('service_unavailable', message, { cause })

/** Fastify's own refusals. The texts are ours: some of Fastify's repeat what the client sent. */
const frameworkRefusals: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [
    'invalid_request',
    'The request body is too large: it may be 20 MB, and image in it at most 10 MB of Base64.',
  ],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['invalid_request', 'The Content-Type must be application/json.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The request body is empty.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_request', 'The request body is not valid JSON.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The request body does not have the announced length.'],
  FST_ERR_BAD_URL: ['not_found', 'There is nothing at this address.'],
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'There is nothing at this address.'],
}

interface FrameworkError {
  readonly code?: unknown
  readonly statusCode?: unknown
  readonly validation?: readonly { readonly instancePath?: string; readonly message?: string }[]
}

function asFrameworkRefusal(thrown: unknown): ApiError | null {
  if (!(thrown instanceof Error)) return null
  const { code, statusCode, validation } = thrown as FrameworkError
  if (validation !== undefined) {
    const issue = validation[0]
    const field = issue?.instancePath?.replace(/^\//, '') ?? ''
    return new ApiError('invalid_request', `${field === '' ? '' : `${field}: `}${issue?.message ?? 'is not valid'}`)
  }
  const known = typeof code === 'string' ? frameworkRefusals[code] : undefined
  if (known !== undefined) return new ApiError(...known)
  // What a body parser throws carries a 4xx; nothing else in this program does.
  const isClientError = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  return isClientError ? new ApiError('invalid_request', 'The request could not be read.') : null
}
