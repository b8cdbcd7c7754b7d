/** Holds tables of Postgres against what was folded from the log, a few customers at a time. */
import type pg from 'pg'
import type { CustomerBook } from './verify-book.ts'
import {
  type AuditedTable,
  type Expected,
  isSame,
  type RowFault,
  type Rows,
  rowFaults,
  rowsOf,
  type Tables,
} from './verify-rows.ts'

export interface TableCheck {
  /** Inside a transaction that sees one state of the database. */
  readonly client: pg.ClientBase
  /** Where a table's rows stand. */
  readonly placeOf: (table: AuditedTable) => string
  /** Those whose rows are of a month, and those whose rows are of the customer. */
  readonly monthly: {
    readonly tables: readonly AuditedTable[]
    readonly expected: (book: CustomerBook, month: string) => Expected
  }
  readonly single: { readonly tables: readonly AuditedTable[]; readonly expected: (book: CustomerBook) => Tables }
  readonly customerIds: Iterable<string>
  /** Whether rows of anybody else are a fault. */
  readonly strangers: boolean
  /** The customer as the rows should know them; `full` with all months in full. */
  readonly bookOf: (customerId: string, full: boolean) => Promise<CustomerBook>
  /** Only of this month. */
  readonly month: string | undefined
  readonly say: (customerId: string, month: string, fault: RowFault) => void
}

type Values = Record<string, unknown> & { customer_id: string }

/** How many customers' rows are in memory at a time. */
const atOnce = 20

/** Returns how many rows were compared. */
export async function checkTables(check: TableCheck): Promise<number> {
  const ids = [...new Set(check.customerIds)].toSorted()
  let rows = 0
  for (let at = 0; at < ids.length; at += atOnce) {
    const some = ids.slice(at, at + atOnce)
    const found = await fetchRows(check, some)
    for (const id of some) rows += await checkCustomer(check, id, found)
  }
  if (check.strangers) await checkStrangers(check, ids)
  return rows
}

async function checkStrangers({ client, placeOf, monthly, single, say }: TableCheck, ids: readonly string[]) {
  for (const table of [...monthly.tables, ...single.tables]) {
    const { rows } = await client.query<Pick<Values, 'customer_id'>>(
      `select distinct customer_id from ${placeOf(table)} where customer_id <> all($1::uuid[])`,
      [ids],
    )
    for (const { customer_id: id } of rows) {
      const fault = `${table.name} has rows of a customer whom the log does not know`
      say(id, '', { table: table.name, row: id, fault })
    }
  }
}

/** Table → customer → its rows. */
type Found = ReadonlyMap<AuditedTable, ReadonlyMap<string, readonly Values[]>>

async function fetchRows({ client, placeOf, monthly, single }: TableCheck, ids: readonly string[]): Promise<Found> {
  const found = new Map<AuditedTable, Map<string, Values[]>>()
  for (const table of [...monthly.tables, ...single.tables]) {
    const { rows } = await client.query<Values>(
      `select ${table.columns.join(', ')} from ${placeOf(table)} where customer_id = any($1::uuid[])`,
      [ids],
    )
    const byCustomer = new Map<string, Values[]>()
    for (const row of rows) {
      const known = byCustomer.get(row.customer_id)
      if (known === undefined) byCustomer.set(row.customer_id, [row])
      else known.push(row)
    }
    found.set(table, byCustomer)
  }
  return found
}

async function checkCustomer(check: TableCheck, id: string, found: Found): Promise<number> {
  const { monthly, single, bookOf, month: only, say } = check
  const of = (table: AuditedTable) => found.get(table)?.get(id) ?? []
  const book = await bookOf(id, false)
  let full: CustomerBook | undefined
  const fullBook = async () => {
    full ??= await bookOf(id, true)
    return full
  }
  const tablesOf = (tables: readonly AuditedTable[], month: string): Tables =>
    new Map<AuditedTable, Rows>(
      tables.map((table) => [
        table,
        rowsOf(
          table,
          of(table).filter((values) => table.monthOf(values) === month),
        ),
      ]),
    )

  const months = new Set([
    ...book.months.keys(),
    ...monthly.tables.flatMap((table) => of(table).map((values) => table.monthOf(values))),
  ])
  for (const month of [...months].toSorted()) {
    if (only !== undefined && month !== only) continue
    const there = tablesOf(monthly.tables, month)
    const again = book.again.has(month)
    if (!again && isSame(monthly.expected(book, month), there)) continue
    const expected = monthly.expected(await fullBook(), month)
    if (typeof expected === 'string') throw new Error(`${month} of ${id} was to be kept in full`)
    for (const fault of rowFaults(expected, there)) say(id, month, fault)
  }
  for (const fault of rowFaults(single.expected(book), tablesOf(single.tables, ''))) {
    say(id, fault.month ?? '', fault)
  }
  return [...monthly.tables, ...single.tables].reduce((sum, table) => sum + of(table).length, 0)
}
