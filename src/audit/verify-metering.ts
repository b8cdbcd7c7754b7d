/** What the metering tables must hold of a customer's month, from the two streams alone. Pure. */
import { licenceIdentity } from '../commands/plans.ts'
import type { Head } from '../events/chain.ts'
import { sealEarlyOf } from '../metering/meter.ts'
import { newRecord } from '../metering/record.ts'
import { parseRecordId } from '../metering/rules.ts'
import type { MeterState } from '../metering/tables.ts'
import { partitionOf } from '../relay/feed.ts'
import type { MonthMemory } from './metering-month.ts'
import { type AuditedTable, type Rows, rowsOf, type Tables } from './verify-rows.ts'

const ofMonth: AuditedTable['monthOf'] = ({ year_month }) => String(year_month)

const sealedColumns = [
  'sealed_at',
  'sealed_timestamp',
  'identity',
  'sealed_quantity',
  'sealed_own_quantity',
  'sealed_late_quantity',
  'through_revision',
  'sealed_digest',
  'region',
  'submission',
  'deadline',
  'cause',
]

export const meteringTables = {
  records: {
    name: 'metering.records',
    columns: [
      'record_id',
      'customer_id',
      'year_month',
      'hour',
      'licence',
      'dimension',
      'state',
      'quantity',
      'late_quantity',
      'digest',
      'carried_from',
      'seal_early',
      ...sealedColumns,
      'attempts',
      'last_attempt_at',
      'unanswered',
      'doubtful',
      'objected',
      'last_answer',
      'metering_record_id',
      'carried_to',
      'reason',
    ],
    key: ['record_id'],
    monthOf: ofMonth,
  },
  adjustments: {
    name: 'metering.adjustments',
    columns: ['customer_id', 'revision', 'record_id', 'year_month', 'detection_id', 'noted'],
    key: ['revision'],
    monthOf: ofMonth,
    eventOf: ({ revision }) => ({ revision: String(revision), id: null }),
  },
  closedMonths: {
    name: 'metering.closed_months',
    columns: [
      'customer_id',
      'year_month',
      'closed_at',
      'credit_calls',
      'overage_calls',
      'overage',
      'adjusted',
      'through_revision',
      'digest',
    ],
    key: ['year_month'],
    monthOf: ofMonth,
  },
  openMonths: {
    name: 'metering.open_months',
    columns: ['customer_id', 'year_month', 'credit_calls', 'overage_calls'],
    key: ['year_month'],
    monthOf: () => '',
    monthNamed: ofMonth,
  },
  customers: {
    name: 'metering.customers',
    columns: [
      'customer_id',
      'partition',
      'revision',
      'hash',
      'metering_revision',
      'metering_hash',
      'plan',
      'licence_id',
      'licence',
      'licences',
      'since',
      'ends',
      'sealed_up_to',
      'closed_months',
    ],
    key: ['customer_id'],
    monthOf: () => '',
  },
} as const satisfies Record<string, AuditedTable>

const nothing = '0'.repeat(64)

/** Records, adjustments and the close of one month. */
export function meteringRows(customerId: string, month: string, memory: MonthMemory, state: MeterState): Tables {
  const { records, adjustments, closedMonths } = meteringTables
  return new Map<AuditedTable, Rows>([
    [records, rowsOf(records, recordValues(memory, state))],
    [adjustments, rowsOf(adjustments, adjustmentValues(customerId, month, memory))],
    [closedMonths, rowsOf(closedMonths, memory.closed === undefined ? [] : [closedValues(memory.closed)])],
  ])
}

/** What is of the customer, and of no month. */
export function meterRows({ customerId, head, meteringHead, meter, sealedUpTo, closed }: FoldedMeter): Tables {
  const { customers, openMonths } = meteringTables
  const { licence, plan, licences, since, ends, months } = meter
  const values = {
    customer_id: customerId,
    partition: partitionOf(customerId),
    revision: head.revision,
    hash: head.hash,
    metering_revision: meteringHead.revision,
    metering_hash: meteringHead.hash,
    plan,
    licence_id: licenceIdentity(licence),
    licence,
    licences,
    since,
    ends,
    sealed_up_to: sealedUpTo === '' ? null : sealedUpTo,
    closed_months: closed,
  }
  const open = Object.entries(months).map(([month, { credit, overage }]) => ({
    customer_id: customerId,
    year_month: month,
    credit_calls: credit,
    overage_calls: overage,
  }))
  const isKnown = head.revision >= 0n
  return new Map<AuditedTable, Rows>([
    [customers, rowsOf(customers, isKnown ? [values] : [])],
    [openMonths, rowsOf(openMonths, open)],
  ])
}

interface FoldedMeter {
  readonly customerId: string
  readonly head: Head
  readonly meteringHead: Head
  readonly meter: MeterState
  readonly sealedUpTo: string
  readonly closed: readonly string[]
}

function recordValues({ records: { books, carried }, tallies }: MonthMemory, state: MeterState) {
  const ids = new Set([...books.keys(), ...tallies.keys(), ...carried.keys()])
  return [...ids].map((recordId) => {
    const { quantity = 0, late = 0, digest = nothing } = tallies.get(recordId) ?? {}
    const record = books.get(recordId)?.record ?? openRecord(recordId, carried.get(recordId) ?? [], state)
    const { sealed } = record
    return {
      record_id: recordId,
      customer_id: record.customerId,
      year_month: record.yearMonth,
      hour: record.hour,
      licence: record.licence,
      dimension: record.dimension,
      state: record.state,
      quantity,
      late_quantity: late,
      digest,
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
    }
  })
}

function openRecord(recordId: string, carriedFrom: { recordId: string; quantity: number }[], state: MeterState) {
  const { customerId, licence, dimension, hour } = parseRecordId(recordId)
  const record = newRecord({ recordId, customerId, licence, dimension, hour })
  return { ...record, carriedFrom, sealEarly: sealEarlyOf(state, licence) }
}

function adjustmentValues(customerId: string, month: string, { adjustments, owed }: MonthMemory) {
  const of = { customer_id: customerId, year_month: month }
  const due = [...owed].map(([revision, { recordId, detectionId }]) => ({
    ...of,
    revision,
    record_id: recordId,
    detection_id: detectionId,
    noted: false,
  }))
  const noted = adjustments.map(({ revision, recordId, detectionId }) => ({
    ...of,
    revision,
    record_id: recordId,
    detection_id: detectionId,
    noted: true,
  }))
  return [...due, ...noted] // by revision, a noted one takes the place of the one that was due
}

const closedValues = (closed: NonNullable<MonthMemory['closed']>) => ({
  customer_id: closed.customerId,
  year_month: closed.yearMonth,
  closed_at: closed.occurredAt,
  credit_calls: closed.creditCalls,
  overage_calls: closed.overageCalls,
  overage: closed.overage,
  adjusted: closed.adjusted,
  through_revision: closed.throughRevision,
  digest: closed.digest,
})
