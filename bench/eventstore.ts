import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EventStoreDBClient } from '@eventstore/db-client'
import { connectEventStore } from '../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../src/eventstore/embedded/start.ts'
import type { EventStore, NewEvent } from '../src/eventstore/store.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'

/** Appends wait for the disk, as in production. The event is about as large as a DetectionSucceeded. */
const DURATION_MS = 4_000
const WARM_UP_MS = 1_500
const DEADLINE_MS = 10_000

interface Figure {
  readonly name: string
  readonly value: string
  readonly goal?: string
}

/** The embedded event store on a Postgres that fsyncs: appends of one and many clients, and catching up. */
export async function benchEventStore(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  await chmod(folder, 0o755)
  const postgres = await startEmbeddedPostgres({ dataDir: folder })
  const server = await startEmbeddedEventStore({ databaseUrl: postgres.url })
  const store = connectEventStore(server.url)
  try {
    await appendFor(store, 16, WARM_UP_MS)
    const one = await appendFor(store, 1, DURATION_MS)
    const sixteen = await appendFor(store, 16, DURATION_MS)
    const sixtyFour = await appendFor(store, 64, DURATION_MS)
    const batches = await appendFor(store, 4, DURATION_MS, 100)
    const caughtUp = await catchUp(store)
    const bare = await catchUpBare(server.url)
    return [
      { name: 'append, 1 client, p50', value: `${percentile(one.latencies, 0.5)} ms` },
      { name: 'append, 1 client, p99', value: `${percentile(one.latencies, 0.99)} ms` },
      { name: 'appends/s, 16 clients', value: perSecond(sixteen.appends, sixteen.ms) },
      { name: 'appends/s, 64 clients', value: perSecond(sixtyFour.appends, sixtyFour.ms), goal: '≥ 7000' },
      { name: 'append, 64 clients, p99', value: `${percentile(sixtyFour.latencies, 0.99)} ms` },
      { name: 'events/s in batches of 100, 4 clients', value: perSecond(batches.appends * 100, batches.ms) },
      { name: 'catch-up, events/s', value: perSecond(caughtUp.events, caughtUp.ms), goal: '≥ 35000' },
      { name: 'catch-up, bare client, events/s', value: perSecond(bare.events, bare.ms) },
    ]
  } finally {
    await store.close()
    await server.stop()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Each client appends to a stream of its own, one append after the other. */
async function appendFor(store: EventStore, clients: number, durationMs: number, eventsPerAppend = 1) {
  const latencies: number[] = []
  const startedAt = performance.now()
  await Promise.all(
    Array.from({ length: clients }, async () => {
      const stream = `bench-${randomUUID()}`
      let revision = -1n
      while (performance.now() - startedAt < durationMs) {
        const events = Array.from({ length: eventsPerAppend }, newEvent)
        const sentAt = performance.now()
        const expectedRevision = revision < 0n ? 'no_stream' : revision
        const outcome = await store.send({ stream, expectedRevision, events }, DEADLINE_MS)
        latencies.push(performance.now() - sentAt)
        if (outcome.kind !== 'appended') throw new Error(`An append ended as ${outcome.kind}`)
        revision = outcome.revision
      }
    }),
  )
  return { appends: latencies.length, latencies, ms: performance.now() - startedAt }
}

async function catchUp(store: EventStore) {
  const marker = `bench-end-${randomUUID()}`
  await store.send({ stream: marker, expectedRevision: 'no_stream', events: [newEvent()] }, DEADLINE_MS)
  const startedAt = performance.now()
  let events = 0
  for await (const event of store.subscribe({ prefixes: ['bench-'], signal: new AbortController().signal })) {
    events += 1
    if (event.stream === marker) break
  }
  return { events, ms: performance.now() - startedAt }
}

/** The same events through the client alone: the bound for what `subscribe` adds. */
async function catchUpBare(url: string) {
  const client = EventStoreDBClient.connectionString(url)
  const startedAt = performance.now()
  let events = 0
  for await (const { event } of client.readAll()) if (event?.streamId.startsWith('bench-')) events += 1
  const ms = performance.now() - startedAt
  await client.dispose()
  return { events, ms }
}

function newEvent(): NewEvent {
  return {
    id: randomUUID(),
    type: 'DetectionSucceeded',
    data: {
      customerId: randomUUID(),
      occurredAt: new Date().toISOString(),
      detectionId: randomUUID(),
      yearMonth: '2025-01',
      sequence: 4_711,
      funding: 'credit',
      plan: 'standard',
      likelihood: 12_345,
      rectangles: [{ x: 100, y: 120, width: 240, height: 260 }],
    },
    metadata: { correlationId: randomUUID(), schema: '1', hash: 'f'.repeat(64), prevHash: '0'.repeat(64) },
  }
}

function percentile(values: readonly number[], share: number): string {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN).toFixed(2)
}

function perSecond(count: number, ms: number): string {
  return String(Math.round((count * 1_000) / ms))
}
