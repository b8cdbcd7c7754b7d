import { DELETED, type StreamState } from './model.ts'

/** What the metadata of a stream, the events of `$$stream`, say about its visible part. */
export type StreamMetadata = Pick<StreamState, 'hasMetadata' | 'truncateBefore' | 'maxCount'>

/**
 * Reads the body of a metadata event. Of EventStoreDB's settings `$tb` and `$maxCount` are honoured; `$maxAge` and
 * access control are kept in the log and change nothing. Anybody may write anything there, so nothing is refused.
 */
export function parseMetadata(data: Uint8Array): StreamMetadata {
  const nothing: StreamMetadata = { hasMetadata: true, truncateBefore: 0n, maxCount: undefined }
  let metadata: unknown
  try {
    metadata = JSON.parse(Buffer.from(data).toString('utf8'))
  } catch {
    return nothing
  }
  if (typeof metadata !== 'object' || metadata === null) return nothing
  const { $tb, $maxCount } = metadata as { $tb?: unknown; $maxCount?: unknown }
  return { hasMetadata: true, truncateBefore: toRevision($tb) ?? 0n, maxCount: toRevision($maxCount) }
}

/** The metadata that hides all events below `truncateBefore`, all there are and will be when it is DELETED. */
export function truncatingMetadata(truncateBefore: bigint, maxCount: bigint | undefined): Buffer {
  // Written by hand: the number of a soft deletion is too large for a JavaScript number.
  return Buffer.from(`{"$tb":${truncateBefore}${maxCount === undefined ? '' : `,"$maxCount":${maxCount}`}}`)
}

function toRevision(value: unknown): bigint | undefined {
  if (typeof value !== 'number' || !(value > 0)) return undefined
  // JSON has no 64-bit integers here: a number past 2^53 can only be the mark of a soft deletion.
  return value > Number.MAX_SAFE_INTEGER ? DELETED : BigInt(Math.trunc(value))
}
