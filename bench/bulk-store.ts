/**
 * The embedded event store's table, filled without the event store: for logs of a size that takes it an hour of appends.
 * Positions, revisions and messages are those it would have written, and it serves them afterwards. What the writers of a
 * log read meanwhile is answered from memory: every stream but those of the calls.
 */
import pg from 'pg'
import type { StoredRow } from '../src/eventstore/embedded/model.ts'
import { encodeEvent } from '../src/eventstore/embedded/protocol.ts'
import { createSchema, insertRows } from '../src/eventstore/embedded/storage.ts'
import type { EventStore, PositionedEvent } from '../src/eventstore/store.ts'

const ROWS_AT_ONCE = 2_000

export interface BulkStore extends EventStore {
  /** What was appended since this was called last, in order. */
  taken(): PositionedEvent[]
}

/** `close` writes what is left. @param now of `created` */
export async function openBulkStore(databaseUrl: string, now: () => string): Promise<BulkStore> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await createSchema(client)
  const heads = new Map<string, bigint>()
  const kept = new Map<string, PositionedEvent[]>()
  let position = 0n
  let rows: StoredRow[] = []
  let fresh: PositionedEvent[] = []
  let writing = Promise.resolve()

  function flush(): Promise<void> {
    const page = rows
    rows = []
    if (page.length > 0) writing = writing.then(() => insertRows(client, page))
    return writing
  }

  function streamOf(stream: string): readonly PositionedEvent[] {
    if (stream.startsWith('customer-')) throw new Error(`${stream} is not kept to be read`)
    return kept.get(stream) ?? []
  }

  return {
    async send({ stream, expectedRevision, events }) {
      let revision = heads.get(stream) ?? -1n
      if (revision !== (expectedRevision === 'no_stream' ? -1n : expectedRevision)) return { kind: 'conflict' }
      const created = new Date(now())
      for (const { id, type, data, metadata } of events) {
        revision += 1n
        position += 1n
        const body = {
          id,
          type,
          contentType: 'application/json',
          data: bytesOf(data),
          customMetadata: bytesOf(metadata),
        }
        const message = encodeEvent(body, stream, revision, position, created.getTime())
        rows.push({ position, stream, revision, type, message })
        const at = { commit: position, prepare: position }
        const event = { stream, revision, id, type, data, metadata, created, position: at }
        fresh.push(event)
        if (stream.startsWith('customer-')) continue
        const others = kept.get(stream)
        if (others === undefined) kept.set(stream, [event])
        else others.push(event)
      }
      heads.set(stream, revision)
      if (rows.length >= ROWS_AT_ONCE) await flush()
      return { kind: 'appended', revision }
    },
    async *readForward(stream, from, maxCount = Number.POSITIVE_INFINITY) {
      yield* streamOf(stream).slice(Number(from), Number(from) + maxCount)
    },
    async *readBackward(stream, maxCount = Number.POSITIVE_INFINITY) {
      yield* streamOf(stream).toReversed().slice(0, maxCount)
    },
    readAll() {
      throw new Error('the log is not kept to be read')
    },
    subscribe() {
      throw new Error('the log is not kept to be read')
    },
    taken() {
      const events = fresh
      fresh = []
      return events
    },
    async close() {
      await flush()
      await client.end()
    },
  }
}

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
