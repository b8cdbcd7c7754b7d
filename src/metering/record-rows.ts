/** Rows of metering.records ↔ metering records. Pure. An instant is timestamptz in a row, ISO 8601 outside. */
import type { Identity } from '../events/metering.ts'
import { type Statement, upsert } from '../projections/projection.ts'
import type { MeteringRecord, RecordState } from './record.ts'

const instantOrNull = (at: Date | null): string | null => at?.toISOString() ?? null

interface SealedColumns {
  sealed_at: Date
  sealed_timestamp: Date
  identity: Identity
  sealed_quantity: bigint
  sealed_own_quantity: bigint
  sealed_late_quantity: bigint
  through_revision: bigint
  sealed_digest: string
  region: string
  submission: NonNullable<MeteringRecord['sealed']>['submission']
  deadline: Date
  cause: NonNullable<MeteringRecord['sealed']>['cause']
}
type Unsealed = { [Column in keyof SealedColumns]: null }

/** A whole row of `metering.records`: `select *`. */
export type RecordColumns = {
  record_id: string
  customer_id: string
  year_month: string
  hour: Date
  licence: string
  dimension: string
  state: RecordState
  quantity: bigint
  late_quantity: bigint
  digest: string
  carried_from: MeteringRecord['carriedFrom']
  seal_early: MeteringRecord['sealEarly']
  attempts: number
  last_attempt_at: Date | null
  unanswered: boolean
  doubtful: boolean
  objected: boolean
  last_answer: string | null
  metering_record_id: string | null
  carried_to: string | null
  reason: string | null
} & (SealedColumns | Unsealed)

export function recordOfRow(row: RecordColumns): MeteringRecord {
  return {
    recordId: row.record_id,
    customerId: row.customer_id,
    yearMonth: row.year_month,
    hour: row.hour.toISOString(),
    licence: row.licence,
    dimension: row.dimension,
    state: row.state,
    calls: { quantity: Number(row.quantity), late: Number(row.late_quantity), digest: row.digest },
    carriedFrom: row.carried_from,
    sealEarly: row.seal_early,
    sealed: row.sealed_at === null ? null : sealedOf(row, row.carried_from),
    attempts: row.attempts,
    lastAttemptAt: instantOrNull(row.last_attempt_at),
    unanswered: row.unanswered,
    doubtful: row.doubtful,
    objected: row.objected,
    lastAnswer: row.last_answer,
    meteringRecordId: row.metering_record_id,
    carriedTo: row.carried_to,
    reason: row.reason,
  }
}

function sealedOf(row: SealedColumns, carriedFrom: MeteringRecord['carriedFrom']): MeteringRecord['sealed'] {
  return {
    occurredAt: row.sealed_at.toISOString(),
    timestamp: row.sealed_timestamp.toISOString(),
    identity: row.identity,
    quantity: Number(row.sealed_quantity),
    ownQuantity: Number(row.sealed_own_quantity),
    lateQuantity: Number(row.sealed_late_quantity),
    // A seal fixes what was carried in: the record's own list is RecordSealed's.
    carriedFrom: [...carriedFrom],
    throughRevision: Number(row.through_revision),
    digest: row.sealed_digest,
    region: row.region,
    submission: row.submission,
    deadline: row.deadline.toISOString(),
    cause: row.cause,
  }
}

const upsertRecords = upsert('metering.records', ['record_id'], {
  record_id: 'text',
  customer_id: 'uuid',
  year_month: 'text',
  hour: 'timestamptz',
  licence: 'text',
  dimension: 'text',
  state: 'text',
  quantity: 'bigint',
  late_quantity: 'bigint',
  digest: 'text',
  carried_from: 'jsonb',
  seal_early: 'text',
  sealed_at: 'timestamptz',
  sealed_timestamp: 'timestamptz',
  identity: 'jsonb',
  sealed_quantity: 'bigint',
  sealed_own_quantity: 'bigint',
  sealed_late_quantity: 'bigint',
  through_revision: 'bigint',
  sealed_digest: 'text',
  region: 'text',
  submission: 'text',
  deadline: 'timestamptz',
  cause: 'text',
  attempts: 'integer',
  last_attempt_at: 'timestamptz',
  unanswered: 'boolean',
  doubtful: 'boolean',
  objected: 'boolean',
  last_answer: 'text',
  metering_record_id: 'text',
  carried_to: 'text',
  reason: 'text',
})

export const saveRecords = (records: readonly MeteringRecord[]): Statement[] =>
  upsertRecords(
    records.map(({ calls, sealed, ...record }) => ({
      record_id: record.recordId,
      customer_id: record.customerId,
      year_month: record.yearMonth,
      hour: record.hour,
      licence: record.licence,
      dimension: record.dimension,
      state: record.state,
      quantity: calls.quantity,
      late_quantity: calls.late,
      digest: calls.digest,
      carried_from: record.carriedFrom,
      seal_early: record.sealEarly,
      sealed_at: sealed?.occurredAt,
      sealed_timestamp: sealed?.timestamp,
      identity: sealed?.identity,
      sealed_quantity: sealed?.quantity,
      sealed_own_quantity: sealed?.ownQuantity,
      sealed_late_quantity: sealed?.lateQuantity,
      through_revision: sealed?.throughRevision,
      sealed_digest: sealed?.digest,
      region: sealed?.region,
      submission: sealed?.submission,
      deadline: sealed?.deadline,
      cause: sealed?.cause,
      attempts: record.attempts,
      last_attempt_at: record.lastAttemptAt,
      unanswered: record.unanswered,
      doubtful: record.doubtful,
      objected: record.objected,
      last_answer: record.lastAnswer,
      metering_record_id: record.meteringRecordId,
      carried_to: record.carriedTo,
      reason: record.reason,
    })),
  )
