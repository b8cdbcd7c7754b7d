/**
 * Calls of a licence that is over, in an hour that AWS does not take: too old already, or to come after the end, where
 * they were late or carried on while it still ran. They are brought into the last hour of the licence that AWS still
 * takes and that is not sealed, or are lost to us. Pure.
 */
import { licenceIdentity } from '../commands/plans.ts'
import type { CustomerBooks } from './books.ts'
import { type MeteringRecord, quantityOf } from './record.ts'
import {
  addHours,
  addMs,
  deadlineOf,
  formatBucketKey,
  hourOf,
  lastStartOf,
  type MeteringRules,
  parseRecordId,
} from './rules.ts'
import type { CustomerMeter } from './tables.ts'

export interface Stranded {
  readonly record: MeteringRecord
  /** Where its quantity goes; null when AWS takes no hour for it any more, or there is nothing to bill. */
  readonly toRecordId: string | null
}

/**
 * Milliseconds between the end of a licence and the sealing of its running hour. An attempt whose outcome nobody knew
 * at the end has become a standing doubt by then (attempt.ts: 8 s) and holds the seal back until it is settled.
 */
const doubtsSettleMs = 30_000

/** When the licence of a record that is sealed early ended or was replaced, as far as it is known. */
export function endOf(licence: string, { state }: CustomerMeter): string | undefined {
  const { ends, since } = state
  const ended = ends[licence]
  if (ended !== undefined) return ended
  const at = since[licenceIdentity(state.licence)]
  // A licence that came back was there before: when it did is not kept.
  return at === undefined || at < (since[licence] ?? '') ? undefined : at
}

/** Whether what was billed under the licence until its end is surely known by now. */
export function isOver(licence: string, meter: CustomerMeter, now: string): boolean {
  const at = endOf(licence, meter)
  return at === undefined || now >= addMs(at, doubtsSettleMs)
}

/** The open records of licences that are over which AWS would refuse, and where their calls go instead. */
export function strandedIn(books: CustomerBooks, now: string, rules: MeteringRules): Stranded[] {
  const { meter, records } = books
  return records
    .filter(({ state, sealEarly }) => state === 'open' && sealEarly !== null)
    .filter(({ licence }) => meter.state.licences[licence]?.kind !== 'none' && isOver(licence, meter, now))
    .flatMap((record) => {
      const { calls, licence, hour } = record
      const last = lastHourOf(licence, books)
      if (last === undefined) return []
      // A call in its own hour was made while the licence ran.
      const isAfterEnd = hour > last && calls.quantity === calls.late
      if (!isAfterEnd && !isTooOld(hour, now, rules)) return []
      return { record, toRecordId: quantityOf(record) === 0 ? null : lastHourFor(record, books, now, rules) }
    })
}

const isTooOld = (hour: string, now: string, rules: MeteringRules, endedAt?: string): boolean =>
  lastStartOf(deadlineOf(hour, rules, endedAt)) <= now

/**
 * The newest hour that can still take calls of a licence that is over: AWS takes it, its month is not closed, and it is
 * not sealed. Null where there is none, or where nobody knows when the licence was over.
 */
export function lastHourFor(
  record: Pick<MeteringRecord, 'recordId' | 'licence' | 'yearMonth'>,
  books: CustomerBooks,
  now: string,
  rules: MeteringRules,
): string | null {
  const last = lastHourOf(record.licence, books)
  const { licence, yearMonth } = record
  if (!rules.carryForward || last === undefined || books.meter.closed.includes(yearMonth)) return null
  const { licences, since, ends } = books.meter.state
  const own = licences[licence]
  const [start = ''] = [own?.kind === 'none' ? '' : (own?.termStart ?? ''), since[licence] ?? ''].toSorted().slice(-1)
  const taken = new Set(books.records.filter(({ state }) => state !== 'open').map(({ recordId }) => recordId))
  const key = parseRecordId(record.recordId)
  for (let hour = last; hour.startsWith(yearMonth) && hour >= hourOf(start); hour = addHours(hour, -1)) {
    if (isTooOld(hour, now, rules, ends[licence])) return null
    const recordId = formatBucketKey({ ...key, hour })
    const isOtherwiseNamed = books.records.some((one) => one.hour === hour && licences[one.licence]?.kind !== own?.kind)
    if (!taken.has(recordId) && !isOtherwiseNamed) return recordId
  }
  return null
}

/**
 * The last hour that AWS may be told under a licence that is over. The hour in which it was replaced is among them, but
 * not when a product code was: both names in one hour are "duplicate billing" (SDK, BatchMeterUsage).
 */
function lastHourOf(licence: string, { meter, records }: CustomerBooks): string | undefined {
  const { ends, licence: current, licences } = meter.state
  const at = endOf(licence, meter)
  if (at === undefined || ends[licence] !== undefined) return at && hourOf(at)
  // Of one that came and went more than once, the first time is known: it surely ran where calls were made under it.
  const used = records.filter((one) => one.licence === licence && one.calls.quantity > one.calls.late)
  const last = licences[licence]?.kind === current.kind ? hourOf(at) : addHours(hourOf(at), -1)
  return [last, ...used.map(({ hour }) => hour)].toSorted().at(-1)
}
