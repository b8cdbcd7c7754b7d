/** Verification of a log that nobody touched, whatever it holds and however far the tables are. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type VerifyOptions, verify } from '../../src/audit/verify.ts'
import { Interrupted } from '../../src/audit/verify-pass.ts'
import { mostDifferences, noFindings, sayInto } from '../../src/audit/verify-report.ts'
import { keepState, loadState, missingHead, type VerifyState } from '../../src/audit/verify-resume.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { connect } from '../../src/postgres/pool.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { histories } from '../support/histories.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { february } from './february.ts'
import { foldMeteringTables, foldReadModels, foldTables } from './tables.ts'
import { createWorld } from './world.ts'

let database: Database
let pool: pg.Pool
beforeAll(async () => {
  database = await openDatabase()
  pool = database.pool
})
afterAll(() => database.close())
beforeEach(() => emptyTables(pool))

async function emptyTables(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ nspname: string }>(
    "select nspname from pg_namespace where nspname ~ '^(readmodel|metering)'",
  )
  for (const { nspname } of rows) await pool.query(`drop schema ${nspname} cascade`)
}

const { signal } = new AbortController()
const verified = (store: EventStore, options: Partial<VerifyOptions> = {}) =>
  verify({ store, pool, anchors: [], signal, ...options })

test('nothing is found where nobody touched anything', async () => {
  const { world, customerId, month } = await february()
  await foldTables(world.store, pool)
  for (const options of [{}, { customerId }, { month }, { customerId, month }]) {
    const report = await verified(world.store, options)
    expect(report.differences).toEqual([])
    expect(report.readModels?.eventsBehind).toBe(0)
    expect(report.metering?.eventsBehind).toBe(0)
  }
  const report = await verified(world.store)
  expect(report).toMatchObject({ events: world.store.all().length, customers: 2, closedMonths: 2 })
  await world.close()
})

/** The store as it was after its first events. */
function cutAt(store: MemoryStore, count: number): EventStore {
  const last = new Map(
    store
      .all()
      .slice(0, count)
      .map(({ stream, revision }) => [stream, revision]),
  )
  return {
    ...store,
    async *readAll(options) {
      for await (const event of store.readAll(options)) if (event.position.commit < BigInt(count)) yield event
    },
    async *readForward(stream, from, maxCount) {
      for await (const event of store.readForward(stream, from, maxCount)) {
        if (event.revision <= (last.get(stream) ?? -1n)) yield event
      }
    },
  }
}

/** Beyond the credits of customer 0, who may run up overage. */
const calls = Array.from(
  { length: 4 },
  () => ({ customer: 0, minutes: 9, action: { kind: 'detect', key: undefined } }) as const,
)

test('nothing is found in any history, metered in any way, whatever the tables have not folded yet', async () => {
  let [closed, records, behind] = [0, 0, 0]
  await fc.assert(
    fc.asyncProperty(
      histories({ maxLength: 60 }),
      fc.array(fc.record({ hours: fc.nat(30), send: fc.boolean() }), { minLength: 1, maxLength: 8 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (steps, rounds, share) => {
        await emptyTables(pool)
        const world = createWorld()
        const size = Math.ceil(steps.length / rounds.length)
        for (const [n, round] of rounds.entries()) {
          await world.player.play([...calls, ...steps.slice(n * size, (n + 1) * size)])
          await world.meter(round)
        }
        const { store, player } = world
        for (const count of [Math.floor(share * store.all().length), store.all().length]) {
          await foldTables(cutAt(store, count), pool)
          const report = await verified(store)
          expect(report.differences).toEqual([])
          behind += (report.readModels?.eventsBehind ?? 0) + (report.metering?.eventsBehind ?? 0)
          closed += report.closedMonths
          records += report.records
          for (const { id } of player.customers()) {
            expect((await verified(store, { customerId: id })).differences).toEqual([])
          }
        }
        await world.close()
      },
    ),
    { numRuns: 15 },
  )
  // What was generated is worth its name.
  expect(Math.min(closed, records, behind)).toBeGreaterThan(10)
}, 120_000)

test('metering that has sealed more than it has folded of the calls is no difference: a rebuild is at work', async () => {
  const { world } = await february()
  const { store } = world
  await foldReadModels(store, pool)
  const half = Math.floor(store.all().length / 2)
  // The consumer reads the whole metering stream at first sight of a customer.
  await foldMeteringTables(store, pool, ({ position }) => position.commit < BigInt(half))
  const report = await verified(store)
  expect(report.differences).toEqual([])
  expect(report.metering?.eventsBehind).toBeGreaterThan(0)
  await world.close()
})

test('nothing is found while the product goes on: calls, projections, metering', async () => {
  const { world } = await february()
  const { store, player } = world
  await foldTables(store, pool)
  let passed = 0
  const busy: EventStore = {
    ...store,
    async *readAll(options) {
      for await (const event of store.readAll(options)) {
        passed += 1
        if (passed % 20 === 0 && passed < 200) {
          await player.play(
            Array.from({ length: 3 }, () => ({ customer: 0, minutes: 40, action: { kind: 'detect', key: undefined } })),
          )
          await world.meter({ hours: 1 })
          await foldTables(store, pool)
        }
        yield event
      }
    },
  }
  const report = await verified(busy)
  expect(report.differences).toEqual([])
  expect(report.events).toBe(store.all().length)
  await world.close()
})

test('a log that takes longer to read than Postgres lets a transaction wait is verified all the same', async () => {
  const { world, customerId } = await february()
  await foldTables(world.store, pool)
  const impatient = connect(`${database.url}?idle_in_transaction_session_timeout=20`)
  async function* late<T>(events: AsyncIterable<T>) {
    await delay(100)
    yield* events
  }
  const { store } = world
  const slow: EventStore = {
    ...store,
    readAll: (options) => late(store.readAll(options)),
    readForward: (stream, from, maxCount) => late(store.readForward(stream, from, maxCount)),
  }
  for (const options of [{}, { customerId }]) {
    expect((await verified(slow, { pool: impatient, streams: false, ...options })).differences).toEqual([])
  }
  await impatient.end()
  await world.close()
})

describe('an interrupted verification', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'liveness-verify-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  /** Runs until so many events have passed; resolves to the state that was kept. */
  async function interruptedAt(store: EventStore, count: number, path: string): Promise<VerifyState | null> {
    const stop = new AbortController()
    const run = verified(store, {
      signal: stop.signal,
      onEvent: (events) => {
        if (events === count) stop.abort()
      },
      keep: (state) => keepState(path, 'question', state),
    })
    await expect(run).rejects.toThrow(Interrupted)
    return loadState(path, 'question')
  }

  test('goes on from its place, and ends as if it had never stopped', async () => {
    const { world } = await february()
    const { store } = world
    await foldTables(store, pool)
    const call = store.all().find(({ type }) => type === 'DetectionSucceeded')
    Object.assign(call?.data as object, { plan: 'business' })
    await pool.query('update metering.records set quantity = quantity + 1')
    const whole = await verified(store)
    expect(whole.differences.length).toBeGreaterThan(2)
    for (const count of [1, 12, 30, store.all().length - 1]) {
      const from = await interruptedAt(store, count, join(folder, 'not there yet', 'state'))
      expect(from?.memory.events).toBe(count)
      if (from === null) return
      expect(await missingHead(store, from)).toBeNull()
      expect(await verified(store, { from })).toEqual({ ...whole, resumedAt: count })
    }
    await world.close()
  })

  test('is not believed when its file was damaged, answers something else, or the log is another', async () => {
    const { world } = await february()
    await foldTables(world.store, pool)
    const path = join(folder, 'state')
    expect(await loadState(path, 'question')).toBeNull()
    const state = await interruptedAt(world.store, 20, path)
    expect(await loadState(path, 'another question')).toBeNull()
    if (state === null) throw new Error('nothing was kept')
    const last = world.store.all()[19]
    Object.assign(last?.metadata as object, { hash: 'f'.repeat(64) })
    expect(await missingHead(world.store, state)).toBe(`${last?.stream} revision ${last?.revision}`)
    const bytes = await readFile(path)
    bytes[bytes.length - 20] = (bytes.at(-20) ?? 0) ^ 1
    await writeFile(path, bytes)
    expect(await loadState(path, 'question')).toBeNull()
    await world.close()
  })
})

test('differences are kept by name up to a bound, and counted beyond it', () => {
  const findings = noFindings()
  const say = sayInto(findings, '2026-02')
  for (let i = 0; i < mostDifferences + 5; i++) say('rule', { month: '2026-02' }, 'x')
  say('rule', { month: '2026-03' }, 'of another month')
  say('chain', { month: '2026-03' }, 'of another month')
  expect(findings.counts).toMatchObject({ rule: mostDifferences + 5, chain: 1 })
  expect(findings.differences.length).toBe(mostDifferences)
})
