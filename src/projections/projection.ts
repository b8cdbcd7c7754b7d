/**
 * What a projection is: a name, a version, tables, and a pure fold from a batch of events to statements. It sees event
 * data and folded state only, never a clock, so that a replay writes the same rows.
 */
import type { CustomerState } from '../commands/state.ts'
import type { CustomerEvent } from '../events/catalogue.ts'

/** An event with the customer's state on both sides of it. */
export interface FoldedEvent {
  readonly customerId: string
  readonly revision: bigint
  readonly eventId: string
  /** Who caused it, as in the metadata. */
  readonly actor: string
  /** The event's own hash, by which the next event of the stream names it. */
  readonly hash: string
  readonly event: CustomerEvent
  readonly before: CustomerState
  readonly after: CustomerState
}

/** One SQL statement. `name` makes it a prepared one: the same text under the same name, always. */
export interface Statement {
  readonly name: string
  readonly text: string
  readonly values: unknown[]
}

export interface Projection {
  readonly name: string
  /** Raise when the tables or the fold change: the next start rebuilds all read models beside the live ones. */
  readonly version: number
  /** Table name → its DDL, with indexes. Names are unqualified: each generation has a schema of its own. */
  readonly tables: Readonly<Record<string, string>>
  /**
   * Changed rows of a batch, which is in order of the log; `last` holds the last event of each customer in it, for rows
   * that are a function of the state alone. Must give the same rows however the log is cut into batches.
   */
  fold(batch: readonly FoldedEvent[], last: readonly FoldedEvent[]): Statement[]
}

type Row = Readonly<Record<string, unknown>>

/** Column name → SQL type. */
type Columns = Readonly<Record<string, string>>

/**
 * `json_to_recordset` for a statement's one parameter. One JSON document instead of an array per column: making it is
 * native code, where pg's array literals cost a replace per value.
 */
export const recordset = (alias: string, columns: Columns): string =>
  `json_to_recordset($1) as ${alias}(${Object.entries(columns)
    .map(([column, type]) => `${column} ${type}`)
    .join(', ')})`

/**
 * Makes a multi-row upsert. Where a row with the key exists, each other column takes the new value, or the expression
 * given in `merge` (`null`: stays as it is).
 */
export function upsert(
  table: string,
  key: readonly string[],
  columns: Columns,
  merge: Readonly<Record<string, string | null>> = {},
): (rows: readonly Row[]) => Statement[] {
  const names = Object.keys(columns)
  const sets = names
    .filter((column) => !key.includes(column) && merge[column] !== null)
    .map((column) => `${column} = ${merge[column] ?? `excluded.${column}`}`)
  const text = `insert into ${table} as t (${names.join(', ')})
    select ${names.map((column) => `r.${column}`).join(', ')} from ${recordset('r', columns)}
    on conflict (${key.join(', ')}) do ${sets.length === 0 ? 'nothing' : `update set ${sets.join(', ')}`}`
  return (rows) => statement(`${table}.upsert`, text, rows)
}

/** A statement over rows, or none when there are no rows. */
export function statement(name: string, text: string, rows: readonly Row[]): Statement[] {
  return rows.length === 0 ? [] : [{ name, text, values: [JSON.stringify(rows)] }]
}
