/** Metering's consumer fed from a real Kafka, against bare kafkajs reading the same topic and doing nothing with it. */
import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import type { EventStore, PositionedEvent } from '../src/eventstore/store.ts'
import { consumeBatch } from '../src/metering/consume.ts'
import { feedBatch } from '../src/metering/direct-feed.ts'
import type { Consume } from '../src/metering/feed.ts'
import { startKafkaFeed } from '../src/metering/kafka-feed.ts'
import { postgresTables } from '../src/metering/postgres-tables.ts'
import { ensureMeteringTables } from '../src/metering/schema.ts'
import type { DirectFeedRow, MeteringTables } from '../src/metering/tables.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'
import { ensureDatabase } from '../src/postgres/migrate.ts'
import { connect } from '../src/postgres/pool.ts'
import { emptyFeed, fedPrefixes, feedAll } from '../src/relay/feed.ts'
import { kafkaClient, kafkaTopic } from '../src/relay/topic.ts'
import { createCustomerLog } from '../test/support/customer-log.ts'
import { kafkaForTests } from '../test/support/kafka.ts'
import { createMemoryStore } from '../test/support/memory-store.ts'
import type { Figure } from './stack.ts'

/** With 1,000 credits a month each, half of the customers' calls are overage. */
const EVENTS = 100_000
const CUSTOMERS = 50
const ROUNDS = 3
const MAX_BATCH = 1_000

/** Reads and folds take turns, and the medians are compared: the machine's mood changes between them. */
export async function benchMetering(): Promise<Figure[]> {
  const kafka = await kafkaForTests('the bench of metering')
  if (kafka === null) return []
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const postgres = await startEmbeddedPostgres({ dataDir: folder })
  const pool = connect(await ensureDatabase(postgres.url, 'liveness'))
  const { brokers } = kafka
  const topic = `bench-${randomUUID()}`
  try {
    const store = createMemoryStore()
    const log = createCustomerLog(store, CUSTOMERS)
    await log.write(EVENTS, 200)
    const events = await collect(store.readAll({ prefixes: fedPrefixes }))
    const opened = await kafkaTopic({ brokers }, { name: topic }).open(new AbortController().signal, () => {})
    for (let i = 0; i < events.length; i += MAX_BATCH) {
      await opened.send(feedAll(emptyFeed, events.slice(i, i + MAX_BATCH)).items)
    }
    await opened.close()

    const [reads, folds, directs]: number[][] = [[], [], []]
    for (let round = 0; round <= ROUNDS; round++) {
      const read = await bareRead(brokers, topic, events.length)
      const fold = await foldFromKafka(await emptyTables(pool), store, { brokers, topic }, events.length)
      const direct = await foldDirectly(await emptyTables(pool), store, events)
      if (round === 0) continue // warm-up
      reads?.push(read)
      folds?.push(fold)
      directs?.push(direct)
    }
    const read = events.length / median(reads)
    const fold = events.length / median(folds)
    const direct = events.length / median(directs)
    return [
      { name: `bare kafkajs read of ${events.length} messages, events/s`, value: (read * 1_000).toFixed(0) },
      { name: 'metering consumer fed from Kafka, events/s', value: (fold * 1_000).toFixed(0) },
      { name: 'metering consumer without Kafka, events/s', value: (direct * 1_000).toFixed(0) },
      { name: 'consumer against bare read', value: (fold / read).toFixed(2) },
    ]
  } finally {
    await pool.end()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
    await kafka.stop()
  }
}

const median = (values: readonly number[] = []): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

async function emptyTables(pool: pg.Pool): Promise<MeteringTables> {
  await pool.query('drop schema if exists metering cascade')
  await ensureMeteringTables(pool)
  return postgresTables(pool)
}

const consumer =
  (tables: MeteringTables, store: EventStore): Consume =>
  (partition, fed) =>
    consumeBatch({ tables, store, graceMs: 600_000, onAlarm: (_, message) => console.error(message) }, partition, fed)

/** Milliseconds from the first message on: joining a group takes its own time. */
async function bareRead(brokers: string[], topic: string, count: number): Promise<number> {
  const reader = kafkaClient({ brokers }, 'bench').consumer({ groupId: randomUUID(), allowAutoTopicCreation: false })
  await reader.connect()
  await reader.subscribe({ topics: [topic], fromBeginning: true })
  let left = count
  let startedAt = 0
  await reader.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      startedAt ||= performance.now()
      left -= batch.messages.length
    },
  })
  while (left > 0) await pause(1)
  const ms = performance.now() - startedAt
  await reader.disconnect()
  return ms
}

async function foldFromKafka(
  tables: MeteringTables,
  store: EventStore,
  { brokers, topic }: { readonly brokers: string[]; readonly topic: string },
  count: number,
): Promise<number> {
  let startedAt = 0
  const consume = consumer(tables, store)
  const feed = startKafkaFeed({
    kafka: { brokers },
    topic,
    groupId: randomUUID(),
    tables,
    consume: (partition, fed) => {
      startedAt ||= performance.now()
      return consume(partition, fed)
    },
    onAlarm: (_, message) => console.error(message),
  })
  while (feed.lag().folded < count) await pause(1)
  const ms = performance.now() - startedAt
  await feed.stop()
  return ms
}

async function foldDirectly(
  tables: MeteringTables,
  store: EventStore,
  events: readonly PositionedEvent[],
): Promise<number> {
  const startedAt = performance.now()
  const consume = consumer(tables, store)
  let row: DirectFeedRow | null = null
  for (let i = 0; i < events.length; i += MAX_BATCH) {
    row = await feedBatch(row, events.slice(i, i + MAX_BATCH), { tables, consume })
  }
  return performance.now() - startedAt
}
