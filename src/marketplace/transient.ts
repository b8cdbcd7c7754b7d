import { ClockOutOfService } from '../commands/clock.ts'
import { AttemptInDoubt, LedgerUnavailable, Undeliverable } from '../commands/errors.ts'
import { EventStoreUnavailable } from '../eventstore/store.ts'
import { isUnavailable } from '../postgres/pool.ts'
import { AwsUnavailable } from './aws-calls.ts'

/** Whether a failure passes by itself: whatever was meant is done again later, and nothing is done twice by that. */
export const isTransient = (error: unknown): boolean =>
  error instanceof AwsUnavailable ||
  error instanceof EventStoreUnavailable ||
  error instanceof LedgerUnavailable ||
  error instanceof AttemptInDoubt ||
  error instanceof Undeliverable ||
  error instanceof ClockOutOfService ||
  isUnavailable(error)
