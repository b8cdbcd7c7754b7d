/**
 * Which record a call belongs to. Pure, and a function of the two streams alone: a record that was sealed before the
 * call (by the seal's throughRevision, not by anybody's clock) cannot hold it, so whoever folds the streams, and
 * whenever, puts the call into the same record.
 */
import type { MeteringRecord } from './record.ts'
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
    if (takes(recordId, revision, shelf) && isOpenOrKnown(recordId, month, shelf)) return recordId
  }
  for (let number = 1; ; number++) {
    const recordId = overflowKey(key, number)
    if (takes(recordId, revision, shelf)) return recordId
  }
}

/** Whether the record of the call's own hour holds it; needs that one record only. */
export function isInOwnHour(key: BucketKey, revision: bigint, shelf: Shelf): boolean {
  const recordId = formatBucketKey(key)
  return takes(recordId, revision, shelf) && isOpenOrKnown(recordId, key.hour.slice(0, 7), shelf)
}

function takes(recordId: string, revision: bigint, { records }: Shelf): boolean {
  const sealed = records.get(recordId)?.sealed
  return sealed == null || BigInt(sealed.throughRevision) >= revision
}

/**
 * No hour of a closed month is opened any more: it would never be sealed, sent or counted. Nor does anything decided
 * after the close name a new one, whatever a clock says: calls that had found no hour before would belong to it then.
 */
const isOpenOrKnown = (recordId: string, month: string, { records, closed }: Shelf): boolean =>
  records.has(recordId) || !closed.includes(month)
