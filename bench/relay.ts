/** The relay into a real Kafka, against the bare client reading the same events and doing nothing with them. */
import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EventStoreDBClient, START, streamNameFilter } from '@eventstore/db-client'
import type pg from 'pg'
import { connectEventStore } from '../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../src/eventstore/embedded/start.ts'
import type { EventStore } from '../src/eventstore/store.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'
import { ensureDatabase, migrate } from '../src/postgres/migrate.ts'
import { connect } from '../src/postgres/pool.ts'
import { inBatches } from '../src/projections/feed.ts'
import { fedPrefixes } from '../src/relay/feed.ts'
import { postgresRelayStates } from '../src/relay/state.ts'
import { relayBatch, takeUp } from '../src/relay/step.ts'
import { kafkaTopic } from '../src/relay/topic.ts'
import { createCustomerLog } from '../test/support/customer-log.ts'
import { kafkaForTests } from '../test/support/kafka.ts'
import type { Figure } from './stack.ts'

const EVENTS = 100_000
const CUSTOMERS = 50
const ROUNDS = 3
const MAX_BATCH = 1_000

/** Reads and relays take turns, and the medians are compared: the machine's mood changes between them. */
export async function benchRelay(): Promise<Figure[]> {
  const kafka = await kafkaForTests('the bench of the relay')
  if (kafka === null) return []
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const postgres = await startEmbeddedPostgres({ dataDir: folder })
  const server = await startEmbeddedEventStore({ databaseUrl: await ensureDatabase(postgres.url, 'eventstore') })
  const url = await ensureDatabase(postgres.url, 'liveness')
  await migrate(url)
  const pool = connect(url)
  const store = connectEventStore(server.url)
  const client = EventStoreDBClient.connectionString(server.url)
  try {
    const log = createCustomerLog(store, CUSTOMERS)
    await log.write(EVENTS, 200)
    const reads: number[] = []
    const relays: number[] = []
    for (let round = 0; round <= ROUNDS; round++) {
      const read = await bareRead(client, log.written)
      const relay = await relayAll({ pool, store, brokers: kafka.brokers }, log.written)
      if (round === 0) continue // warm-up
      reads.push(read)
      relays.push(relay)
    }
    const read = log.written / median(reads)
    const relay = log.written / median(relays)
    return [
      { name: `bare client read of ${log.written} events, events/s`, value: (read * 1_000).toFixed(0) },
      { name: 'relay of them into Kafka, acknowledged and checkpointed, events/s', value: (relay * 1_000).toFixed(0) },
      { name: 'relay against bare read', value: (relay / read).toFixed(2) },
    ]
  } finally {
    await client.dispose()
    await pool.end()
    await store.close()
    await server.stop()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
    await kafka.stop()
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** Milliseconds. */
async function bareRead(client: EventStoreDBClient, count: number): Promise<number> {
  const startedAt = performance.now()
  const subscription = client.subscribeToAll({
    fromPosition: START,
    filter: streamNameFilter({ prefixes: [...fedPrefixes], checkpointInterval: 1_000 }),
  })
  let left = count
  for await (const _ of subscription) {
    left -= 1
    if (left === 0) break
  }
  await subscription.unsubscribe()
  return performance.now() - startedAt
}

/** The loop of the relay's leader into a new topic; the topic is made before the clock starts. Milliseconds. */
async function relayAll(
  { pool, store, brokers }: { readonly pool: pg.Pool; readonly store: EventStore; readonly brokers: string[] },
  count: number,
): Promise<number> {
  const source = kafkaTopic({ brokers }, { name: `bench-${randomUUID()}` })
  const { signal } = new AbortController()
  const topic = await source.open(signal, (error) => console.error(error.message))
  const deps = { store, topic, states: postgresRelayStates(pool, source.name) }
  let state = await takeUp(deps)
  const startedAt = performance.now()
  let left = count
  const events = (reading: AbortSignal) => store.subscribe({ prefixes: fedPrefixes, signal: reading })
  for await (const batch of inBatches(events, { max: MAX_BATCH, signal })) {
    state = await relayBatch(state, batch, deps)
    left -= batch.length
    if (left <= 0) break
  }
  const ms = performance.now() - startedAt
  await topic.close()
  const relayed = state.counts.reduce((sum, partition) => sum + partition)
  if (relayed !== BigInt(count)) throw new Error(`${relayed} of ${count} events were relayed`)
  return ms
}
