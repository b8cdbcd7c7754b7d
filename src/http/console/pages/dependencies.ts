/** What the customer's pages ask of the rest of the program, besides identity. `readmodels/console.ts` answers most. */
import type { Readable } from 'node:stream'
import type { PlanName } from '../../../events/catalogue.ts'
import type { ActivityQuery, Occurrence } from '../../../readmodels/activity.ts'
import type { ListedKey } from '../../../readmodels/api-keys.ts'
import type { Customer } from '../../../readmodels/customers.ts'
import type { MonthTotals } from '../../../readmodels/months.ts'
import type { Statement as MonthRows } from '../../../readmodels/usage.ts'
import type { LoggedEvent, MonthStatement } from '../../../statements/month.ts'
import type { ConsoleDependencies } from '../context.ts'

export type { Customer, ListedKey, LoggedEvent, MonthRows, MonthStatement, MonthTotals, Occurrence, PlanName }

/** Months are UTC, `YYYY-MM`; instants ISO 8601 UTC. Each answers null where there is nothing to tell. */
export interface ConsoleReads {
  /** The customer as of `now`. */
  customer(customerId: string, now: string): Promise<Customer | null>
  /** Totals, days and prices of a month, also of one that is not opened in the log yet. */
  month(customerId: string, month: string): Promise<MonthRows | null>
  /** The newest first. */
  months(customerId: string): Promise<MonthTotals[]>
  /** Revoked ones too, the newest first. */
  keys(customerId: string): Promise<ListedKey[]>
  firstCallAt(customerId: string): Promise<string | null>
  activity(customerId: string, query: ActivityQuery): Promise<Occurrence[]>
  /** Folded from the log. @throws EventStoreUnavailable, LogMismatch */
  statement(customerId: string, month: string): Promise<MonthStatement | null>
  /** The events that the statement is a fold of, as they are read. */
  statementEvents(customerId: string, month: string): Promise<AsyncIterable<LoggedEvent> | null>
}

export interface ConsolePagesDependencies
  extends Pick<ConsoleDependencies, 'version' | 'publicUrl' | 'ledgers' | 'shows' | 'isUnavailable' | 'clock'> {
  readonly accounts: Pick<ConsoleDependencies['accounts'], 'verifyTotp'>
  readonly reads: ConsoleReads
  /**
   * The customer's month as a signed bundle. A stream that breaks off ends with an error.
   * @throws NothingToExport, NotAnchoredYet, EventStoreUnavailable, LogMismatch, UnreadableEvent
   */
  readonly bundle: (customerId: string, month: string) => Promise<Readable>
  /** How overage reaches AWS Marketplace. */
  readonly metering: {
    /** Whether records are submitted at all. */
    readonly submitted: boolean
    /** Seconds that an hour stays open for late calls before it is sealed and sent. */
    readonly graceSeconds: number
  }
}
