/** The feed without Kafka: $all → the consumer, in the log's order, from the row on. */

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { type DirectFeedOptions, feedBatch, startDirectFeed } from '../../src/metering/direct-feed.ts'
import type { MeteringFeed } from '../../src/metering/feed.ts'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { ensureMeteringTables } from '../../src/metering/schema.ts'
import { CheckpointMoved, type MeteringTables } from '../../src/metering/tables.ts'
import { databaseTime } from '../../src/postgres/pool.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { clock, itemsOf, type NotingConsumer, namesOf, notingConsumer, tick, writeLog } from './feeding.ts'

let database: Database
let tables: MeteringTables
let store: MemoryStore
let consumer: NotingConsumer
let feeds: MeteringFeed[]
let alarms: string[]

beforeAll(async () => {
  database = await openDatabase()
})
afterAll(() => database.close())
beforeEach(async () => {
  await database.pool.query('drop schema if exists metering cascade')
  await ensureMeteringTables(database.pool)
  tables = postgresTables(database.pool)
  store = createMemoryStore()
  consumer = notingConsumer(tables)
  feeds = []
  alarms = []
})
afterEach(async () => {
  await Promise.all(feeds.map((feed) => feed.stop()))
})

function start(options: Partial<DirectFeedOptions> = {}): MeteringFeed {
  const { url } = database
  const databaseClock = () => databaseTime(database.pool)
  const { consume } = consumer
  const onAlarm: DirectFeedOptions['onAlarm'] = (kind) => alarms.push(kind)
  const feed = startDirectFeed({ url, store, tables, consume, clock, databaseClock, onAlarm, ...options })
  feeds.push(feed)
  return feed
}

const row = () => tables.transaction((tx) => tx.directFeed())
const standsAtEnd = async () => (await row())?.position.commit === store.all().at(-1)?.position.commit

async function expectAllTaken(): Promise<void> {
  const items = await itemsOf(store)
  for (let partition = 0; partition < partitionCount; partition++) {
    expect(consumer.taken.get(partition) ?? []).toEqual(namesOf(items, partition))
  }
}

test('every event and every watermark reaches the consumer once and in order, across restarts', async () => {
  await writeLog(store)
  const first = start({ maxBatch: 30 })
  await until(standsAtEnd)
  await until(() => first.lag().waiting === 0)
  expect(first.lag()).toMatchObject({ active: true, waiting: 0, failures: 0, stopped: [] })
  await first.stop()
  expect(await first.ended).toBeNull()

  await writeLog(store)
  start()
  await until(standsAtEnd)
  await expectAllTaken()
  expect(alarms).toEqual([])
})

test('the leader ticks', async () => {
  start({ tickEveryMs: 20 })
  await until(() => store.stream('watermark').length >= 3)
})

test('one process feeds, another stands by and goes on', async () => {
  await writeLog(store)
  const first = start()
  await until(standsAtEnd)
  const second = start()
  expect(second.lag().active).toBe(false)
  await first.stop()
  await writeLog(store)
  await until(() => second.lag().active && second.lag().waiting === 0)
  await until(standsAtEnd)
  await expectAllTaken()
})

test('a failure of the consumer is retried from the row on', async () => {
  await writeLog(store)
  let failures = 0
  const troubles: string[] = []
  start({
    consume: async (partition, fed) => {
      if (partition === 7 && failures++ < 3) throw new Error('connection refused')
      await consumer.consume(partition, fed)
    },
    onTrouble: ({ message }) => troubles.push(message),
  })
  await until(standsAtEnd)
  expect(troubles).toEqual(Array(3).fill('connection refused'))
  const items = await itemsOf(store)
  expect(consumer.taken.get(7)).toEqual(namesOf(items, 7))
})

test('another store, or an older copy of this one, ends the feed', async () => {
  await writeLog(store)
  const first = start()
  await until(standsAtEnd)
  await first.stop()

  const older = createMemoryStore()
  await tick(older, '2026-01-01T00:00:00.000Z')
  const feed = start({ store: older })
  expect(await feed.ended).toBeInstanceOf(LogMismatch)
  expect(alarms).toEqual(['metering_feed_ended'])
})

test('a leader that woke up frozen cannot move the row', async () => {
  await writeLog(store)
  const deps = { tables, consume: consumer.consume }
  const events = store.all().filter(({ stream }) => /^customer-|^watermark$/.test(stream))
  const moved = await feedBatch(null, events.slice(0, 10), deps)
  await feedBatch(moved, events.slice(10, 20), deps)
  await expect(feedBatch(moved, events.slice(10, 15), deps)).rejects.toThrow(CheckpointMoved)
  expect((await row())?.position).toEqual(events[19]?.position)
})

test('what stands before the row is not handed over again', async () => {
  await writeLog(store)
  const deps = { tables, consume: consumer.consume }
  const events = store.all().slice(0, 10)
  const moved = await feedBatch(null, events, deps)
  const { offered } = consumer
  expect(await feedBatch(moved, events, deps)).toBe(moved)
  expect(consumer.offered).toBe(offered)
})
