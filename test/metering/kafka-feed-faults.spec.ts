/** The feed from Kafka while brokers and members die. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { consumeBatch } from '../../src/metering/consume.ts'
import { feedBatch } from '../../src/metering/direct-feed.ts'
import type { Consume, MeteringFeed } from '../../src/metering/feed.ts'
import { type KafkaFeedOptions, startKafkaFeed } from '../../src/metering/kafka-feed.ts'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { ensureMeteringTables } from '../../src/metering/schema.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { kafkaTopic } from '../../src/relay/topic.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { readTopic } from '../relay/support.ts'
import { startChild } from '../support/child.ts'
import { type Kafka, kafkaForTests } from '../support/kafka.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { freshDatabase } from '../support/postgres.ts'
import { dumpRows, eventsOf, itemsOf, nameOf, notingConsumer, writeLog } from './feeding.ts'

const kafka: Kafka | null = await kafkaForTests("metering's feed while brokers die", 'restarts')
const brokers = kafka?.brokers ?? []
let database: Database

beforeAll(async () => {
  database = await openDatabase()
  await forgetRows()
})
afterAll(async () => {
  await database.close()
  await kafka?.stop()
})

async function forgetRows(): Promise<void> {
  await database.pool.query('drop schema if exists metering cascade')
  await ensureMeteringTables(database.pool)
}

/** A broker that came back answers a moment before it leads its partitions again. */
async function untilServed<T>(read: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined
  await until(async () => {
    result = await read().then(
      (value) => ({ value }),
      () => undefined,
    )
    return result !== undefined
  }, 30_000)
  if (result === undefined) throw new Error('the topic could not be read')
  return result.value
}

test.skipIf(kafka === null)(
  'a broker that is killed and comes back loses and doubles nothing',
  async () => {
    const store = createMemoryStore()
    await writeLog(store)
    const items = await itemsOf(store)
    const topic = `billing-${randomUUID()}`
    const tables = postgresTables(database.pool)
    const { consume, taken } = notingConsumer(tables)
    const alarms: string[] = []
    const onAlarm: KafkaFeedOptions['onAlarm'] = (_, message) => alarms.push(message)
    const opened = await kafkaTopic({ brokers }, { name: topic }).open(new AbortController().signal, () => {})
    const feed = startKafkaFeed({
      kafka: { brokers },
      topic,
      groupId: `g-${topic}`,
      tables,
      consume,
      onAlarm,
      sessionTimeoutMs: 6_000,
    })
    const folded = () => [...taken.values()].reduce((sum, names) => sum + names.length, 0)
    try {
      for (let round = 1; round <= 2; round++) {
        const before = folded()
        const sending = opened.send(items)
        await until(() => folded() > before, 30_000)
        await kafka?.kill('SIGKILL')
        await kafka?.restart()
        await sending
        await until(() => folded() >= round * items.length && feed.lag().waiting === 0, 60_000)
      }
      const inTopic = await untilServed(() => readTopic({ brokers }, topic))
      const written = inTopic.reduce((sum, ofPartition) => sum + ofPartition.length, 0)
      await until(() => folded() === written, 30_000)
      for (let partition = 0; partition < partitionCount; partition++) {
        expect(taken.get(partition) ?? []).toEqual(inTopic[partition]?.map(nameOf))
      }
      expect(alarms).toEqual([])
      expect(await Promise.race([feed.ended, 'it goes on'])).toBe('it goes on')
    } finally {
      await opened.close()
      await feed.stop()
    }
  },
  180_000,
)

test.skipIf(kafka === null)(
  'a member that is killed while it folds leaves its partitions to another, and the rows are those of the log',
  async () => {
    const server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
    const store = connectEventStore(server.url)
    await forgetRows()
    const tables = postgresTables(database.pool)
    const alarms: string[] = []
    const onAlarm: KafkaFeedOptions['onAlarm'] = (_, message) => alarms.push(message)
    const consume: Consume = (partition, fed) =>
      consumeBatch({ tables, store, graceMs: 600_000, onAlarm }, partition, fed)
    await writeLog(store, { events: 1_000 })
    const items = await itemsOf(store)
    const topic = `billing-${randomUUID()}`
    const groupId = `g-${topic}`
    const opened = await kafkaTopic({ brokers }, { name: topic }).open(new AbortController().signal, () => {})
    const member = startChild(new URL('member.mjs', import.meta.url), [
      database.url,
      server.url,
      brokers[0] ?? '',
      topic,
      groupId,
    ])
    let feed: MeteringFeed | undefined
    try {
      const options = { kafka: { brokers }, topic, groupId, tables, consume, onAlarm, sessionTimeoutMs: 6_000 }
      await member.next()
      const other = startKafkaFeed(options)
      feed = other
      await until(() => other.lag().active, 30_000)
      const half = Math.floor(items.length / 2)
      await opened.send(items.slice(0, half))
      expect(await member.next()).toEqual({ folded: expect.any(Number) })
      const sending = opened.send(items.slice(half))
      await member.end('SIGKILL')
      await sending
      await until(async () => {
        const written = await opened.endOffsets()
        const rows = await tables.partitions()
        return rows.every(({ partition, nextOffset }) => (nextOffset ?? 0n) === written[partition])
      }, 60_000)
      await feed.stop()
      const rows = await dumpRows(database.pool)

      await forgetRows()
      await feedBatch(null, await eventsOf(store), { tables, consume })
      expect(rows).toEqual(await dumpRows(database.pool))
      expect(rows.records?.length).toBeGreaterThan(3)
      expect(alarms).toEqual([])
    } finally {
      await member.end('SIGKILL')
      await feed?.stop()
      await opened.close()
      await store.close()
      await server.stop()
    }
  },
  120_000,
)
