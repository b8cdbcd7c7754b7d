/** The metering tables in Postgres (schema.ts). */
import type pg from 'pg'
import { transaction } from '../postgres/pool.ts'
import { type MeteringRecord, unsettledStates } from './record.ts'
import { type RecordColumns, recordOfRow, saveRecords } from './record-rows.ts'
import * as rows from './rows.ts'
import { meteringVersion, OtherMeteringVersion } from './schema.ts'
import { CheckpointMoved, type CustomerMeter, type MeteringTables, type MeteringTransaction } from './tables.ts'

/** ensureMeteringTables must have run. A transaction of a program whose tables were replaced since is refused. */
export function postgresTables(pool: pg.Pool): MeteringTables {
  return {
    transaction(work) {
      return transaction(pool, async (client) => {
        await begin(client)
        return await work(inTransaction(client))
      })
    },
    customersToSeal: (graceMs) => customerIds(pool, toSeal, [graceMs]),
    customersToAdjust: () => customerIds(pool, toAdjust, []),
    async recordsToSend(limit, after) {
      const values = [limit, after?.deadline ?? null, after?.recordId ?? null]
      const found = await pool.query<RecordColumns>(toSend, values)
      return found.rows.map(recordOfRow)
    },
    async monthsToClose(graceMs) {
      const found = await pool.query<{ customer_id: string; year_month: string }>(toClose, [graceMs])
      return found.rows.map((row) => ({ customerId: row.customer_id, yearMonth: row.year_month }))
    },
    meteredCustomers: (partitions) => customerIds(pool, metered, [partitions]),
    async partitions() {
      const found = await pool.query<rows.PartitionColumns>(
        `select ${rows.partitionColumns} from metering.partitions order by partition`,
      )
      return found.rows.map(rows.partitionOfRow)
    },
  }
}

/**
 * Rows, heads and positions go together, so a crash may take the last commits: they are folded from the log again.
 * Waiting for the disk would make every append of an event store beside it wait too.
 *
 * Reading the version locks it until the transaction ends: nobody can put other tables into these ones' place.
 * @throws OtherMeteringVersion
 */
async function begin(client: pg.ClientBase): Promise<void> {
  await client.query('set local synchronous_commit to off')
  const { rows } = await client.query<{ version: number }>('select version from metering.version')
  const version = rows[0]?.version
  if (version === meteringVersion) return
  throw new OtherMeteringVersion(
    `the metering tables are of version ${version}, this program's of version ${meteringVersion}`,
  )
}

function inTransaction(client: pg.ClientBase): MeteringTransaction {
  return {
    lockCustomers: (customerIds) => lockCustomers(client, customerIds),
    async lockPartition(partition) {
      const found = await client.query<rows.PartitionColumns>({
        name: 'metering.partitions.lock',
        text: `select ${rows.partitionColumns} from metering.partitions where partition = $1 for update`,
        values: [partition],
      })
      const [row] = found.rows
      if (row === undefined) throw new RangeError(`there is no partition ${partition}`)
      return rows.partitionOfRow(row)
    },
    async foldedCount(partition) {
      const found = await client.query<{ folded: bigint }>({
        name: 'metering.customers.count',
        text: 'select coalesce(sum(revision + 1), 0)::bigint as folded from metering.customers where partition = $1',
        values: [partition],
      })
      return found.rows[0]?.folded ?? 0n
    },
    async recordsById(recordIds) {
      if (recordIds.length === 0) return new Map<string, MeteringRecord>()
      const found = await client.query<RecordColumns>({
        name: 'metering.records.by_id',
        text: 'select * from metering.records where record_id = any($1) order by record_id',
        values: [recordIds],
      })
      return new Map(found.rows.map((row) => [row.record_id, recordOfRow(row)]))
    },
    async recordsOf(customerId, yearMonths) {
      const found = await client.query<RecordColumns>({
        name: 'metering.records.of',
        text: `select * from metering.records
               where customer_id = $1
                 and ($2::text[] is null or year_month = any($2) or state = any($3))
               order by record_id`,
        values: [customerId, yearMonths ?? null, unsettledStates],
      })
      return found.rows.map(recordOfRow)
    },
    async forgetRecords(customerId) {
      for (const table of ['records', 'adjustments', 'closed_months']) {
        await client.query(`delete from metering.${table} where customer_id = $1`, [customerId])
      }
    },
    async adjustmentsOf(customerId) {
      const found = await client.query<rows.AdjustmentColumns>({
        name: 'metering.adjustments.of',
        text: 'select * from metering.adjustments where customer_id = $1 order by revision',
        values: [customerId],
      })
      return found.rows.map(rows.adjustmentOfRow)
    },
    async directFeed() {
      const found = await client.query<rows.DirectFeedColumns>('select * from metering.direct_feed')
      const [row] = found.rows
      return row === undefined ? null : rows.directFeedOfRow(row)
    },
    async save({ customers = [], records = [], adjustments = [], closed = [], partition }) {
      const statements = [
        ...rows.saveCustomers(customers),
        ...saveRecords(records),
        ...rows.saveAdjustments(adjustments),
        ...rows.saveClosedMonths(closed),
        ...(partition === undefined ? [] : [rows.savePartition(partition)]),
      ]
      for (const statement of statements) await client.query(statement)
    },
    async moveDirectFeed(before, { position, counts, stream, revision, hash }) {
      const { rowCount } = await client.query(before === null ? insertFeed : updateFeed, [
        position.commit,
        position.prepare,
        counts,
        stream,
        revision,
        hash,
        ...(before === null ? [] : [before.position.commit, before.position.prepare]),
      ])
      if (rowCount !== 1) throw new CheckpointMoved('the direct feed is not where this process left it')
    },
  }
}

/**
 * Months are read by a statement of their own: one that waited for a lock sees the locked row as it is now, and any
 * other table as it was before the wait.
 */
async function lockCustomers(
  client: pg.ClientBase,
  customerIds: readonly string[],
): Promise<Map<string, CustomerMeter>> {
  if (customerIds.length === 0) return new Map()
  const locked = await client.query<rows.CustomerColumns>({
    name: 'metering.customers.lock',
    text: `select ${rows.customerColumns} from metering.customers where customer_id = any($1::uuid[])
           order by customer_id for update`,
    values: [customerIds],
  })
  if (locked.rows.length === 0) return new Map()
  const open = await client.query<{
    customer_id: string
    year_month: string
    credit_calls: bigint
    overage_calls: bigint
  }>({
    name: 'metering.open_months.of',
    text: `select customer_id, year_month, credit_calls, overage_calls from metering.open_months
           where customer_id = any($1::uuid[]) order by customer_id, year_month`,
    values: [locked.rows.map((row) => row.customer_id)],
  })
  const months = new Map<string, Record<string, { credit: number; overage: number }>>()
  for (const { customer_id, year_month, credit_calls, overage_calls } of open.rows) {
    const ofCustomer = months.get(customer_id) ?? {}
    ofCustomer[year_month] = { credit: Number(credit_calls), overage: Number(overage_calls) }
    months.set(customer_id, ofCustomer)
  }
  return new Map(
    locked.rows.map((row) => [row.customer_id, rows.customerOfRow(row, months.get(row.customer_id) ?? {})]),
  )
}

const insertFeed = `insert into metering.direct_feed
    (commit_position, prepare_position, counts, stream, revision, hash) values ($1, $2, $3, $4, $5, $6)
  on conflict do nothing`
const updateFeed = `update metering.direct_feed
  set commit_position = $1, prepare_position = $2, counts = $3, stream = $4, revision = $5, hash = $6
  where commit_position = $7 and prepare_position = $8`

async function customerIds(pool: pg.Pool, text: string, values: unknown[]): Promise<string[]> {
  const found = await pool.query<{ customer_id: string }>(text, values)
  return found.rows.map((row) => row.customer_id)
}

const milliseconds = (parameter: string): string => `${parameter} * interval '1 millisecond'`

const toSeal = `select distinct r.customer_id from metering.records r
    join metering.customers c using (customer_id) join metering.partitions p using (partition)
  where r.state = 'open'
    and (r.seal_early is not null or r.hour + interval '1 hour' + ${milliseconds('$1')} <= p.judged_through)
  order by r.customer_id`

const toAdjust = 'select distinct customer_id from metering.adjustments where not noted order by customer_id'

const toSend = `select * from metering.records
  where submission = 'due' and state in ('sealed', 'unknown')
    and ($2::timestamptz is null or (deadline, record_id) > ($2::timestamptz, $3::text))
  order by deadline, record_id limit $1`

const toClose = `select m.customer_id, m.year_month from metering.open_months m
    join metering.customers c using (customer_id) join metering.partitions p using (partition)
  where ((m.year_month || '-01')::timestamp + interval '1 month') at time zone 'UTC' + ${milliseconds('$1')}
        <= p.judged_through
    and not exists (
      select from metering.records r
      where r.customer_id = m.customer_id and r.year_month = m.year_month and r.state = 'open')
  order by m.customer_id, m.year_month`

const metered = `select customer_id from metering.customers
  where partition = any($1) and licence ->> 'kind' <> 'none' and not ends ? licence_id
  order by customer_id`
