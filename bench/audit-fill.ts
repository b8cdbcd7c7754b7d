/** A whole system of any size to verify: months of calls, metered and closed on the way, with every table beside it. */
import type pg from 'pg'
import type { EventStore, PositionedEvent } from '../src/eventstore/store.ts'
import { consumeBatch } from '../src/metering/consume.ts'
import { decideForIn } from '../src/metering/metering-log.ts'
import { postgresTables } from '../src/metering/postgres-tables.ts'
import { createRounds } from '../src/metering/rounds.ts'
import type { MeteringRules } from '../src/metering/rules.ts'
import { ensureMeteringTables } from '../src/metering/schema.ts'
import type { MeteringTables } from '../src/metering/tables.ts'
import { allProjections, projectedPrefixes } from '../src/projections/all.ts'
import { ensureReadModels, liveGeneration } from '../src/projections/generations.ts'
import { project } from '../src/projections/project.ts'
import { emptyFeed, type FeedItem, fedPrefixes, feed } from '../src/relay/feed.ts'
import { appendTick } from '../src/relay/ticks.ts'
import { rules as usual } from '../test/metering/books.ts'
import { createCustomerLog } from '../test/support/customer-log.ts'
import { memoryDoubts } from '../test/support/doubts.ts'
import { memoryTables } from '../test/support/memory-tables.ts'
import { openBulkStore } from './bulk-store.ts'

const CUSTOMERS = 50
/** A month: nearly all calls are overage. */
const CREDITS = 20
/** The log is written and metered in so many steps of four days, over five months; each step has calls in so many hours. */
const STEPS = 36
const HOURS = 6
const HOUR_MS = 3_600_000
const MAX_BATCH = 2_000

const rules: MeteringRules = { ...usual, submit: false }
const onAlarm = (_: string, message: string) => console.error(message)
const { signal } = new AbortController()

/**
 * Writes about so many events into the database of an event store that does not run yet. Every event is the product's
 * own: decided, chained, fed, sealed and closed by it, with the metering tables in memory meanwhile.
 */
export async function writeLog(databaseUrl: string, events: number): Promise<void> {
  let now = Date.parse('2026-01-01T00:00:00.000Z')
  const clock = { now: () => new Date(now).toISOString() }
  const store = await openBulkStore(databaseUrl, clock.now)
  const log = createCustomerLog(store, CUSTOMERS, { now: clock.now, monthlyLimit: CREDITS })
  const tables = memoryTables()
  const decideFor = decideForIn({ tables, store, actor: 'system', onAlarm })
  const onTrouble = (_: string, error: unknown) => console.error(error)
  const alarms = { onAlarm, onWarn: () => {} }
  const rounds = createRounds({ tables, decideFor, doubts: memoryDoubts(), rules, now: clock.now, alarms, onTrouble })
  const consumer = createConsumer(tables, store)

  const turns = STEPS * HOURS
  for (let turn = 1; turn <= turns; turn++) {
    const wanted = Math.ceil((events * turn) / turns) - log.written
    const perAppend = Math.max(1, Math.min(50, Math.ceil(wanted / CUSTOMERS)))
    if (wanted > 0) await log.write(wanted, perAppend)
    now += HOUR_MS
    if (turn % HOURS > 0) continue
    now += 4 * 24 * HOUR_MS - HOURS * HOUR_MS
    await appendTick({ store, clock, databaseClock: async () => new Date(now) })
    await consumer.consume(store.taken())
    await rounds.seal(signal)
    await rounds.close(signal)
  }
  await store.close()
}

/** Folds the log into read models and metering tables, as after a rebuild. */
export async function foldLog(store: EventStore, pool: pg.Pool): Promise<void> {
  await ensureMeteringTables(pool)
  await createConsumer(postgresTables(pool), store).consume(store.readAll({ prefixes: fedPrefixes }))
  await ensureReadModels(pool)
  const ending: EventStore = {
    ...store,
    subscribe: ({ after }) => store.readAll({ prefixes: projectedPrefixes, after }),
  }
  const projections = { pool, store: ending, projections: allProjections, prefixes: projectedPrefixes, signal }
  for await (const _ of project(await liveGeneration(pool), projections));
}

/** The direct feed without its leader: items by partition, in batches. */
function createConsumer(tables: MeteringTables, store: EventStore) {
  let state = emptyFeed
  const parts = new Map<number, FeedItem[]>()

  async function flush(partition: number): Promise<void> {
    const items = parts.get(partition) ?? []
    parts.set(partition, [])
    const fed = items.map((item) => ({ item, offset: null }))
    if (fed.length > 0) await consumeBatch({ tables, store, graceMs: rules.graceMs, onAlarm }, partition, fed)
  }

  return {
    async consume(events: AsyncIterable<PositionedEvent> | Iterable<PositionedEvent>): Promise<void> {
      for await (const event of events) {
        const step = feed(state, event)
        state = step.state
        for (const item of step.items) {
          const part = parts.get(item.partition) ?? []
          parts.set(item.partition, part)
          if (part.push(item) >= MAX_BATCH) await flush(item.partition)
        }
      }
      for (const partition of parts.keys()) await flush(partition)
    },
  }
}
