import { afterAll, beforeAll, expect, test } from 'vitest'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { readModelsLag } from '../../src/readmodels/lag.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { type Database, openDatabase, projectAll } from '../projections/support.ts'
import { createCustomerLog } from '../support/customer-log.ts'
import { createMemoryStore } from '../support/memory-store.ts'

let database: Database
beforeAll(async () => {
  database = await openDatabase()
  await ensureReadModels(database.pool)
})
afterAll(() => database?.close())

test('the lag is the age of the oldest event that is not folded, and 0 when all are, however many ticks follow', async () => {
  const store = createMemoryStore()
  const log = createCustomerLog(store, 2)
  const lag = readModelsLag(database.pool, store)
  expect(await lag()).toBe(0)

  await log.write(20)
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(await lag()).toBeGreaterThanOrEqual(30)
  await projectAll(database.pool, store)
  expect(await lag()).toBe(0)

  const clock = { now: () => new Date().toISOString() }
  for (let ticks = 0; ticks < 3; ticks++) await appendTick({ store, clock, databaseClock: async () => new Date() })
  expect(await lag()).toBe(0)
  await log.write(5)
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(await lag()).toBeGreaterThanOrEqual(30)
  await projectAll(database.pool, store)
  expect(await lag()).toBe(0)
})
