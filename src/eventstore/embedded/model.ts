/** The words the embedded event store is built of, without the wire and without SQL. */

/** The revision of a stream that has no events. */
export const NO_REVISION = -1n
/**
 * The revision of a tombstone event; a stream whose head it is can never be written again. Also the `$tb` (truncate
 * before) of a stream that was deleted softly. EventStoreDB uses the largest 64-bit integer for both.
 */
export const DELETED = 9_223_372_036_854_775_807n

/** EventStoreDB's default limit for one append, in bytes. */
export const MAX_APPEND_BYTES = 1024 * 1024

export type Expected = 'any' | 'no_stream' | 'stream_exists' | bigint

export interface ProposedEvent {
  readonly id: string
  readonly type: string
  readonly contentType: string
  readonly data: Uint8Array
  readonly customMetadata: Uint8Array
}

/** What the writer must know of a stream before it may append to it. */
export interface StreamState {
  /** Revision of the last event; NO_REVISION when there is none, DELETED when there is a tombstone. */
  readonly head: bigint
  /** Whether `$$stream` holds any metadata; STREAM_EXISTS is content with that. */
  readonly hasMetadata: boolean
  /** Events below this revision are hidden from reads of the stream. DELETED: the stream is softly deleted. */
  readonly truncateBefore: bigint
  /** Only so many of the last events are shown to reads of the stream. */
  readonly maxCount: bigint | undefined
}

export const absentStream: StreamState = {
  head: NO_REVISION,
  hasMetadata: false,
  truncateBefore: 0n,
  maxCount: undefined,
}

/** One stored event. `message` is the whole ReadResp message, so that a read costs no encoding. */
export interface StoredRow {
  readonly position: bigint
  readonly stream: string
  readonly revision: bigint
  readonly type: string
  readonly message: Buffer
}

export interface AppendRequest {
  readonly stream: string
  readonly expected: Expected
  readonly events: readonly ProposedEvent[]
  /** Bytes of the events, for the bounds of a group. */
  readonly bytes: number
  /** Deletions are appends too: of a tombstone, or of the metadata that hides the stream. */
  readonly deletion?: 'soft' | 'hard'
}

export type AppendResult =
  | { readonly kind: 'appended'; readonly last: bigint; readonly position: bigint | undefined }
  | { readonly kind: 'wrong_version'; readonly current: bigint }
  | { readonly kind: 'deleted' }

/**
 * Postgres cannot be reached, or an insert ended without an answer. What was being appended may or may not be in the
 * log; nothing but a retry by the client may find out.
 */
export class LogUnavailable extends Error {
  override name = 'LogUnavailable'
}

export interface Log {
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

export function isSoftlyDeleted(state: StreamState): boolean {
  return state.truncateBefore === DELETED
}

/** First and last revision that a read of the stream may show; empty when first > last. */
export function visible(state: StreamState): { first: bigint; last: bigint } {
  const byCount = state.maxCount === undefined ? 0n : state.head - state.maxCount + 1n
  const first = byCount > state.truncateBefore ? byCount : state.truncateBefore
  return { first: first < 0n ? 0n : first, last: state.head }
}

const METASTREAM_PREFIX = '$$'

export function metastreamOf(stream: string): string {
  return METASTREAM_PREFIX + stream
}

/** The stream whose metadata `stream` holds; undefined when it is an ordinary stream. */
export function describedBy(stream: string): string | undefined {
  return stream.startsWith(METASTREAM_PREFIX) ? stream.slice(METASTREAM_PREFIX.length) : undefined
}
