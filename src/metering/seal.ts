/**
 * What is sealed, and with what. Pure: the customer's books and the clock in, events out. A sealed record never changes
 * again, so each rule here is about not sealing too early.
 */
import { bucketKey, licenceIdentity, monthEnd } from '../commands/plans.ts'
import type { Licence } from '../events/catalogue.ts'
import type { MeteringDataOf, MeteringEvent } from '../events/metering.ts'
import type { CustomerBooks } from './books.ts'
import { type MeteringRecord, newRecord, quantityOf } from './record.ts'
import {
  addHours,
  addMs,
  deadlineOf,
  hourOf,
  identityOf,
  lastStartOf,
  type MeteringRules,
  parseBucketKey,
  timestampOf,
} from './rules.ts'
import { isBehindSeals } from './seal-faults.ts'
import { isOver, type Stranded, strandedIn } from './stranded.ts'
import type { CustomerMeter } from './tables.ts'

export interface SealContext {
  readonly rules: MeteringRules
  /** ISO 8601. */
  readonly now: string
  /** Of the customer's partition: everything that occurred until then is folded. '' when nothing was judged yet. */
  readonly judgedThrough: string
}

type SealedData = MeteringDataOf<'RecordSealed'>

/** AWS takes a 32-bit integer. */
const largestQuantity = 2_147_483_647

/** Seals every open record that is due, and each judged hour without calls as a zero where heartbeats are on. */
export function decideSeals(books: CustomerBooks, context: SealContext): MeteringEvent[] {
  if (isBehindSeals(books)) return []
  // What is sealed without being sent needs no hour that AWS takes.
  const stranded = context.rules.submit ? strandedIn(books, context.now, context.rules) : []
  // Where something is still to arrive, the seal waits for the next round.
  const aside = new Set(stranded.flatMap(({ record, toRecordId }) => [record.recordId, toRecordId]))
  const due = books.records.filter((record) => !aside.has(record.recordId) && isDue(record, books.meter, context))
  const sealed = due.map((record) => sealedData(record, causeOf(record), books.meter, context))
  return [
    // First of all, so that a seal and its carry are in one append.
    ...stranded.flatMap((one) => endsOf(one, books.meter, context)),
    ...[...sealed, ...heartbeats(books, context)].map((data) => ({ type: 'RecordSealed', data }) as const),
  ]
}

/** The seal of a record that AWS would refuse, and its calls' way back into an hour before the end of its licence. */
function endsOf({ record, toRecordId }: Stranded, meter: CustomerMeter, context: SealContext): MeteringEvent[] {
  const data = sealedData(record, causeOf(record), meter, context)
  if (toRecordId === null) return [{ type: 'RecordSealed', data: { ...data, submission: 'no_hour_left' } }]
  const { customerId, occurredAt, recordId, quantity } = data
  return [
    { type: 'RecordSealed', data },
    { type: 'RecordCarriedForward', data: { customerId, occurredAt, recordId, quantity, toRecordId } },
  ]
}

/** Records that are due but hold more than AWS takes at once; they stay open until a person has found out why. */
export const tooLarge = (books: CustomerBooks, context: SealContext): MeteringRecord[] =>
  books.records.filter((record) => isTime(record, books.meter, context) && quantityOf(record) > largestQuantity)

/** Calls that were voided after their record was sealed. */
export const decideAdjustments = ({ meter, adjustments }: CustomerBooks, now: string): MeteringEvent[] =>
  adjustments
    .filter(({ noted }) => !noted)
    .map(({ recordId, yearMonth, detectionId, revision }) => ({
      type: 'AdjustmentNoted',
      data: { customerId: meter.customerId, occurredAt: now, recordId, yearMonth, detectionId, revision, quantity: -1 },
    }))

const isOverflow = ({ recordId }: Pick<MeteringRecord, 'recordId'>): boolean => recordId.endsWith('|no_hour_left')

const isDue = (record: MeteringRecord, meter: CustomerMeter, context: SealContext): boolean =>
  isTime(record, meter, context) && quantityOf(record) <= largestQuantity

/** A tick made by a clock that was ahead speaks of hours that are not over: those wait for the leader's own clock. */
export const completeThrough = ({ judgedThrough, now }: Pick<SealContext, 'judgedThrough' | 'now'>): string =>
  judgedThrough < now ? judgedThrough : now

function isTime(record: MeteringRecord, meter: CustomerMeter, context: SealContext): boolean {
  const { now, judgedThrough, rules } = context
  if (record.state !== 'open') return false
  if (isOverflow(record)) {
    // It takes the month's last stragglers, so it is the month's last to be sealed.
    const endOfMonth = monthEnd(record.yearMonth)
    return judgedThrough >= addMs(endOfMonth, rules.graceMs) && now >= addHours(endOfMonth, rules.monthCloseHour)
  }
  if (completeThrough(context) >= addMs(addHours(record.hour, 1), rules.graceMs)) return true
  // A late call may stand in an hour to come, and AWS takes no usage of the future.
  return record.sealEarly !== null && now >= record.hour && isOver(record.licence, meter, now)
}

function causeOf(record: MeteringRecord): SealedData['cause'] {
  if (isOverflow(record)) return 'no_hour_left'
  return record.sealEarly ?? 'hour_over'
}

function sealedData(
  record: MeteringRecord,
  cause: SealedData['cause'],
  { customerId, head, state }: CustomerMeter,
  { rules, now }: SealContext,
): SealedData {
  const licence = licenceOf(state.licences, record)
  const identity = identityOf(licence)
  const termStart = licence.kind === 'none' ? undefined : licence.termStart
  return {
    customerId,
    occurredAt: now,
    recordId: record.recordId,
    yearMonth: record.yearMonth,
    hour: record.hour,
    timestamp: timestampOf(record.hour, termStart ?? state.since[record.licence]),
    identity,
    dimension: record.dimension,
    quantity: quantityOf(record),
    ownQuantity: record.calls.quantity,
    lateQuantity: record.calls.late,
    carriedFrom: [...record.carriedFrom],
    throughRevision: Number(head.revision),
    digest: record.calls.digest,
    region: rules.region,
    submission: submissionOf(cause, identity, rules),
    deadline: isOverflow(record)
      ? addHours(monthEnd(record.yearMonth), rules.monthCloseHour)
      : deadlineOf(record.hour, rules, state.ends[record.licence]),
    cause,
  }
}

function submissionOf(
  cause: SealedData['cause'],
  identity: SealedData['identity'],
  { submit }: MeteringRules,
): SealedData['submission'] {
  if (identity.kind === 'none') return 'no_identity'
  if (!submit) return 'off'
  return cause === 'no_hour_left' ? 'no_hour_left' : 'due'
}

/** @throws Error when the customer's stream never named it: the books are not those of this log */
function licenceOf(licences: CustomerMeter['state']['licences'], { licence, recordId }: MeteringRecord): Licence {
  const known = licences[licence]
  if (known !== undefined) return known
  if (licence === 'none') return { kind: 'none' }
  throw new Error(`record ${recordId}: its customer's stream names no such licence`)
}

/**
 * Zeros for the judged hours in which a metered customer made no overage call ("strongly recommended": seller guide).
 * A zero is a seal like any other: sent before its hour is over it would make the real quantity a DuplicateRecord.
 */
function heartbeats({ meter, records }: CustomerBooks, context: SealContext): SealedData[] {
  const { rules, now, judgedThrough } = context
  const { customerId, state, sealedUpTo, closed } = meter
  const licence = licenceIdentity(state.licence)
  if (!rules.heartbeat || !rules.submit || judgedThrough === '') return []
  if (state.licence.kind === 'none' || state.plan === 'free' || state.ends[licence] !== undefined) return []

  const known = new Set(records.map(({ recordId }) => recordId))
  // An hour that has calls under another licence is no idle one, and must not be told to AWS under two identities.
  const others = new Set(records.filter((one) => one.licence !== licence && !isOverflow(one)).map((one) => one.hour))
  // Also not before the customer came under it: those hours are another licence's.
  const [start = now] = [state.licence.termStart ?? '', state.since[licence] ?? now].toSorted().slice(-1)
  const zeros: SealedData[] = []
  // The newest hour that is judged over, and back from it for as long as AWS still takes the hour.
  let hour = addHours(hourOf(addMs(completeThrough(context), -rules.graceMs)), -1)
  while (hour > sealedUpTo && hour >= hourOf(start) && lastStartOf(deadlineOf(hour, rules)) > now) {
    const recordId = bucketKey(customerId, state.licence, state.plan, hour)
    if (!known.has(recordId) && !others.has(hour) && !closed.includes(hour.slice(0, 7))) {
      const { dimension } = parseBucketKey(recordId)
      const record = newRecord({ recordId, customerId, hour, licence, dimension })
      zeros.unshift(sealedData(record, 'heartbeat', meter, context))
    }
    hour = addHours(hour, -1)
  }
  return zeros
}
