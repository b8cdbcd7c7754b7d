/** The metering tables, held against the log at the revisions that each customer's row says are folded. */
import type pg from 'pg'
import { emptyHead } from '../events/chain.ts'
import type { Upto } from './verify-again.ts'
import { type CustomerBook, expectedMetering } from './verify-book.ts'
import { meteringTables, meterRows } from './verify-metering.ts'
import type { RowFault } from './verify-rows.ts'
import { checkTables } from './verify-tables.ts'

const { records, adjustments, closedMonths, customers, openMonths } = meteringTables

export interface MeteringCheck {
  readonly client: pg.ClientBase
  /** As the log has them. */
  readonly books: ReadonlyMap<string, CustomerBook>
  readonly strangers: boolean
  readonly foldAgain: (customerId: string, upto: Upto) => Promise<CustomerBook>
  readonly month: string | undefined
  readonly say: (customerId: string, month: string, fault: RowFault) => void
}

export interface MeteringCompared {
  readonly rows: number
  /** Customer events that the tables have not folded yet. */
  readonly eventsBehind: bigint
}

export async function checkMeteringTables(check: MeteringCheck): Promise<MeteringCompared> {
  const { client, books, strangers, month, say } = check
  const folded = await headsIn(client)
  let eventsBehind = 0n
  for (const [id, { head }] of books) {
    const { revision } = folded.get(id) ?? { revision: emptyHead.revision }
    if (revision > head.revision)
      say(id, '', beyond(id, `${customers.name} has folded revision ${revision}`, head.revision))
    else eventsBehind += head.revision - revision
  }
  const rows = await checkTables({
    client,
    placeOf: ({ name }) => name,
    monthly: { tables: [records, adjustments, closedMonths], expected: expectedMetering },
    single: { tables: [customers, openMonths], expected: meterRows },
    customerIds: books.keys(),
    strangers,
    async bookOf(id, full) {
      const { revision, meteringRevision } = folded.get(id) ?? noneFolded
      const book = books.get(id)
      const isThere = book?.head.revision === revision && book.meteringHead.revision === meteringRevision
      return isThere && !full ? book : check.foldAgain(id, { revision, meteringRevision })
    },
    month,
    say,
  })
  return { rows, eventsBehind }
}

const noneFolded: Upto = { revision: emptyHead.revision, meteringRevision: emptyHead.revision }
const beyond = (id: string, what: string, end: bigint): RowFault => ({
  table: customers.name,
  row: id,
  fault: `${what}, and the customer's stream ends at ${end}`,
})

async function headsIn(client: pg.ClientBase): Promise<Map<string, Upto>> {
  const { rows } = await client.query<{ customer_id: string; revision: bigint; metering_revision: bigint }>(
    'select customer_id, revision, metering_revision from metering.customers',
  )
  return new Map(
    rows.map((row) => [
      row.customer_id,
      { revision: BigInt(row.revision), meteringRevision: BigInt(row.metering_revision) },
    ]),
  )
}
