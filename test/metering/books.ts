/** A customer's books for the deciders' tests: records made by the product's own fold of the events given. */
import { bucketKey } from '../../src/commands/plans.ts'
import type { Licence } from '../../src/events/catalogue.ts'
import { emptyHead } from '../../src/events/chain.ts'
import type { MeteringDataOf, MeteringEvent } from '../../src/events/metering.ts'
import type { CustomerBooks } from '../../src/metering/books.ts'
import { carriedAway, carriedIn, evolveRecord, type MeteringRecord, newRecord } from '../../src/metering/record.ts'
import { type MeteringRules, parseBucketKey } from '../../src/metering/rules.ts'
import type { CustomerMeter, MeterState } from '../../src/metering/tables.ts'

export const customerId = '11111111-1111-4111-8111-111111111111'
export const detectionId = '22222222-2222-4222-8222-222222222222'
export const callId = '33333333-3333-4333-8333-333333333333'
export const arn = 'arn:aws:license-manager::000000000000:license:l-1'
export const licence: Extract<Licence, { kind: 'licence' }> = {
  kind: 'licence',
  awsAccountId: '123456789012',
  licenceArn: arn,
}

export const rules: MeteringRules = {
  graceMs: 600_000,
  windowHours: 24,
  monthCloseHour: 6,
  carryForward: true,
  heartbeat: false,
  submit: true,
  region: 'us-east-1',
}

/** `2026-03-31T14` → its record's id. */
export const idOf = (hour: string, of: Licence = licence): string =>
  bucketKey(customerId, of, 'standard', `${hour}:00:00.000Z`)

export const record = (hour: string, calls = 5, change: Partial<MeteringRecord> = {}): MeteringRecord => {
  const { licence, dimension, hour: start } = parseBucketKey(idOf(hour))
  const fresh = newRecord({ recordId: idOf(hour), customerId, hour: start, licence, dimension })
  return { ...fresh, calls: { quantity: calls, late: 0, digest: 'd'.repeat(64) }, ...change }
}

export const meter = (state: Partial<MeterState> = {}, change: Partial<CustomerMeter> = {}): CustomerMeter => ({
  customerId,
  partition: 1,
  head: { revision: 40n, hash: 'a'.repeat(64) },
  meteringHead: emptyHead,
  sealedUpTo: '',
  closed: [],
  state: {
    licence,
    plan: 'standard',
    licences: { [arn]: licence },
    since: { [arn]: '2026-01-01T00:00:00.000Z' },
    ends: {},
    months: {},
    ...state,
  },
  ...change,
})

export const books = (records: readonly MeteringRecord[], of: Partial<CustomerBooks> = {}): CustomerBooks => ({
  meter: meter(),
  adjustments: [],
  ...of,
  records,
})

type Data<T extends MeteringEvent['type']> = Partial<MeteringDataOf<T>>
const of = (recordId: string, occurredAt = '2026-03-31T15:20:00.000Z') => ({ customerId, occurredAt, recordId })

export const attempted = (recordId: string, attempt = 1, occurredAt?: string): MeteringEvent => ({
  type: 'SubmissionAttempted',
  data: { ...of(recordId, occurredAt), attempt, callId },
})
export const answered = (
  recordId: string,
  answer: MeteringDataOf<'SubmissionAnswered'>['answer'],
  attempt = 1,
): MeteringEvent => ({ type: 'SubmissionAnswered', data: { ...of(recordId), attempt, answer, detail: '' } })
export const refused = (recordId: string, code: string, attempt = 1): MeteringEvent => ({
  type: 'RecordRefused',
  data: { ...of(recordId), attempt, code, message: 'no' },
})
export const accepted = (recordId: string, attempt = 1): MeteringEvent => ({
  type: 'RecordAccepted',
  data: { ...of(recordId), attempt, meteringRecordId: 'm-1' },
})

/** A record that is sealed with its calls and whose deadline is 24 h after its hour, unless `change` says otherwise. */
export function sealed(before: MeteringRecord, change: Data<'RecordSealed'> = {}): MeteringRecord {
  return fold([before], {
    type: 'RecordSealed',
    data: {
      ...of(before.recordId),
      yearMonth: before.yearMonth,
      hour: before.hour,
      timestamp: before.hour,
      identity: { kind: 'licence', awsAccountId: '123456789012', licenceArn: arn },
      dimension: before.dimension,
      quantity: before.calls.quantity + before.carriedFrom.reduce((sum, { quantity }) => sum + quantity, 0),
      ownQuantity: before.calls.quantity,
      lateQuantity: 0,
      carriedFrom: [...before.carriedFrom],
      throughRevision: 40,
      digest: before.calls.digest,
      region: 'us-east-1',
      submission: 'due',
      deadline: new Date(Date.parse(before.hour) + 24 * 3_600_000).toISOString(),
      cause: 'hour_over',
      ...change,
    },
  })[0] as MeteringRecord
}

/** The records after these events. */
export function fold(records: readonly MeteringRecord[], ...events: readonly MeteringEvent[]): MeteringRecord[] {
  const byId = new Map(records.map((one) => [one.recordId, one]))
  for (const event of events) {
    if (event.type === 'MonthClosed' || event.type === 'AdjustmentNoted') continue
    const { recordId } = event.data
    const before = byId.get(recordId) ?? newRecord({ ...parseBucketKey(recordId), recordId })
    if (event.type !== 'RecordCarriedForward') {
      byId.set(recordId, evolveRecord(before, event))
      continue
    }
    const { toRecordId, quantity } = event.data
    const target = byId.get(toRecordId) ?? newRecord({ ...parseBucketKey(toRecordId), recordId: toRecordId })
    byId.set(recordId, carriedAway(before, toRecordId))
    byId.set(toRecordId, carriedIn(target, { recordId, quantity }))
  }
  return [...byId.values()]
}
