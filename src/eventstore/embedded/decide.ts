import { DELETED, type Expected, isSoftlyDeleted, NO_REVISION, type StreamState } from './model.ts'

/**
 * What to do with an append.
 * - `append`: write the events at `first`; `undelete` when the stream was softly deleted and comes back to life.
 * - `repeated`: these very events are there already; answer the original success.
 */
export type Decision =
  | { readonly kind: 'append'; readonly first: bigint; readonly undelete: boolean }
  | { readonly kind: 'repeated'; readonly last: bigint }
  | { readonly kind: 'wrong_version'; readonly current: bigint }
  | { readonly kind: 'deleted' }

/** Where to look up events that are in the log already. */
export interface Recorded {
  /** The id of the event at that place of the stream; undefined when there is none. Exact, without limit of time. */
  idAt(revision: bigint): Promise<string | undefined>
  /** The place of an event in this stream, when its id is among those still remembered. Best effort. */
  remembered(id: string): bigint | undefined
}

/**
 * EventStoreDB's rules for expected revisions and repeated appends (v23.10, IndexWriter.CheckCommit).
 *
 * With an exact revision or NO_STREAM the ids are compared at the one place where the events would stand, so a retry
 * is recognised for ever, and the same ids at a later revision are appended again. With ANY and STREAM_EXISTS only
 * remembered ids are recognised. A batch that begins with recorded events and goes on differently is refused.
 */
export async function decideAppend(
  state: StreamState,
  expected: Expected,
  ids: readonly string[],
  recorded: Recorded,
): Promise<Decision> {
  const current = state.head
  const softlyDeleted = isSoftlyDeleted(state)
  const wrong: Decision = { kind: 'wrong_version', current }
  const append: Decision = { kind: 'append', first: current + 1n, undelete: softlyDeleted }
  if (current === DELETED) return { kind: 'deleted' }

  if (expected === 'any' || expected === 'stream_exists') {
    if (expected === 'stream_exists' && current === NO_REVISION && !state.hasMetadata) return wrong
    const places = ids.map((id) => recorded.remembered(id))
    if (places[0] === undefined) return append
    return places.includes(undefined) ? wrong : { kind: 'repeated', last: places.at(-1) ?? current }
  }

  const expectedRevision = expected === 'no_stream' ? NO_REVISION : expected
  if (expectedRevision > current) return wrong
  if (expectedRevision === current) return append
  for (const [index, id] of ids.entries()) {
    const revision = expectedRevision + 1n + BigInt(index)
    const recordedId = revision > current ? undefined : await recorded.idAt(revision)
    if (recordedId === id) continue
    return index === 0 && expected === 'no_stream' && softlyDeleted ? append : wrong
  }
  if (ids.length === 0) return expected === 'no_stream' && softlyDeleted ? append : wrong
  return { kind: 'repeated', last: expectedRevision + BigInt(ids.length) }
}
