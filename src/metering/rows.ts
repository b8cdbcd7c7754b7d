/**
 * Rows of the metering tables, but for the records ↔ what the consumer folds. Pure. An instant is timestamptz in a row,
 * ISO 8601 outside.
 */
import { licenceIdentity } from '../commands/plans.ts'
import type { Licence, PlanName } from '../events/catalogue.ts'
import { type Statement, upsert } from '../projections/projection.ts'
import type { Adjustment, ClosedMonth, CustomerMeter, DirectFeedRow, MeterState, PartitionRow } from './tables.ts'

const orNull = (text: string): string | null => (text === '' ? null : text)

export interface CustomerColumns {
  customer_id: string
  partition: number
  revision: bigint
  hash: string
  metering_revision: bigint
  metering_hash: string
  plan: PlanName
  licence: Licence
  licences: MeterState['licences']
  since: MeterState['since']
  ends: MeterState['ends']
  sealed_up_to: Date | null
  closed_months: string[]
}
export const customerColumns =
  'customer_id, partition, revision, hash, metering_revision, metering_hash, plan, licence, licences, since, ends, sealed_up_to, closed_months'

export function customerOfRow(row: CustomerColumns, months: MeterState['months']): CustomerMeter {
  return {
    customerId: row.customer_id,
    partition: row.partition,
    head: { revision: row.revision, hash: row.hash },
    meteringHead: { revision: row.metering_revision, hash: row.metering_hash },
    state: { licence: row.licence, plan: row.plan, licences: row.licences, since: row.since, ends: row.ends, months },
    sealedUpTo: row.sealed_up_to?.toISOString() ?? '',
    closed: row.closed_months,
  }
}

const upsertCustomers = upsert('metering.customers', ['customer_id'], {
  customer_id: 'uuid',
  partition: 'smallint',
  revision: 'bigint',
  hash: 'text',
  metering_revision: 'bigint',
  metering_hash: 'text',
  plan: 'text',
  licence_id: 'text',
  licence: 'jsonb',
  licences: 'jsonb',
  since: 'jsonb',
  ends: 'jsonb',
  sealed_up_to: 'timestamptz',
  closed_months: 'text[]',
})
const upsertMonths = upsert('metering.open_months', ['customer_id', 'year_month'], {
  customer_id: 'uuid',
  year_month: 'text',
  credit_calls: 'bigint',
  overage_calls: 'bigint',
})
const deleteMonths = `delete from metering.open_months m using json_to_recordset($1) as c(customer_id uuid, months text[])
  where m.customer_id = c.customer_id and m.year_month <> all (c.months)`

/** Customers and their months: those of a closed month leave. */
export function saveCustomers(customers: readonly CustomerMeter[]): Statement[] {
  if (customers.length === 0) return []
  const kept = customers.map(({ customerId, state }) => ({
    customer_id: customerId,
    months: Object.keys(state.months),
  }))
  return [
    ...upsertCustomers(
      customers.map(({ customerId, partition, head, meteringHead, state, sealedUpTo, closed }) => ({
        customer_id: customerId,
        partition,
        revision: `${head.revision}`,
        hash: head.hash,
        metering_revision: `${meteringHead.revision}`,
        metering_hash: meteringHead.hash,
        plan: state.plan,
        licence_id: licenceIdentity(state.licence),
        licence: state.licence,
        licences: state.licences,
        since: state.since,
        ends: state.ends,
        sealed_up_to: orNull(sealedUpTo),
        closed_months: closed,
      })),
    ),
    { name: 'metering.open_months.delete', text: deleteMonths, values: [JSON.stringify(kept)] },
    ...upsertMonths(
      customers.flatMap(({ customerId, state }) =>
        Object.entries(state.months).map(([yearMonth, { credit, overage }]) => ({
          customer_id: customerId,
          year_month: yearMonth,
          credit_calls: credit,
          overage_calls: overage,
        })),
      ),
    ),
  ]
}

export interface PartitionColumns {
  partition: number
  next_offset: bigint | null
  judged_through: Date | null
  judged_commit: bigint | null
  judged_prepare: bigint | null
}
export const partitionColumns = 'partition, next_offset, judged_through, judged_commit, judged_prepare'

export function partitionOfRow(row: PartitionColumns): PartitionRow {
  const { judged_commit: commit, judged_prepare: prepare } = row
  return {
    partition: row.partition,
    nextOffset: row.next_offset,
    judgedThrough: row.judged_through?.toISOString() ?? '',
    judgedPosition: commit === null || prepare === null ? null : { commit, prepare },
  }
}

const updatePartition = `update metering.partitions set
    next_offset = $2, judged_through = $3, judged_commit = $4, judged_prepare = $5 where partition = $1`

export const savePartition = ({ partition, nextOffset, judgedThrough, judgedPosition }: PartitionRow): Statement => ({
  name: 'metering.partitions.update',
  text: updatePartition,
  values: [
    partition,
    nextOffset,
    orNull(judgedThrough),
    judgedPosition?.commit ?? null,
    judgedPosition?.prepare ?? null,
  ],
})

export interface AdjustmentColumns {
  customer_id: string
  revision: bigint
  record_id: string
  year_month: string
  detection_id: string
  noted: boolean
}

export const adjustmentOfRow = (row: AdjustmentColumns): Adjustment => ({
  customerId: row.customer_id,
  revision: Number(row.revision),
  recordId: row.record_id,
  yearMonth: row.year_month,
  detectionId: row.detection_id,
  noted: row.noted,
})

const upsertAdjustments = upsert('metering.adjustments', ['customer_id', 'revision'], {
  customer_id: 'uuid',
  revision: 'bigint',
  record_id: 'text',
  year_month: 'text',
  detection_id: 'uuid',
  noted: 'boolean',
})

export const saveAdjustments = (adjustments: readonly Adjustment[]): Statement[] =>
  upsertAdjustments(
    adjustments.map(({ customerId, revision, recordId, yearMonth, detectionId, noted }) => ({
      customer_id: customerId,
      revision,
      record_id: recordId,
      year_month: yearMonth,
      detection_id: detectionId,
      noted,
    })),
  )

const upsertClosedMonths = upsert('metering.closed_months', ['customer_id', 'year_month'], {
  customer_id: 'uuid',
  year_month: 'text',
  closed_at: 'timestamptz',
  credit_calls: 'bigint',
  overage_calls: 'bigint',
  overage: 'jsonb',
  adjusted: 'bigint',
  through_revision: 'bigint',
  digest: 'text',
})

export const saveClosedMonths = (months: readonly ClosedMonth[]): Statement[] =>
  upsertClosedMonths(
    months.map((month) => ({
      customer_id: month.customerId,
      year_month: month.yearMonth,
      closed_at: month.occurredAt,
      credit_calls: month.creditCalls,
      overage_calls: month.overageCalls,
      overage: month.overage,
      adjusted: month.adjusted,
      through_revision: month.throughRevision,
      digest: month.digest,
    })),
  )

export interface DirectFeedColumns {
  commit_position: bigint
  prepare_position: bigint
  counts: bigint[]
  stream: string
  revision: bigint
  hash: string
}

export const directFeedOfRow = (row: DirectFeedColumns): DirectFeedRow => ({
  position: { commit: row.commit_position, prepare: row.prepare_position },
  counts: row.counts,
  stream: row.stream,
  revision: row.revision,
  hash: row.hash,
})
