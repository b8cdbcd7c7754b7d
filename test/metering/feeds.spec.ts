/** Both feeds and the real consumer: whatever the way, and whatever happened on it, the rows are the same. */

import { randomUUID } from 'node:crypto'
import { Kafka as KafkaClient, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { consumeBatch } from '../../src/metering/consume.ts'
import { type DirectFeedOptions, startDirectFeed } from '../../src/metering/direct-feed.ts'
import type { Consume, MeteringFeed } from '../../src/metering/feed.ts'
import { startKafkaFeed } from '../../src/metering/kafka-feed.ts'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { ensureMeteringTables } from '../../src/metering/schema.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { databaseTime } from '../../src/postgres/pool.ts'
import type { FeedItem } from '../../src/relay/feed.ts'
import { kafkaTopic } from '../../src/relay/topic.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { type Kafka, kafkaForTests } from '../support/kafka.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { clock, dumpRows, itemsOf, writeLog } from './feeding.ts'

// Longer than the waits of a test together.
vi.setConfig({ testTimeout: 120_000 })

const kafka: Kafka | null = await kafkaForTests('metering rows by way of Kafka')
const withKafka = test.skipIf(kafka === null)
const brokers = kafka?.brokers ?? []
const admin = new KafkaClient({ brokers, logLevel: logLevel.NOTHING }).admin()

let database: Database
let store: MemoryStore
let items: FeedItem[]
let rows: Record<string, string[]>
let tables: MeteringTables
let topic: string
let groupId: string
let feeds: MeteringFeed[]
let alarms: string[]

beforeAll(async () => {
  database = await openDatabase()
  store = createMemoryStore()
  await writeLog(store, { steps: 300, events: 1_000 })
  items = await itemsOf(store)
  if (kafka !== null) await admin.connect()
  await forgetRows()
  await throughDirectFeed()
  rows = await dumpRows(database.pool)
})
afterAll(async () => {
  await admin.disconnect()
  await database.close()
  await kafka?.stop()
})
beforeEach(async () => {
  await forgetRows()
  topic = `billing-${randomUUID()}`
  groupId = `metering-${randomUUID()}`
})
afterEach(stopAll)

async function forgetRows(): Promise<void> {
  await database.pool.query('drop schema if exists metering cascade')
  await ensureMeteringTables(database.pool)
  tables = postgresTables(database.pool)
  feeds = []
  alarms = []
}
const onAlarm: DirectFeedOptions['onAlarm'] = (kind) => alarms.push(kind)
const consume: Consume = (partition, fed) => consumeBatch({ tables, store, graceMs: 600_000, onAlarm }, partition, fed)

/** `maxBatch`: how the log is cut. */
async function throughDirectFeed(maxBatch?: number): Promise<void> {
  const { url } = database
  const databaseClock = () => databaseTime(database.pool)
  const last = store.all().at(-1)?.position.commit
  // Nothing is added to the log, which is compared.
  const still = { ...store, send: async () => ({ kind: 'conflict' as const }) }
  const feed = startDirectFeed({ url, store: still, tables, consume, clock, databaseClock, onAlarm, maxBatch })
  const row = () => tables.transaction((tx) => tx.directFeed())
  await until(async () => (await row())?.position.commit === last, 30_000).finally(feed.stop)
}

function startKafka(): MeteringFeed {
  const feed = startKafkaFeed({ kafka: { brokers }, topic, groupId, tables, consume, onAlarm })
  feeds.push(feed)
  return feed
}
async function stopAll(): Promise<void> {
  await Promise.all(feeds.splice(0).map((feed) => feed.stop()))
}
async function send(sent: readonly FeedItem[]): Promise<void> {
  const opened = await kafkaTopic({ brokers }, { name: topic }).open(new AbortController().signal, () => {})
  await opened.send(sent)
  await opened.close()
}
async function allRead(): Promise<void> {
  await until(async () => {
    const next = new Map((await tables.partitions()).map(({ partition, nextOffset }) => [partition, nextOffset ?? 0n]))
    return (await admin.fetchTopicOffsets(topic)).every(({ partition, high }) => next.get(partition) === BigInt(high))
  }, 30_000)
}

test('there is something to compare', () => {
  expect(rows.customers?.length).toBeGreaterThan(20)
  expect(rows.records?.length).toBeGreaterThan(3)
  expect(rows.partitions?.filter((row) => row.includes('2026-'))).toHaveLength(12)
})

test('the direct feed gives the same rows however the log is cut', async () => {
  await throughDirectFeed(7)
  expect(await dumpRows(database.pool)).toEqual(rows)
})

withKafka('Kafka gives the same rows, byte for byte', async () => {
  await send(items)
  startKafka()
  await allRead()
  expect(await dumpRows(database.pool)).toEqual(rows)
  expect(alarms).toEqual([])
})

withKafka('the whole topic delivered again, twice over, changes no row', async () => {
  await send(items)
  startKafka()
  await allRead()
  await stopAll()
  await database.pool.query('update metering.partitions set next_offset = null')
  await send(items)
  startKafka()
  await allRead()
  expect(await dumpRows(database.pool)).toEqual(rows)
  expect(alarms).toEqual([])
})

withKafka('the last messages of partitions that are lost are filled at the watermark', async () => {
  const last = items.findIndex(({ kind }, i) => kind === 'watermark' && i >= items.length - 12)
  const lost = items
    .slice(0, last)
    .flatMap((item, i) => (item.kind === 'event' ? [i] : []))
    .slice(-30)
  await send(items.filter((_, i) => !lost.includes(i)))
  startKafka()
  await allRead()
  expect(await dumpRows(database.pool)).toEqual(rows)
  expect(alarms).toContain('metering_tail_lost')
})

withKafka('messages that were deleted before they were read are read from the event store', async () => {
  await send(items)
  const offsets = await admin.fetchTopicOffsets(topic)
  const partitions = offsets.map(({ partition, high }) => ({ partition, offset: `${BigInt(high) / 2n}` }))
  await admin.deleteTopicRecords({ topic, partitions })
  startKafka()
  await allRead()
  expect(await dumpRows(database.pool)).toEqual(rows)
  expect(alarms).toContain('metering_messages_lost')
})

withKafka('members that come and go share the work and give the same rows', async () => {
  const sending = (async () => {
    for (let i = 0; i < items.length; i += 200) await send(items.slice(i, i + 200))
  })()
  const first = startKafka()
  await until(() => first.lag().folded > 0, 20_000)
  const second = startKafka()
  await until(() => second.lag().active, 20_000)
  await first.stop()
  startKafka()
  await sending
  await allRead()
  expect(await dumpRows(database.pool)).toEqual(rows)
  expect(alarms).toEqual([])
})
