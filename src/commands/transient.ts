import { EventStoreUnavailable } from '../eventstore/store.ts'
import { isUnavailable } from '../postgres/pool.ts'
import { NotFreshYet } from '../readmodels/freshness.ts'
import { ClockOutOfService } from './clock.ts'
import { AttemptInDoubt, LedgerUnavailable, Undeliverable } from './errors.ts'

/** Whether a failure of our servers, read models or clock passes by itself: what was meant may be done again later. */
export const passesByItself = (error: unknown): boolean =>
  error instanceof EventStoreUnavailable ||
  error instanceof LedgerUnavailable ||
  error instanceof AttemptInDoubt ||
  error instanceof Undeliverable ||
  error instanceof ClockOutOfService ||
  error instanceof NotFreshYet ||
  isUnavailable(error)
