/** The relay between the real event store and a real Kafka. */
import { randomUUID } from 'node:crypto'
import { Kafka as KafkaClient, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { type EmbeddedEventStore, startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import { databaseTime } from '../../src/postgres/pool.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { type Relay, type RelayOptions, startRelay } from '../../src/relay/relay.ts'
import { postgresRelayStates } from '../../src/relay/state.ts'
import { emptyRelay, RelayMoved, relayBatch, TopicLost, takeUp } from '../../src/relay/step.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { kafkaTopic, TopicMisconfigured } from '../../src/relay/topic.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { type CustomerLog, createCustomerLog } from '../support/customer-log.ts'
import { type Kafka, kafkaForTests } from '../support/kafka.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { freshDatabase } from '../support/postgres.ts'
import { expectTopicOfLog, readLog, readTopic } from './support.ts'

// Longer than the waits of a test together.
vi.setConfig({ testTimeout: 120_000 })

const kafka: Kafka | null = await kafkaForTests('the relay')
const brokers = kafka?.brokers ?? []
const clock = { now: () => new Date().toISOString() }

let server: EmbeddedEventStore
let store: EventStore
let database: Database
let log: CustomerLog
let name: string
let relays: Relay[]
let alarms: Error[]

beforeAll(async () => {
  database = await openDatabase()
})
afterAll(async () => {
  await database.close()
  await kafka?.stop()
})
beforeEach(async () => {
  server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
  store = connectEventStore(server.url)
  log = createCustomerLog(store, 15)
  name = `relay-${randomUUID()}`
  relays = []
  alarms = []
})
afterEach(async () => {
  await Promise.all(relays.map((relay) => relay.stop()))
  await store.close()
  await server.stop()
})

function start(options: Partial<RelayOptions> = {}): Relay {
  const { pool, url } = database
  const topic = kafkaTopic({ brokers }, { name })
  const databaseClock = () => databaseTime(pool)
  const relay = startRelay({
    pool,
    url,
    store,
    topic,
    clock,
    databaseClock,
    onAlarm: (error) => alarms.push(error),
    ...options,
  })
  relays.push(relay)
  return relay
}

async function stopAll(): Promise<void> {
  await Promise.all(relays.splice(0).map((relay) => relay.stop()))
}

/** Appends a tick; resolves with its time once the relay's state has passed it. Making the topic may come first. */
async function relayedThrough(): Promise<string> {
  let through: string | null = null
  // The leader's own tick may come in between.
  while (through === null)
    through = await appendTick({ store, clock, databaseClock: () => databaseTime(database.pool) })
  const [tick] = await collect(store.readBackward('watermark', 1))
  const passed = async () => {
    const { checkpoint } = await stateRow()
    return checkpoint?.stream === 'watermark' && tick !== undefined && checkpoint.revision >= tick.revision
  }
  await until(passed, 30_000)
  return through
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const states = () => postgresRelayStates(database.pool, name)
const stateRow = () => states().load()

async function admin<T>(work: (admin: ReturnType<KafkaClient['admin']>) => Promise<T>): Promise<T> {
  const client = new KafkaClient({ brokers, logLevel: logLevel.NOTHING }).admin()
  await client.connect()
  return work(client).finally(() => client.disconnect())
}
const deleteTopic = () => admin((client) => client.deleteTopics({ topics: [name] }))
/** Resolves once the broker names it no more: whoever opens it sooner may take it for there. */
const deleteTopicAndWait = async () => {
  await deleteTopic()
  await admin((client) => until(async () => !(await client.listTopics()).includes(name), 30_000))
}

/** What the relay reads, from the beginning, as an array; ends at the last event written. */
async function everything(): Promise<PositionedEvent[]> {
  const through = await appendTick({ store, clock, databaseClock: async () => new Date() })
  return readLog(store, through ?? '')
}

test.runIf(kafka)(
  'every event reaches its partition once and in order, and each watermark tells the truth',
  async () => {
    await log.write(600)
    const relay = start({ maxBatch: 70 })
    await relayedThrough()
    await log.write(600)
    const through = await relayedThrough()
    await until(() => relay.lag().waiting === 0)
    expect(relay.lag()).toMatchObject({ leading: true, ageMs: 0, failures: 0 })

    const stored = await readLog(store, through)
    expect(expectTopicOfLog(await readTopic({ brokers }, name), stored)).toEqual({ events: 0, watermarks: 0 })
    const { checkpoint, counts, nextOffsets } = await stateRow()
    expect(relay.lag()).toMatchObject({ relayed: stored.length, position: checkpoint?.position })
    expect(counts.reduce((sum, count) => sum + count)).toBe(BigInt(log.written))
    const ends = await admin((client) => client.fetchTopicOffsets(name))
    expect(ends.map(({ high }) => BigInt(high)).sort()).toEqual([...nextOffsets].sort())
  },
)

test.runIf(kafka)('a restart goes on where the last acknowledgement was', async () => {
  start()
  await log.write(300)
  await relayedThrough()
  await stopAll()
  await log.write(300)
  start()
  const stored = await readLog(store, await relayedThrough())
  expect(expectTopicOfLog(await readTopic({ brokers }, name), stored)).toEqual({ events: 0, watermarks: 0 })
})

test.runIf(kafka)('the leader ticks by itself', async () => {
  const relay = start({ tickEveryMs: 50 })
  await until(() => relay.lag().relayed >= 3, 30_000)
  const ticks = await collect(store.readForward('watermark', 0n))
  expect(ticks.length).toBeGreaterThanOrEqual(3)
})

test.runIf(kafka)('of two, one relays and the other takes over', async () => {
  const first = start()
  await until(() => first.lag().leading)
  const second = start()
  await log.write(200)
  await relayedThrough()
  expect(second.lag()).toMatchObject({ leading: false, relayed: 0 })
  await first.stop()
  await log.write(200)
  const stored = await readLog(store, await relayedThrough())
  expect(second.lag().leading).toBe(true)
  expectTopicOfLog(await readTopic({ brokers }, name), stored)
})

test.runIf(kafka)('an ex-leader that wakes up late leaves duplicates, and its checkpoint is refused', async () => {
  await log.write(400)
  const events = await everything()
  const signal = new AbortController().signal
  const topic = await kafkaTopic({ brokers }, { name }).open(signal, () => {})
  const deps = { store, topic, states: states() }
  const before = await takeUp(deps)
  const behind = await relayBatch(before, events.slice(0, 100), deps)
  const ahead = await relayBatch(behind, events.slice(100), deps)
  await expect(relayBatch(behind, events.slice(100, 300), deps)).rejects.toThrow(RelayMoved)
  expect(await takeUp(deps)).toEqual(ahead)
  await topic.close()
  const repeats = expectTopicOfLog(await readTopic({ brokers }, name), events)
  expect(repeats).toEqual({ events: 200, watermarks: 0 })
})

test.runIf(kafka)('a topic that was recreated while nobody looked is filled again, with an alarm', async () => {
  start()
  await log.write(300)
  await relayedThrough()
  await stopAll()
  await deleteTopicAndWait()
  start()
  await until(() => alarms.length > 0, 30_000)
  expect(alarms[0]).toBeInstanceOf(TopicLost)
  const stored = await readLog(store, await relayedThrough())
  expectTopicOfLog(await readTopic({ brokers }, name), stored)
})

test.runIf(kafka)('a topic that is deleted under a running relay is made and filled again, with an alarm', async () => {
  start()
  await log.write(300)
  await relayedThrough()
  await deleteTopic()
  await log.write(300)
  const stored = await readLog(store, await relayedThrough())
  expect(alarms).toEqual([expect.any(TopicLost)])
  expectTopicOfLog(await readTopic({ brokers }, name), stored)
})

test.runIf(kafka)('a topic recreated by another hand shows in the offsets of the next send', async () => {
  await log.write(300)
  const events = await everything()
  const signal = new AbortController().signal
  const topic = await kafkaTopic({ brokers }, { name }).open(signal, () => {})
  const deps = { store, topic, states: states() }
  const half = await relayBatch(await takeUp(deps), events.slice(0, 150), deps)
  await deleteTopicAndWait()
  // Made by whoever, before the relay sends again.
  const other = await kafkaTopic({ brokers }, { name }).open(signal, () => {})
  await expect(relayBatch(half, events.slice(150), { ...deps, topic: other })).rejects.toThrow(TopicLost)
  expect(await stateRow()).toMatchObject(emptyRelay)
  await relayBatch(await takeUp(deps), events, { ...deps, topic: other })
  await Promise.all([topic.close(), other.close()])
})

test.runIf(kafka)('the topic is made as it must be, and refused when it is not', async () => {
  const signal = new AbortController().signal
  const source = kafkaTopic({ brokers }, { name })
  await (await source.open(signal, () => {})).close()
  const { topics } = await admin((client) => client.fetchTopicMetadata({ topics: [name] }))
  expect(topics[0]?.partitions).toHaveLength(partitionCount)

  name = `relay-${randomUUID()}`
  await admin((client) => client.createTopics({ topics: [{ topic: name, numPartitions: 3 }] }))
  const relay = start()
  const error = await relay.ended
  expect(error).toBeInstanceOf(TopicMisconfigured)
  expect(error?.message).toContain(name)
  expect(error?.message).toContain('3 partitions instead of 12')
  expect(error?.message).toContain('message.timestamp.type is CreateTime instead of LogAppendTime')
  expect(error?.message).toMatch(/retention\.ms is \d+ instead of -1/)
})

test.runIf(kafka)('another store, or an older copy, stops the role', async () => {
  start()
  await log.write(100)
  await relayedThrough()
  await stopAll()
  const relay = start({ store: createMemoryStore() })
  expect(await relay.ended).toBeInstanceOf(LogMismatch)
  expect(alarms).toEqual([])
})
