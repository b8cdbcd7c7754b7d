/** Verification of a log that nobody touched, whatever it holds and however far the tables are. */
import fc from 'fast-check'
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type VerifyOptions, verify } from '../../src/audit/verify.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { histories } from '../support/histories.ts'
import { february } from './february.ts'
import { foldTables } from './tables.ts'
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
  expect(report).toMatchObject({ events: world.store.all().length, customers: 2, closedMonths: 4 })
  await world.close()
})

test('nothing is found in any history, metered in any way', async () => {
  await fc.assert(
    fc.asyncProperty(
      histories({ maxLength: 40 }),
      fc.array(fc.record({ hours: fc.nat(30), send: fc.boolean() }), { maxLength: 8 }),
      async (steps, rounds) => {
        await emptyTables(pool)
        const world = createWorld()
        const size = Math.ceil(steps.length / (rounds.length + 1))
        for (let at = 0; at < steps.length; at += size) {
          await world.player.play(steps.slice(at, at + size))
          const round = rounds[at / size]
          if (round !== undefined) await world.meter(round)
        }
        await foldTables(world.store, pool)
        expect((await verified(world.store)).differences).toEqual([])
        for (const { id } of world.player.customers()) {
          expect((await verified(world.store, { customerId: id })).differences).toEqual([])
        }
        await world.close()
      },
    ),
    { numRuns: 30 },
  )
})
