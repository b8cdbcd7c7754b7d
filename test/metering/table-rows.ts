/** Rows for the tests of the metering tables: plausible ones, changed where a test says so. */
import type { MeteringDataOf } from '../../src/events/metering.ts'
import { type MeteringRecord, newRecord } from '../../src/metering/record.ts'
import { addHours, formatBucketKey } from '../../src/metering/rules.ts'
import type { Adjustment, ClosedMonth, CustomerMeter, MeterState } from '../../src/metering/tables.ts'
import { partitionOf } from '../../src/relay/feed.ts'

export const id = (number: number): string => `${number.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`

const licence = { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:1' } as const

export function customer(
  customerId: string,
  changes: Partial<Omit<CustomerMeter, 'state'>> & Partial<MeterState> = {},
): CustomerMeter {
  const { licence: held = licence, plan = 'standard', ends = {}, months = {}, ...rest } = changes
  const { licences = { 'arn:aws:1': licence }, since = { 'arn:aws:1': '2026-01-05T10:00:00.123Z' }, ...columns } = rest
  return {
    customerId,
    partition: partitionOf(customerId),
    head: { revision: 0n, hash: 'aa' },
    meteringHead: { revision: -1n, hash: '' },
    sealedUpTo: '',
    closed: [],
    ...columns,
    state: { licence: held, plan, licences, since, ends, months },
  }
}

export function open(customerId: string, hour: string, changes: Partial<MeteringRecord> = {}): MeteringRecord {
  const key = { customerId, licence: 'arn:aws:1', dimension: 'standard_over', hour }
  return { ...newRecord({ recordId: formatBucketKey(key), ...key }), ...changes }
}

type SealedRecord = MeteringRecord & { readonly sealed: NonNullable<MeteringRecord['sealed']> }

export function sealed(
  customerId: string,
  hour: string,
  changes: Partial<MeteringDataOf<'RecordSealed'>> = {},
): SealedRecord {
  const { carriedFrom = [] } = changes
  return {
    ...open(customerId, hour, { carriedFrom }),
    state: 'sealed',
    sealed: {
      occurredAt: addHours(hour, 2),
      timestamp: hour,
      identity: { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:1' },
      quantity: 2_147_483_647,
      ownQuantity: 5,
      lateQuantity: 1,
      carriedFrom,
      throughRevision: 17,
      digest: 'd'.repeat(64),
      region: 'us-east-1',
      submission: 'due',
      deadline: addHours(hour, 24),
      cause: 'hour_over',
      ...changes,
    },
  }
}

export const adjustment = (customerId: string, revision: number, changes: Partial<Adjustment> = {}): Adjustment => ({
  customerId,
  revision,
  recordId: 'a|record',
  yearMonth: '2026-03',
  detectionId: id(revision),
  noted: false,
  ...changes,
})

export const closedMonth = (customerId: string, yearMonth: string): ClosedMonth => ({
  customerId,
  occurredAt: '2026-03-01T07:00:00.000Z',
  yearMonth,
  creditCalls: 3,
  overageCalls: 2,
  overage: [{ dimension: 'standard_over', state: 'accepted', records: 1, quantity: 2, carried: 0 }],
  adjusted: 0,
  throughRevision: 17,
  digest: 'e'.repeat(64),
})
