import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { UnreadableEvent } from '../../src/events/parse.ts'
import { type EventStore, EventStoreUnavailable, type PositionedEvent } from '../../src/eventstore/store.ts'
import { allProjections, projectedPrefixes } from '../../src/projections/all.ts'
import { CheckpointMoved, ensureReadModels, liveGeneration } from '../../src/projections/generations.ts'
import { project } from '../../src/projections/project.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { rebuild } from '../../src/projections/rebuild.ts'
import { NewerGeneration, type Runner, startProjections } from '../../src/projections/runner.ts'
import { findApiKey } from '../../src/readmodels/api-keys.ts'
import { listCustomers } from '../../src/readmodels/customers.ts'
import { eventsBehind, projectionStatus } from '../../src/readmodels/status.ts'
import { createPlayer, type Step } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { type Database, dump, openDatabase, projectAll, until, withSubscription } from './support.ts'

const detections = (count: number, customers = 2): Step[] =>
  Array.from({ length: count }, (_, i) => ({
    customer: i % customers,
    minutes: 1,
    action: { kind: 'detect', key: i % 3 === 0 ? i % 5 : undefined },
  }))

let database: Database
let store: MemoryStore
let player: ReturnType<typeof createPlayer>
let runners: Runner[]
const signal = new AbortController().signal

beforeEach(async () => {
  database = await openDatabase()
  await ensureReadModels(database.pool)
  store = createMemoryStore()
  player = createPlayer(store)
  runners = []
})
afterEach(async () => {
  await Promise.all(runners.map((runner) => runner.stop()))
  await database.close()
})

const alarms: Error[] = []
function start(options: Partial<Parameters<typeof startProjections>[0]> = {}): Runner {
  const { pool, url } = database
  const runner = startProjections({ pool, url, store, onAlarm: (error) => alarms.push(error), ...options })
  runners.push(runner)
  return runner
}

const atHead = async () => (await liveGeneration(database.pool)).checkpoint?.eventId === store.all().at(-1)?.id

/** What the live rows hold must be what a replay of the log gives. */
async function expectReplayEqual() {
  const { pool, url } = database
  const before = await dump(pool, await liveGeneration(pool))
  await rebuild({ pool, url, store, signal })
  expect(await dump(pool, await liveGeneration(pool))).toEqual(before)
}

describe('the runner', () => {
  test('projects what is stored and what arrives, and knows how far it is', async () => {
    await player.play(detections(20))
    const runner = start()
    await until(atHead)
    await player.play(detections(20))
    await until(atHead)
    const last = store.all().at(-1)
    await until(() => runner.lag().waiting === 0)
    expect(runner.lag()).toMatchObject({ leading: true, ageMs: 0, position: last?.position, failures: 0 })
    expect(runner.lag().lastEventAt).toEqual(last?.created)
    expect(runner.lag().folded).toBe(store.all().length)
    const [live] = await projectionStatus(database.pool)
    expect(live).toMatchObject({ state: 'live', comparedWithProgram: 'same', lastEventAt: last?.created.toISOString() })
    expect(await eventsBehind(store, live?.checkpoint ?? null, { signal })).toBe(0)
    expect(await eventsBehind(store, null, { signal })).toBe(store.all().length)
  })

  test('subscribes again from its checkpoint when the event store goes away', async () => {
    await player.play(detections(40))
    let delivered = 0
    const troubles: Error[] = []
    const flaky = withSubscription(store, async function* (events) {
      for await (const event of events) {
        delivered += 1
        if (delivered % 17 === 0) throw new EventStoreUnavailable('cut')
        yield event
      }
    })
    start({ store: flaky, maxBatch: 3, onTrouble: (error) => troubles.push(error) })
    await until(atHead)
    expect(troubles.some((error) => error instanceof EventStoreUnavailable)).toBe(true)
    await expectReplayEqual()
  })

  test('goes on after Postgres cut its connections in mid-write', async () => {
    const runner = start({ maxBatch: 2 })
    for (let cut = 0; cut < 5; ) {
      await player.play(detections(10))
      const { rowCount } = await database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and backend_xid is not null`,
      )
      cut += rowCount ?? 0
    }
    await until(atHead, 60_000)
    expect(runner.lag().folded).toBeLessThanOrEqual(store.all().length)
    await expectReplayEqual()
  }, 90_000)

  test('of two, one leads and the other takes over', async () => {
    const first = start()
    await until(() => first.lag().leading)
    const second = start()
    await player.play(detections(10))
    await until(atHead)
    expect(second.lag().leading).toBe(false)
    await first.stop()
    await until(() => second.lag().leading)
    await player.play(detections(10))
    await until(atHead)
    await expectReplayEqual()
  })

  test('two that both believe to lead cannot both write: the checkpoint lets one through', async () => {
    await player.play(detections(60))
    const { pool } = database
    const live = await liveGeneration(pool)
    const options = { pool, store, projections: allProjections, prefixes: projectedPrefixes, signal, maxBatch: 4 }
    const run = async () => {
      for await (const { generation } of project(live, options)) {
        if (generation.checkpoint?.eventId === store.all().at(-1)?.id) return 'finished'
      }
      return 'ended'
    }
    const outcomes = await Promise.allSettled([run(), run()])
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(refused).toHaveLength(1)
    expect(refused[0]?.reason).toBeInstanceOf(CheckpointMoved)
    expect(await atHead()).toBe(true)
    await expectReplayEqual()
  })
})

describe('a log that is not the one that was folded stops the role, and nothing is written past it', () => {
  async function expectStop(runner: Runner, kind: typeof LogMismatch | typeof UnreadableEvent, message: RegExp) {
    const error = await runner.ended
    expect(error).toBeInstanceOf(kind)
    expect(error?.message).toMatch(message)
    expect(alarms).toContain(error)
  }
  const tampered = (change: (event: PositionedEvent) => PositionedEvent | null): EventStore =>
    withSubscription(store, async function* (events) {
      for await (const event of events) {
        const changed = change(event)
        if (changed !== null) yield changed
      }
    })

  test('a broken chain', async () => {
    await player.play(detections(10, 1))
    const other = 'f'.repeat(64)
    const runner = start({
      maxBatch: 1,
      store: tampered((event) =>
        event.revision === 6n ? { ...event, metadata: { ...(event.metadata as object), prevHash: other } } : event,
      ),
    })
    await expectStop(runner, LogMismatch, /prevHash/)
    expect((await liveGeneration(database.pool)).checkpoint?.revision).toBe(5n)
  })

  test('a missing event', async () => {
    await player.play(detections(10, 1))
    const runner = start({ store: tampered((event) => (event.revision === 6n ? null : event)) })
    await expectStop(runner, LogMismatch, /revision 6 is missing/)
  })

  test('a body that is no event of the catalogue', async () => {
    await player.play(detections(10, 1))
    const runner = start({ store: tampered((event) => (event.revision === 6n ? { ...event, data: 'torn' } : event)) })
    await expectStop(runner, UnreadableEvent, /revision 6/)
  })

  test('an older copy of the store, which ends before the checkpoint', async () => {
    await player.play(detections(10, 1))
    await projectAll(database.pool, store)
    const older = createMemoryStore()
    const olderPlayer = createPlayer(older)
    await olderPlayer.play(detections(3, 1))
    await expectStop(start({ store: older }), LogMismatch, /does not hold|is not the event/)
    // The operator's way back: rows go back with the log.
    const { pool, url } = database
    await rebuild({ pool, url, store: older, signal, acceptOlderLog: true })
    expect((await liveGeneration(pool)).checkpoint?.eventId).toBe(older.all().at(-1)?.id)
    expect(await listCustomers(pool, olderPlayer.now)).toHaveLength(1)
  })

  test('another store, with another event at the checkpoint', async () => {
    await player.play(detections(10, 1))
    await projectAll(database.pool, store)
    const stream = store.all()[0]?.stream ?? ''
    const other: EventStore = {
      ...store,
      async *readForward(name, from, maxCount) {
        for await (const event of store.readForward(name, from, maxCount)) yield { ...event, id: randomUUID() }
      },
    }
    await expectStop(start({ store: other }), LogMismatch, new RegExp(`${stream} revision .* is not the event`))
  })
})

describe('a rebuild', () => {
  test('goes live under writes, while readers never fail and never go back', async () => {
    const { pool, url } = database
    await player.play(detections(30))
    start({ maxBatch: 5 })
    await until(atHead)
    const first = await liveGeneration(pool)
    let rebuilding = true
    const keyHash = player.customers()[0]?.state.keys.primary?.keyHash ?? ''
    const write = async () => {
      while (rebuilding) {
        await player.play(detections(5))
        await setImmediate() // the store in memory answers at once, and would let nobody else run
      }
    }
    const read = async () => {
      const seen = new Map<string, bigint>()
      let reads = 0
      while (rebuilding) {
        for (const { customerId, revision } of await listCustomers(pool, player.now)) {
          expect(revision).toBeGreaterThanOrEqual(seen.get(customerId) ?? 0n)
          seen.set(customerId, revision)
        }
        expect(await findApiKey(pool, keyHash)).not.toBeNull()
        reads += 1
      }
      return reads
    }
    const rounds = async () => {
      try {
        for (let round = 0; round < 3; round++) await rebuild({ pool, url, store, signal })
      } finally {
        rebuilding = false
      }
    }
    const [, , reads] = await Promise.all([rounds(), write(), read()])
    expect(reads).toBeGreaterThan(10)
    await until(atHead, 30_000)
    const live = await liveGeneration(pool)
    expect(live.generation).toBe(first.generation + 3)
    const { rows } = await pool.query("select nspname from pg_namespace where nspname like 'readmodel\\_%'")
    expect(rows).toEqual([{ nspname: live.schema }])
    await expectReplayEqual()
  }, 90_000)

  test('that died half-way leaves the live rows alone, and the next one starts clean', async () => {
    const { pool, url } = database
    await player.play(detections(40))
    await projectAll(pool, store)
    const before = await dump(pool, await liveGeneration(pool))
    const broken = withSubscription(store, async function* (events) {
      let left = 25
      for await (const event of events) {
        if (left-- === 0) throw new EventStoreUnavailable('cut')
        yield event
      }
    })
    await expect(rebuild({ pool, url, store: broken, signal })).rejects.toThrow(EventStoreUnavailable)
    expect(await dump(pool, await liveGeneration(pool))).toEqual(before)
    expect((await projectionStatus(pool)).map(({ state }) => state)).toEqual(['live', 'building'])
    const progress: number[] = []
    const onProgress = ({ events }: { events: number }) => progress.push(events)
    const rebuilt = await rebuild({ pool, url, store, signal, onProgress })
    expect(rebuilt.events).toBe(store.all().length)
    expect(progress.at(-1)).toBe(rebuilt.events)
    expect(await dump(pool, await liveGeneration(pool))).toEqual(before)
    expect((await projectionStatus(pool)).map(({ state }) => state)).toEqual(['live'])
  })

  test('can be aborted', async () => {
    const { pool, url } = database
    const stopping = new AbortController()
    const silent = withSubscription(store, async function* (events) {
      stopping.abort(new Error('enough'))
      yield* events
    })
    await player.play(detections(5))
    await projectAll(pool, store)
    await expect(rebuild({ pool, url, store: silent, signal: stopping.signal })).rejects.toThrow('enough')
  })

  test('happens by itself when a projection has a higher version, and never backwards', async () => {
    const { pool } = database
    await player.play(detections(10))
    await projectAll(pool, store)
    const raised = allProjections.map((projection) => ({ ...projection, version: projection.version + 1 }))
    const added: Projection = {
      name: 'extra',
      version: 1,
      tables: { extra: 'create table extra (id integer)' },
      fold: () => [],
    }
    const newer = start({ projections: [...raised, added] })
    await until(async () => (await liveGeneration(pool)).generation === 2)
    await player.play(detections(10))
    await until(atHead)
    expect((await pool.query('select id from readmodel.extra')).rows).toEqual([])
    await newer.stop()

    const troubles: Error[] = []
    const older = start({ onTrouble: (error) => troubles.push(error) })
    await until(() => troubles.length > 0)
    expect(troubles[0]).toBeInstanceOf(NewerGeneration)
    expect((await liveGeneration(pool)).generation).toBe(2)

    // It says so, leads no more, and the newer program finds the lock free.
    await until(() => !older.lag().leading)
    const newerAgain = start({ projections: [...raised, added] })
    await until(() => newerAgain.lag().leading)
    await player.play(detections(10))
    await until(atHead)
    expect(older.lag().leading).toBe(false)
    expect(troubles).toHaveLength(1)
  })
})
