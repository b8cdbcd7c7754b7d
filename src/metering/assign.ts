/**
 * Which record a call belongs to. Pure, and a function of the two streams alone: a record that was sealed before the
 * call (by the seal's throughRevision, not by anybody's clock) cannot hold it, so whoever folds the streams, and
 * whenever, puts the call into the same record.
 */
import { type MeteringRecord, noCalls } from './record.ts'
import { addHours, type BucketKey, formatBucketKey, overflowKey } from './rules.ts'

/** A customer's records, as far as they matter here, and closed months. */
export interface Shelf {
  readonly records: ReadonlyMap<string, MeteringRecord>
  readonly closed: readonly string[]
}

/**
 * The first hour of the call's month, from its own on, that is not sealed without it; the month's overflow record when
 * there is none. All records of the month must be there, unless `isInOwnHour`.
 *
 * @param revision of the DetectionSucceeded in the customer's stream
 */
export function assign(key: BucketKey, revision: bigint, shelf: Shelf): string {
  const month = key.hour.slice(0, 7)
  for (let hour = key.hour; hour.startsWith(month); hour = addHours(hour, 1)) {
    const recordId = formatBucketKey({ ...key, hour })
    if (takes(recordId, revision, shelf, mayOpen(month, shelf))) return recordId
  }
  for (let number = 1; ; number++) {
    const recordId = overflowKey(key, number)
    if (takes(recordId, revision, shelf, true)) return recordId
  }
}

/** Whether the record of the call's own hour holds it; needs that one record only. */
export const isInOwnHour = (key: BucketKey, revision: bigint, shelf: Shelf): boolean =>
  takes(formatBucketKey(key), revision, shelf, mayOpen(key.hour.slice(0, 7), shelf))

/**
 * An open record takes the call, where it may be open. A sealed one holds it when it was sealed at that call or later
 * and with calls: one without (a zero, an hour that was only carried into) would draw calls that had gone elsewhere, if
 * it was named after its month was closed.
 */
function takes(recordId: string, revision: bigint, { records }: Shelf, ifOpen: boolean): boolean {
  const sealed = records.get(recordId)?.sealed
  if (sealed == null) return ifOpen
  return BigInt(sealed.throughRevision) >= revision && sealed.digest !== noCalls.digest
}

/** No hour of a closed month is opened any more: it would never be sealed, sent or counted. */
const mayOpen = (month: string, { closed }: Shelf): boolean => !closed.includes(month)
