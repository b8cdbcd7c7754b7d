/**
 * The log into another event store: same streams, order, revisions, ids, types and bytes. What the target holds already
 * must be the log's beginning, so nothing has to be remembered: after a crash the copy goes on behind it.
 */
import { defaultPatience, sendUntilKnown } from '../commands/attempt.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { isSystemStream, type SourceEvent } from './source-log.ts'

/** The target's log is not the beginning of the source's; the message names the first difference. */
export class OtherLog extends Error {
  override name = 'OtherLog'
}

export interface CopyOptions {
  readonly source: AsyncIterable<SourceEvent>
  readonly target: Pick<EventStore, 'readAll' | 'send'>
  readonly signal: AbortSignal
  /** Told of events that stand in the target, compared or copied. */
  readonly onProgress?: ((events: number) => void) | undefined
}

export interface Copied {
  readonly events: number
  /** Of these, the ones that this run appended. */
  readonly appended: number
}

/** Appends are atomic, so one append may hold neighbours of one stream; small enough for every server. */
const maxEvents = 200
const maxBytes = 256 * 1_024

/**
 * Compares what the target holds and appends the rest, one append at a time: the order of $all is the order of the
 * acknowledgements.
 * @throws OtherLog, EventStoreUnavailable, Error when an append is refused or stays unknown
 */
export async function copyLog({ source, target, signal, onProgress }: CopyOptions): Promise<Copied> {
  const held = eventsOf(target)[Symbol.asyncIterator]()
  let comparing = true
  let events = 0
  let appended = 0
  let group: SourceEvent[] = []
  let bytes = 0

  const flush = async () => {
    await append(target, group)
    events += group.length
    appended += group.length
    group = []
    bytes = 0
    onProgress?.(events)
  }
  try {
    for await (const event of source) {
      signal.throwIfAborted()
      if (comparing) {
        const next = await held.next()
        if (!next.done) {
          refuseOther(event, next.value)
          events += 1
          onProgress?.(events)
          continue
        }
        comparing = false
      }
      const size = Buffer.byteLength(event.data) + Buffer.byteLength(event.metadata)
      const fits = group.length < maxEvents && bytes + size <= maxBytes && group[0]?.stream === event.stream
      if (group.length > 0 && !fits) await flush()
      group.push(event)
      bytes += size
    }
    if (group.length > 0) await flush()
    const more = comparing ? await held.next() : { done: true as const, value: undefined }
    if (!more.done) {
      throw new OtherLog(`The target's event store goes on where this log ends, with ${nameOf(more.value)}.`)
    }
    return { events, appended }
  } finally {
    await held.return?.(undefined)
  }
}

/** Everything that is in an event store, without its own streams. */
async function* eventsOf(store: Pick<EventStore, 'readAll'>): AsyncGenerator<StoredEvent, void> {
  for await (const event of store.readAll({ prefixes: [''] })) if (!isSystemStream(event.stream)) yield event
}

async function append(target: Pick<EventStore, 'send'>, group: readonly SourceEvent[]): Promise<void> {
  const [first] = group
  if (first === undefined) return
  const attempt = {
    stream: first.stream,
    expectedRevision: first.revision === 0n ? ('no_stream' as const) : first.revision - 1n,
    events: group.map(({ id, type, data, metadata }) => ({
      id,
      type,
      data: JSON.parse(data),
      metadata: JSON.parse(metadata),
    })),
  }
  const outcome = await sendUntilKnown(target as EventStore, attempt, { ...defaultPatience, attemptMs: 60_000 })
  switch (outcome.kind) {
    case 'appended':
      return
    case 'conflict':
      throw new OtherLog(`The target's event store took ${nameOf(first)} from somebody else while it was copied.`)
    default:
      throw new Error(`The target's event store did not take ${nameOf(first)}: ${outcome.cause.message}`)
  }
}

function refuseOther(ours: SourceEvent, theirs: StoredEvent): void {
  const found = {
    stream: theirs.stream,
    revision: theirs.revision,
    id: theirs.id,
    type: theirs.type,
    data: JSON.stringify(theirs.data),
    metadata: JSON.stringify(theirs.metadata),
  }
  for (const field of ['stream', 'revision', 'id', 'type', 'data', 'metadata'] as const) {
    if (ours[field] === found[field]) continue
    throw new OtherLog(
      `The target's event store holds other data: where this log has ${nameOf(ours)} it has ${nameOf(theirs)}` +
        `${field === 'data' || field === 'metadata' ? `, with other ${field}` : ''}. Give it an empty one.`,
    )
  }
}

const nameOf = ({ stream, revision, type, id }: Pick<SourceEvent, 'stream' | 'revision' | 'type' | 'id'>): string =>
  `${stream} revision ${revision} (${type}, ${id})`
