/**
 * Rows of a table against what the log says they are. Pure. Every value is a text, so that a row of Postgres and one
 * that was folded from the log are compared by one rule; rows that need no longer be changed are kept as a digest.
 */
import { createHash } from 'node:crypto'
import { canonicalText } from '../events/canonical.ts'

export interface AuditedTable {
  readonly name: string
  readonly columns: readonly string[]
  /** The columns that tell its rows apart, besides `customer_id`. */
  readonly key: readonly string[]
  /** UTC month that a row belongs to; '' for one that is of the customer as a whole. */
  readonly monthOf: (values: Readonly<Record<string, unknown>>) => string
  /** Of a table that is compared as one, the months of its rows. */
  readonly monthNamed?: (values: Readonly<Record<string, unknown>>) => string
  /** Of each row the one event of the customer's stream that it is about, where there is one. */
  readonly eventOf?: (values: Readonly<Record<string, unknown>>) => EventPlace | null
}

/** Of the customer's stream; the id where the row or the fold knows it. */
export interface EventPlace {
  readonly revision: string
  readonly id: string | null
}

export interface Row {
  /** Column → text, in the order of the table's columns. */
  readonly texts: ReadonlyMap<string, string>
  /** '' where its table names none. */
  readonly month: string
  readonly event: EventPlace | null
}
/** Rows of one table, customer and month, by their key. */
export type Rows = ReadonlyMap<string, Row>
/** Rows of several tables, of one customer and month. */
export type Tables = ReadonlyMap<AuditedTable, Rows>
/** Rows, or their digest where nothing else is left of them. */
export type Expected = Tables | string

/** One text for each value: that of a column of Postgres, and that of the same value out of an event. */
function textOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (value instanceof Date) return JSON.stringify(value.toISOString())
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'object') return canonicalText(JSON.parse(JSON.stringify(value)))
  return String(value)
}

const rowOf = ({ columns, monthNamed, eventOf }: AuditedTable, values: Readonly<Record<string, unknown>>): Row => ({
  texts: new Map(columns.map((column) => [column, textOf(values[column])])),
  month: monthNamed?.(values) ?? '',
  event: eventOf?.(values) ?? null,
})

const keyOf = ({ key }: AuditedTable, { texts }: Row): string => key.map((column) => texts.get(column)).join(' ')

export function rowsOf(table: AuditedTable, all: readonly Readonly<Record<string, unknown>>[]): Rows {
  const rows = all.map((values) => rowOf(table, values))
  return new Map(rows.map((row) => [keyOf(table, row), row]))
}

/** '' for no rows, whichever tables they are not in. */
export function digestOf(tables: Tables): string {
  const hash = createHash('sha256')
  let rows = 0
  for (const [{ name }, ofTable] of tables) {
    for (const [, row] of [...ofTable].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(`${name} ${JSON.stringify([...row.texts.values()])}`)
      rows += 1
    }
  }
  return rows === 0 ? '' : hash.digest('hex')
}

export const isSame = (expected: Expected, found: Tables): boolean =>
  (typeof expected === 'string' ? expected : digestOf(expected)) === digestOf(found)

export interface RowFault {
  readonly table: string
  readonly row: string
  readonly fault: string
  readonly month?: string
  readonly event?: EventPlace | null
}

/** Every row that differs, by name. */
export function rowFaults(expected: Tables, found: Tables): RowFault[] {
  return [...expected].flatMap(([table, rows]) => faultsOfTable(table.name, rows, found.get(table) ?? new Map()))
}

function faultsOfTable(table: string, expected: Rows, found: Rows): RowFault[] {
  const faults: RowFault[] = []
  const say = (row: string, { month, event }: Row, fault: string) =>
    void faults.push({ table, row, fault, month, event })
  for (const [key, row] of expected) {
    const there = found.get(key)
    if (there === undefined) say(key, row, `${table} has no such row; the log says there is one`)
    for (const [column, value] of row.texts) {
      const is = there?.texts.get(column)
      if (is !== undefined && is !== value) say(key, row, `${table}.${column} is ${is}, the log says ${value}`)
    }
  }
  for (const [key, row] of found) {
    if (!expected.has(key)) say(key, row, `${table} has a row that the log says nothing of`)
  }
  return faults
}
