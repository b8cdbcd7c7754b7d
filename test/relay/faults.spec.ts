/**
 * The relay through a network that swallows the broker's answers, to a broker that is killed. `RELAY_EVENTS=100000`
 * makes it a long run; it goes on until that many events are written, so faults grow with it.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { type EmbeddedEventStore, startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { type Relay, startRelay } from '../../src/relay/relay.ts'
import { postgresRelayStates } from '../../src/relay/state.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { kafkaTopic } from '../../src/relay/topic.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { createCustomerLog } from '../support/customer-log.ts'
import { type Kafka, kafkaForTests } from '../support/kafka.ts'
import { freePort } from '../support/ports.ts'
import { freshDatabase } from '../support/postgres.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import { expectTopicOfLog, readLog, readTopic } from './support.ts'

const proxiedPort = await freePort()
const proxy: TcpProxy = await startProxy(proxiedPort)
const proxied = { port: proxiedPort, proxyPort: proxy.port }
const kafka: Kafka | null = await kafkaForTests('the relay under faults', 'restarts', { proxied })
const clock = { now: () => new Date().toISOString() }
const wanted = Number(process.env.RELAY_EVENTS ?? 1_500)

let server: EmbeddedEventStore
let store: EventStore
let database: Database
let name: string
let relay: Relay
let troubles: Error[]
let alarms: Error[]

beforeAll(async () => {
  database = await openDatabase()
})
afterAll(async () => {
  await database.close()
  await kafka?.stop()
  await proxy.stop()
})
beforeEach(async () => {
  server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
  store = connectEventStore(server.url)
  name = `relay-${randomUUID()}`
  troubles = []
  alarms = []
  const { pool, url } = database
  const brokers = [`127.0.0.1:${proxy.port}`]
  relay = startRelay({
    pool,
    url,
    store,
    topic: kafkaTopic({ brokers }, { name, requestTimeoutMs: 700 }),
    clock,
    databaseClock: async () => new Date(),
    tickEveryMs: 250,
    maxBatch: 200,
    onAlarm: (error) => alarms.push(error),
    onTrouble: (error) => troubles.push(error),
  })
})
afterEach(async () => {
  await relay.stop()
  await store.close()
  await server.stop()
})

const state = () => postgresRelayStates(database.pool, name).load()

/** Appends a last tick and waits until the relay is past it; returns what the store holds up to there. */
async function relayedLog() {
  let through: string | null = null
  while (through === null) through = await appendTick({ store, clock, databaseClock: async () => new Date() })
  const log = await readLog(store, through)
  const last = log.at(-1)
  const passed = async () => ((await state()).checkpoint?.position.commit ?? -1n) >= (last?.position.commit ?? 0n)
  await until(passed, 60_000)
  return log
}

test.runIf(kafka)(
  'the checkpoint moves only once Kafka has acknowledged',
  async () => {
    const log = createCustomerLog(store, 10)
    await log.write(200)
    await relayedLog()
    await kafka?.kill('SIGKILL')
    // What was acknowledged just before may be noted a moment later: that is over once a later send has failed.
    const failed = troubles.length
    await until(() => troubles.length > failed, 30_000)
    const before = await state()
    await log.write(200)
    await until(() => troubles.length > failed + 1, 30_000)
    await until(() => relay.lag().waiting >= 200, 30_000)
    expect(await state()).toEqual(before)
    await kafka?.restart()
    const stored = await relayedLog()
    expectTopicOfLog(await readTopic({ brokers: kafka?.brokers ?? [] }, name), stored)
    expect(alarms).toEqual([])
  },
  300_000,
)

test.runIf(kafka)(
  `answers swallowed at random and a broker killed again and again: of ${wanted} events none is lost`,
  async () => {
    const log = createCustomerLog(store, 50)
    let [kills, swallows] = [0, 0]
    let writing = true
    const misbehave = async () => {
      for (let round = 1; writing; round++) {
        // Only a relay that got on again since the last time is sending; one that reconnects would be hit in that.
        const { relayed } = relay.lag()
        await until(() => relay.lag().relayed > relayed || !writing, 60_000)
        await pause(Math.random() * 50)
        const before = proxy.swallowedBytes
        proxy.swallowAnswers()
        await until(() => proxy.swallowedBytes > before || !writing, 60_000)
        swallows += 1
        // At once the connection breaks; later the relay has given up waiting, and perhaps sent again in vain.
        if (round % 4 === 0) await pause(Math.random() * 1_500)
        if (round % 6 === 0) {
          await kafka?.kill('SIGKILL')
          kills += 1
          await kafka?.restart()
        }
        proxy.pass()
      }
    }
    const write = async () => {
      while (log.written < wanted || kills < 1) {
        await log.write(250, 5)
        // Not far ahead of the relay, so that the faults meet sends and not a backlog already behind them.
        await until(() => log.written - relay.lag().relayed < 1_000, 60_000)
      }
      writing = false
    }
    await Promise.all([misbehave(), write()])
    const stored = await relayedLog()
    const repeats = expectTopicOfLog(await readTopic({ brokers: kafka?.brokers ?? [] }, name), stored)
    console.info(
      `${log.written} events, ${swallows} times answers swallowed (${proxy.swallowedBytes} bytes), ${kills} kills, ` +
        `${troubles.length} sends repeated; repeated in the topic: ${repeats.events} events, ${repeats.watermarks} watermarks`,
    )
    expect(repeats.events).toBeGreaterThan(0)
    expect(alarms).toEqual([])
  },
  1_800_000,
)
