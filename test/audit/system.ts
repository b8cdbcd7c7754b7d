/** A finished log in a real embedded event store, its tables in a real Postgres, and hands that reach past both. */
import pb from '@eventstore/db-client/generated/streams_pb.js'
import pg from 'pg'
import { inject } from 'vitest'
import { customerStream } from '../../src/events/catalogue.ts'
import { eventHash } from '../../src/events/chain.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { encodeEvent, recordedId } from '../../src/eventstore/embedded/protocol.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { createSchema } from '../../src/eventstore/embedded/storage.ts'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import { connect } from '../../src/postgres/pool.ts'
import { openDatabase } from '../projections/support.ts'
import { freshDatabase } from '../support/postgres.ts'
import { foldTables } from './tables.ts'

/** An event as it stands in the event store's table. */
export interface TableEvent {
  position: bigint
  stream: string
  revision: bigint
  id: string
  type: string
  data: Record<string, unknown>
  metadata: Record<string, unknown>
}

export interface TamperedSystem {
  readonly store: EventStore
  readonly eventStoreUrl: string
  /** Rewrites the event store's table. */
  tamperLog(change: (events: TableEvent[]) => TableEvent[]): Promise<void>
  /** Changes the event store's columns by which events are found, and leaves the events as they are: SQL, $1 is the stream. */
  tamperIndex(stream: string, statements: readonly string[]): Promise<void>
  /** The tables as they were folded from the untouched log, to be read. */
  readonly untouched: { readonly pool: pg.Pool; readonly url: string }
  /** Runs `work` with tables that are thrown away behind it. */
  withTables<T>(work: (pool: pg.Pool, url: string) => Promise<T>): Promise<T>
  /** As it was. */
  restore(): Promise<void>
  stop(): Promise<void>
}

export async function startSystem(log: readonly PositionedEvent[]): Promise<TamperedSystem> {
  const eventsUrl = await freshDatabase(inject('postgresUrl'))
  const events = new pg.Client({ connectionString: eventsUrl })
  await events.connect()
  await createSchema(events)
  const copied = log.map(({ stream, revision, id, type, data, metadata, position }) => ({
    position: position.commit + 1n,
    stream,
    revision,
    id,
    type,
    data: data as TableEvent['data'],
    metadata: metadata as TableEvent['metadata'],
  }))
  await writeTable(events, copied)
  const server = await startEmbeddedEventStore({ databaseUrl: eventsUrl })
  const store = connectEventStore(server.url)
  const tables = await openDatabase()
  await foldTables(store, tables.pool)
  await tables.close() // A database that somebody is connected to cannot be copied.
  const untouched = await openCopy(tables.url)
  const before = await readTable(events)
  let isTampered = false

  return {
    store,
    untouched,
    eventStoreUrl: server.url,
    async tamperLog(change) {
      isTampered = true
      await writeTable(events, change(structuredClone(before)))
    },
    async tamperIndex(stream, statements) {
      isTampered = true
      for (const statement of statements) {
        const { rowCount } = await events.query(statement, [stream])
        if (rowCount === 0) throw new Error(`nothing was tampered with: ${statement}`)
      }
    },
    async withTables(work) {
      const { pool, url } = await openCopy(tables.url)
      try {
        return await work(pool, url)
      } finally {
        await pool.end()
      }
    },
    async restore() {
      if (isTampered) await writeTable(events, before)
      isTampered = false
    },
    async stop() {
      await untouched.pool.end()
      await events.end()
      await store.close()
      await server.stop()
    },
  }
}

async function openCopy(url: string): Promise<{ pool: pg.Pool; url: string }> {
  const copy = await freshDatabase(inject('postgresUrl'), new URL(url).pathname.slice(1))
  return { pool: connect(copy), url: copy }
}

async function readTable(client: pg.Client): Promise<TableEvent[]> {
  const { rows } = await client.query<{
    position: string
    stream: string
    revision: string
    type: string
    message: Buffer
  }>('select position, stream, revision, type, message from eventstore.event order by position')
  return rows.map(({ position, stream, revision, type, message }) => {
    const recorded = pb.ReadResp.deserializeBinary(message).getEvent()?.getEvent()
    const json = (bytes: Uint8Array = new Uint8Array()) => JSON.parse(Buffer.from(bytes).toString())
    return {
      position: BigInt(position),
      stream,
      revision: BigInt(revision),
      id: recordedId(message),
      type,
      data: json(recorded?.getData_asU8()),
      metadata: json(recorded?.getCustomMetadata_asU8()),
    }
  })
}

async function writeTable(client: pg.Client, events: readonly TableEvent[]): Promise<void> {
  const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))
  const messages = events.map(({ position, stream, revision, id, type, data, metadata }) => {
    const proposed = { id, type, contentType: 'application/json', data: bytes(data), customMetadata: bytes(metadata) }
    return encodeEvent(proposed, stream, revision, position, 0)
  })
  // In one transaction, and one statement for all rows.
  await client.query('begin; truncate eventstore.event')
  await client.query(
    `insert into eventstore.event (position, stream, revision, type, message)
     select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bytea[])`,
    [
      events.map(({ position }) => position),
      events.map(({ stream }) => stream),
      events.map(({ revision }) => revision),
      events.map(({ type }) => type),
      messages,
    ],
  )
  await client.query('commit')
}

/** What a forger with the whole store at hand does: each chain is whole again. */
export function forgeChains(events: TableEvent[]): TableEvent[] {
  const heads = new Map<string, { revision: bigint; hash: string }>()
  for (const [index, event] of events.entries()) {
    const head = heads.get(event.stream) ?? { revision: -1n, hash: '' }
    event.position = BigInt(index + 1)
    event.revision = head.revision + 1n
    event.metadata.prevHash = head.hash
    event.metadata.hash = eventHash(event)
    heads.set(event.stream, { revision: event.revision, hash: String(event.metadata.hash) })
  }
  return events
}

export const ofCustomer = (customerId: string) => {
  const stream = customerStream(customerId)
  return {
    /** Place in the table of the customer's n-th event of a type. */
    place(events: readonly TableEvent[], type: string, n = 0): number {
      const places = events.flatMap((event, at) => (event.stream === stream && event.type === type ? [at] : []))
      const place = places.at(n)
      if (place === undefined) throw new Error(`there is no ${type}`)
      return place
    },
  }
}
