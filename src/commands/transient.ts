import { EventStoreUnavailable } from '../eventstore/store.ts'
import { isUnavailable } from '../postgres/pool.ts'
import { ClockOutOfService } from './clock.ts'
import { AttemptInDoubt, LedgerUnavailable, Undeliverable } from './errors.ts'

/** Whether a failure of our servers or of the clock passes by itself: what was meant may be done again later. */
export const passesByItself = (error: unknown): boolean =>
  error instanceof EventStoreUnavailable ||
  error instanceof LedgerUnavailable ||
  error instanceof AttemptInDoubt ||
  error instanceof Undeliverable ||
  error instanceof ClockOutOfService ||
  isUnavailable(error)
