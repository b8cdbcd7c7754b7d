/**
 * What becomes of a record that could not be sent in time. Pure. A quantity is carried into a later hour only when AWS
 * surely does not hold it: billed late is better than not billed, and not billed is better than billed twice.
 */
import { licenceIdentity } from '../commands/plans.ts'
import type { MeteringEvent } from '../events/metering.ts'
import type { CustomerBooks } from './books.ts'
import type { MeteringRecord } from './record.ts'
import { addHours, formatBucketKey, hourOf, lastStartOf, type MeteringRules, parseBucketKey } from './rules.ts'
import { lastHourFor } from './stranded.ts'

/** A sealed record whose last attempt, if it is to have one, must have begun. */
export const isPastDeadline = ({ sealed }: Pick<MeteringRecord, 'sealed'>, now: string): boolean =>
  sealed !== null && now >= lastStartOf(sealed.deadline)

/** AWS may hold it: nobody but AWS's own records (CloudTrail) can tell, so it stays as it is. */
export const mayBeBilled = ({ doubtful, unanswered }: Pick<MeteringRecord, 'doubtful' | 'unanswered'>): boolean =>
  doubtful || unanswered

/** The event that ends a record past its deadline; null when its fate is not ours to decide. */
export function giveUp(
  record: MeteringRecord,
  books: CustomerBooks,
  now: string,
  rules: MeteringRules,
): MeteringEvent | null {
  if (record.sealed === null || mayBeBilled(record)) return null
  const { customerId, recordId } = record
  const of = { customerId, occurredAt: now, recordId }
  if (record.lastAnswer?.startsWith('not_subscribed')) {
    return { type: 'RecordUnbillable', data: { ...of, reason: 'not_subscribed' } }
  }
  const toRecordId = carryTarget(record, books, now, rules)
  if (toRecordId === null) return { type: 'RecordUnbillable', data: { ...of, reason: 'deadline_missed' } }
  return { type: 'RecordCarriedForward', data: { ...of, quantity: record.sealed.quantity, toRecordId } }
}

/** Where its quantity may go: the first hour from now on, in its month unless that is closed, that is not sealed. */
function carryTarget(record: MeteringRecord, books: CustomerBooks, now: string, rules: MeteringRules): string | null {
  const { meter, records } = books
  const { licence, ends } = meter.state
  const allowed = rules.carryForward && rules.submit && record.sealed !== null && record.sealed.quantity > 0
  if (!allowed || record.objected || meter.closed.includes(record.yearMonth)) return null
  const runs = licenceIdentity(licence) === record.licence && ends[record.licence] === undefined
  if (!runs) return lastHourFor(record, books, now, rules)

  const states = new Map(records.map(({ recordId, state }) => [recordId, state]))
  const key = parseBucketKey(record.recordId)
  const from = now > record.hour ? hourOf(now) : record.hour
  for (let hour = from; hour.startsWith(record.yearMonth); hour = addHours(hour, 1)) {
    const target = formatBucketKey({ ...key, hour })
    if ((states.get(target) ?? 'open') === 'open') return target
  }
  return null
}
