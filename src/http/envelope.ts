/** The common structure of every answer, and the table of error codes with their statuses. */
import type { CustomerState } from '../commands/state.ts'

/** Source: api-reference, "Error Code List"; rate_limited: its note about overall throttling. */
export const errorStatus = {
  invalid_request: 400,
  invalid_image: 400,
  invalid_api_key: 401,
  forbidden: 403,
  not_found: 404,
  quota_exceeded: 429,
  rate_limited: 429,
  internal_error: 500,
  service_unavailable: 503,
} as const
export type ErrorCode = keyof typeof errorStatus

/** Thrown anywhere below a route to end the request with this answer. The message is read by customers. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly code: ErrorCode
  readonly retryAfterSeconds: number | undefined
  /** The customer's state that the refusal was decided on, where there is one: its counters go into the answer. */
  readonly state: CustomerState | undefined
  /** Authentication failed: the answer names no customer. */
  readonly anonymous: boolean

  constructor(
    code: ErrorCode,
    message: string,
    more: { retryAfterSeconds?: number; state?: CustomerState; anonymous?: boolean; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.code = code
    this.retryAfterSeconds = more.retryAfterSeconds ?? (code === 'service_unavailable' ? 2 : undefined)
    this.state = more.state
    this.anonymous = more.anonymous ?? code === 'invalid_api_key'
  }
}

/** The two counters of `metadata`. */
export interface MonthCounters {
  readonly remainingCalls: number
  readonly overLimitCalls: number
}

export interface Stamp {
  /** ISO 8601, UTC, milliseconds. */
  readonly date: string
  /** The package's version. */
  readonly ver: string
}

export function success<T>({ date, ver }: Stamp, customerId: string, month: MonthCounters, data: T) {
  return {
    metadata: {
      date,
      ver,
      customer_id: customerId,
      remaining_calls: month.remainingCalls,
      over_limit_calls: month.overLimitCalls,
      status: 'success' as const,
    },
    data,
  }
}

/** `customerId` and `month` are null where nobody is authenticated, `month` alone where it cannot be read. */
export function failure({ date, ver }: Stamp, error: ApiError, customerId: string | null, month: MonthCounters | null) {
  return {
    metadata: {
      date,
      ver,
      customer_id: customerId,
      remaining_calls: month?.remainingCalls ?? null,
      over_limit_calls: month?.overLimitCalls ?? null,
      status: 'error' as const,
    },
    error: { code: error.code, message: error.message },
  }
}
