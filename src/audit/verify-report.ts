/** What verification found. */
import type { Position } from '../eventstore/store.ts'

/**
 * - `chain`: an event is not at its place, or not what its writer wrote
 * - `unreadable`: an event that this program does not know
 * - `rule`: no correct writer can have written the event behind those before it
 * - `metering`: what metering says of the calls is not what the calls say
 * - `anchor`: the log is not the one that was anchored
 * - `read_model`, `metering_table`: a row of Postgres is not what the log says
 */
export const kinds = ['chain', 'unreadable', 'rule', 'metering', 'anchor', 'read_model', 'metering_table'] as const
export type Kind = (typeof kinds)[number]

/** A difference, with whatever of customer, month, event and row it concerns. */
export interface Difference {
  readonly kind: Kind
  readonly customerId: string | null
  /** `YYYY-MM`, UTC. */
  readonly month: string | null
  readonly stream: string | null
  /** Decimal. */
  readonly revision: string | null
  /** Of the event. */
  readonly id: string | null
  /** Key of a row, name of a record, or path of an anchor. */
  readonly row: string | null
  readonly fault: string
}

/** Tables, at the place where they were compared. */
export interface TablesCompared {
  readonly rows: number
  /** Customer events in the log that they had not folded then. */
  readonly eventsBehind: number
  /** Event that they had folded last; null where each customer's rows were compared at the customer's own revision. */
  readonly at: { readonly position: Position; readonly created: string } | null
}

export interface VerifyReport {
  /** Every one counts here; `differences` holds the first of them. */
  readonly counts: Readonly<Record<Kind, number>>
  readonly differences: readonly Difference[]
  readonly events: number
  readonly streams: number
  readonly customers: number
  readonly months: number
  readonly closedMonths: number
  /** Sealed metering records. */
  readonly records: number
  readonly anchors: readonly string[]
  /** Null where there are no such tables: nothing was ever folded into them here. */
  readonly readModels: TablesCompared | null
  readonly metering: TablesCompared | null
  /** Events that an earlier, interrupted run had read. */
  readonly resumedAt: number
}

/** Differences kept by name: a log that is damaged throughout must not fill the memory. */
export const mostDifferences = 10_000

export interface Findings {
  readonly counts: Record<Kind, number>
  readonly differences: Difference[]
}

export const noFindings = (): Findings => ({
  counts: { chain: 0, unreadable: 0, rule: 0, metering: 0, anchor: 0, read_model: 0, metering_table: 0 },
  differences: [],
})

export type Say = (kind: Kind, where: Partial<Omit<Difference, 'kind' | 'fault'>>, fault: string) => void

/** @param month only what concerns this month; chains and anchors concern every month */
export const sayInto =
  ({ counts, differences }: Findings, month: string | undefined): Say =>
  (kind, where, fault) => {
    const concerns = month === undefined || where.month === undefined || where.month === null || where.month === month
    if (!concerns && kind !== 'chain' && kind !== 'anchor') return
    counts[kind] += 1
    if (differences.length >= mostDifferences) return
    const { customerId = null, stream = null, revision = null, id = null, row = null } = where
    differences.push({ kind, customerId, month: where.month ?? null, stream, revision, id, row, fault })
  }
