/** The feed from a real Kafka: which messages reach the consumer, and what happens when Kafka is not as it was. */
import { randomUUID } from 'node:crypto'
import { Kafka as KafkaClient, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import type { MeteringFeed } from '../../src/metering/feed.ts'
import { type KafkaFeedOptions, startKafkaFeed } from '../../src/metering/kafka-feed.ts'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { ensureMeteringTables } from '../../src/metering/schema.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { type FeedItem, partitionCount } from '../../src/relay/feed.ts'
import { kafkaTopic } from '../../src/relay/topic.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { type Kafka, kafkaForTests } from '../support/kafka.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { itemsOf, type NotingConsumer, nameOf, namesOf, notingConsumer, writeLog } from './feeding.ts'

// Longer than the waits of a test together.
vi.setConfig({ testTimeout: 120_000 })

const kafka: Kafka | null = await kafkaForTests("metering's feed from Kafka")
const brokers = kafka?.brokers ?? []
const client = new KafkaClient({ brokers, logLevel: logLevel.NOTHING })
const admin = client.admin()
const withKafka = test.skipIf(kafka === null)

let database: Database
let tables: MeteringTables
let items: FeedItem[]
let topic: string
let groupId: string
let consumer: NotingConsumer
let feeds: MeteringFeed[]
let alarms: { kind: string; message: string }[]

beforeAll(async () => {
  database = await openDatabase()
  const store = createMemoryStore()
  await writeLog(store)
  items = await itemsOf(store)
  if (kafka !== null) await admin.connect()
})
afterAll(async () => {
  await admin.disconnect()
  await database.close()
  await kafka?.stop()
})
beforeEach(async () => {
  await forgetRows()
  tables = postgresTables(database.pool)
  topic = `billing-${randomUUID()}`
  groupId = `metering-${randomUUID()}`
  consumer = notingConsumer(tables)
  feeds = []
  alarms = []
})
afterEach(stopAll)

async function forgetRows(): Promise<void> {
  await database.pool.query('drop schema if exists metering cascade')
  await ensureMeteringTables(database.pool)
}

function start(options: Partial<KafkaFeedOptions> = {}): MeteringFeed {
  const { consume } = consumer
  const onAlarm: KafkaFeedOptions['onAlarm'] = (kind, message) => alarms.push({ kind, message })
  const feed = startKafkaFeed({ kafka: { brokers }, topic, groupId, tables, consume, onAlarm, ...options })
  feeds.push(feed)
  return feed
}
async function stopAll(): Promise<void> {
  await Promise.all(feeds.splice(0).map((feed) => feed.stop()))
}

/** Sends items as the relay does, making the topic when it is absent. */
async function send(sent: readonly FeedItem[]): Promise<void> {
  const opened = await kafkaTopic({ brokers }, { name: topic }).open(new AbortController().signal, () => {})
  await opened.send(sent)
  await opened.close()
}

const nextOffsets = async () => (await tables.partitions()).map(({ nextOffset }) => nextOffset ?? 0n)
const ends = async () => {
  const offsets = new Map(
    (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, BigInt(high)]),
  )
  return Array.from({ length: partitionCount }, (_, partition) => offsets.get(partition) ?? 0n)
}
/** Everything in the topic was folded, but for some partitions. */
const allRead = (timeoutMs = 20_000, except: readonly number[] = []) =>
  until(async () => {
    const [read, written] = [await nextOffsets(), await ends()]
    return read.every((next, partition) => next === written[partition] || except.includes(partition))
  }, timeoutMs)

function expectAllTakenOnce(): void {
  for (let partition = 0; partition < partitionCount; partition++) {
    expect(consumer.taken.get(partition) ?? []).toEqual(namesOf(items, partition))
  }
}
const taken = () => [...consumer.taken.values()].reduce((sum, names) => sum + names.length, 0)
const alarmed = (kind: string) => alarms.filter((alarm) => alarm.kind === kind)
/** A partition with events in it, not watermarks only. */
const busy = () => items.find(({ kind }) => kind === 'event')?.partition ?? 0

withKafka('every message is folded once and in order, also those sent before the feed was there', async () => {
  const half = Math.floor(items.length / 2)
  await send(items.slice(0, half))
  const feed = start()
  await allRead()
  await send(items.slice(half))
  await allRead()
  expectAllTakenOnce()
  expect(feed.lag()).toMatchObject({ active: true, waiting: 0, folded: items.length, failures: 0, stopped: [] })
  expect(feed.lag().lastItemAt).toBeInstanceOf(Date)
  await feed.stop()
  expect(await feed.ended).toBeNull()
  expect(alarms).toEqual([])
})

withKafka('a feed that starts before its topic waits for it', async () => {
  const feed = start()
  await until(() => feed.lag().failures > 0, 20_000)
  await send(items)
  await allRead()
  expectAllTakenOnce()
})

withKafka('what Kafka knows of the group decides nothing: emptied tables are filled from the start', async () => {
  await send(items)
  start()
  await allRead()
  const committed = async () => {
    const [group] = await admin.fetchOffsets({ groupId, topics: [topic] })
    return new Map(group?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]))
  }
  const written = await ends()
  await until(async () => [...(await committed())].every(([partition, offset]) => offset === written[partition]))
  await stopAll()

  await forgetRows()
  consumer = notingConsumer(tables)
  start()
  await allRead()
  expectAllTakenOnce()
})

withKafka('a group that Kafka forgot goes on where the rows stand', async () => {
  await send(items)
  start()
  await allRead()
  await stopAll()
  await admin.deleteGroups([groupId])
  start()
  await send(items.slice(-1))
  await allRead()
  expect(consumer.offered).toBe(items.length + 1)
})

withKafka('a message that cannot be read stops its partition and no other, until somebody has looked', async () => {
  const partition = busy()
  await send(items)
  const producer = client.producer()
  await producer.connect()
  const [{ baseOffset = '0' } = {}] = await producer.send({ topic, messages: [{ partition, value: 'not ours' }] })
  await producer.disconnect()
  const offset = BigInt(baseOffset)
  await send(items)

  for (const _ of ['first start', 'restart']) {
    alarms = []
    const feed = start()
    await allRead(20_000, [partition])
    await until(() => feed.lag().stopped.length > 0)
    expect(feed.lag().stopped).toMatchObject([{ partition, offset }])
    expect(alarmed('metering_partition_stopped')).toHaveLength(1)
    expect(alarms[0]?.message).toContain(`${topic} partition ${partition} stops at offset ${offset}`)
    expect(consumer.taken.get(partition)).toEqual(namesOf(items, partition))
    expect((await nextOffsets())[partition]).toBe(offset)
    await stopAll()
  }

  await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: `${offset + 1n}` }] })
  const feed = start()
  await allRead()
  expect(feed.lag().stopped).toEqual([])
  expect(alarmed('metering_messages_lost')).toHaveLength(1)
})

withKafka('a topic that is made anew while it is read is read from its start', async () => {
  await send(items)
  start()
  await allRead()
  await admin.deleteTopics({ topics: [topic] })
  consumer.taken.clear()
  const few = items.slice(0, 100)
  await until(async () => !(await admin.listTopics()).includes(topic))
  await send(few)
  await until(() => taken() === few.length, 30_000)
  expect(alarmed('metering_topic_lost').length).toBeGreaterThan(0)
  await send(items.slice(100))
  await allRead()
  expectAllTakenOnce()
})

withKafka('members share the partitions, and what one leaves the other takes up', async () => {
  await send(items)
  const [first, second] = [start(), start()]
  await until(() => first.lag().active && second.lag().active, 20_000)
  await send(items)
  await allRead()
  await first.stop()
  await send(items)
  await allRead(30_000)
  expect(second.lag().failures).toBe(0)
  for (let partition = 0; partition < partitionCount; partition++) {
    const once = namesOf(items, partition)
    expect(consumer.taken.get(partition) ?? []).toEqual([...once, ...once, ...once])
  }
})

withKafka(
  'a consumer that fails for a while is given the same again; what it cannot fold stops the partition',
  async () => {
    await send(items)
    const partition = busy()
    const poison = items.findLast((item) => item.partition === partition && item.kind === 'event')
    if (poison === undefined) throw new Error('no event')
    let failures = 0
    const feed = start({
      consume: async (of, fed) => {
        if (of !== partition && failures++ < 5) throw new Error('connection refused')
        if (fed.some(({ item }) => item === poison || nameOf(item) === nameOf(poison))) throw new TypeError('a bug')
        return consumer.consume(of, fed)
      },
    })
    await allRead(20_000, [partition])
    await until(() => feed.lag().stopped.length > 0)
    const names = namesOf(items, partition)
    const offset = names.indexOf(nameOf(poison))
    expect(feed.lag().stopped).toEqual([{ partition, offset: BigInt(offset), reason: 'a bug' }])
    expect(consumer.taken.get(partition)).toEqual(names.slice(0, offset))
  },
)

withKafka('another log than the one that was folded ends the feed', async () => {
  await send(items)
  const mismatch = new LogMismatch('the chain is broken')
  const feed = start({
    consume: async () => {
      throw mismatch
    },
  })
  expect(await feed.ended).toBe(mismatch)
  expect(alarmed('metering_feed_ended')).toHaveLength(1)
})
