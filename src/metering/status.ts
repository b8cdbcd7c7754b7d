/** What an operator asks about metering, answered from its tables. Nothing is decided from it. */
import type pg from 'pg'
import type { MeteringRecord, RecordState } from './record.ts'
import { type RecordColumns, recordOfRow } from './record-rows.ts'

export interface RecordCount {
  readonly records: number
  /** Calls: what is sent, or would be; of an open record, what it holds so far. */
  readonly quantity: number
}

export interface MeteringStatus {
  /** Everything that occurred up to here is folded, on every partition; null before the first watermark of each. */
  readonly judgedThrough: string | null
  /** How long ago that is, in milliseconds. */
  readonly watermarkAgeMs: number | null
  readonly open: RecordCount
  /** Sealed, to be sent or waiting for their next attempt. */
  readonly sealed: RecordCount
  readonly trouble: {
    /** AWS may hold them: some attempt had no answer. */
    readonly unknown: RecordCount
    readonly refused: RecordCount
    /** Of the sealed: held because AWS knows no subscription. */
    readonly notSubscribed: RecordCount
  }
  /** Of the records that wait to be sent. */
  readonly nearestDeadline: string | null
  readonly adjustmentsNotNoted: number
  readonly monthsClosed: number
}

/** Whether metering has ever run on this database. */
export async function hasMeteringTables(pool: pg.Pool | pg.ClientBase): Promise<boolean> {
  const { rows } = await pool.query<{ there: boolean }>("select to_regclass('metering.version') is not null as there")
  return rows[0]?.there === true
}

const none: RecordCount = { records: 0, quantity: 0 }
const quantity = `coalesce(sealed_quantity, quantity + (
  select coalesce(sum((carried ->> 'quantity')::bigint), 0) from jsonb_array_elements(carried_from) as carried))`

/** Cheap enough for every scrape of the metrics: only what is not at an end is counted. */
export async function meteringStatus(pool: pg.Pool, now: string): Promise<MeteringStatus> {
  const { rows: counted } = await pool.query<{ state: string; held: boolean; records: number; quantity: number }>(
    `select state, coalesce(state = 'sealed' and last_answer ~ '^not_subscribed\\M', false) as held,
            count(*)::float8 as records, sum(${quantity})::float8 as quantity
     from metering.records where state in ('open', 'sealed', 'unknown', 'refused') group by 1, 2`,
  )
  const { rows } = await pool.query<{
    judged: Date | null
    deadline: Date | null
    adjustments: number
    closed: number
  }>(
    `select (select min(judged_through) from metering.partitions having count(*) = count(judged_through)) as judged,
            (select deadline from metering.records where submission = 'due' and state in ('sealed', 'unknown')
             order by deadline limit 1) as deadline,
            (select count(*)::float8 from metering.adjustments where not noted) as adjustments,
            (select count(*)::float8 from metering.closed_months) as closed`,
  )
  const { judged = null, deadline = null, adjustments = 0, closed = 0 } = rows[0] ?? {}
  const count = (state: RecordState, heldOnly = false): RecordCount =>
    counted
      .filter((row) => row.state === state && (row.held || !heldOnly))
      .reduce((sum, row) => ({ records: sum.records + row.records, quantity: sum.quantity + row.quantity }), none)
  return {
    judgedThrough: judged?.toISOString() ?? null,
    watermarkAgeMs: judged === null ? null : Math.max(0, Date.parse(now) - judged.getTime()),
    open: count('open'),
    sealed: count('sealed'),
    trouble: { unknown: count('unknown'), refused: count('refused'), notSubscribed: count('sealed', true) },
    nearestDeadline: deadline?.toISOString() ?? null,
    adjustmentsNotNoted: adjustments,
    monthsClosed: closed,
  }
}

/** Records of a UTC month by state. A carried quantity stands at its source and at its target. */
export async function monthTotals(
  pool: pg.Pool,
  yearMonth: string,
): Promise<Partial<Record<RecordState, RecordCount>>> {
  const { rows } = await pool.query<{ state: RecordState; records: number; quantity: number }>(
    `select state, count(*)::float8 as records, sum(${quantity})::float8 as quantity
     from metering.records where year_month = $1 group by state order by state`,
    [yearMonth],
  )
  return Object.fromEntries(rows.map(({ state, records, quantity }) => [state, { records, quantity }]))
}

export interface RecordFilter {
  readonly customerId?: string | undefined
  readonly yearMonth?: string | undefined
  readonly state?: RecordState | undefined
  readonly limit: number
}

/** Newest hour first. */
export async function listRecords(
  pool: pg.Pool,
  { customerId, yearMonth, state, limit }: RecordFilter,
): Promise<MeteringRecord[]> {
  const { rows } = await pool.query<RecordColumns>(
    `select * from metering.records
     where ($1::uuid is null or customer_id = $1) and ($2::text is null or year_month = $2)
       and ($3::text is null or state = $3)
     order by hour desc, record_id limit $4`,
    [customerId ?? null, yearMonth ?? null, state ?? null, limit],
  )
  return rows.map(recordOfRow)
}
