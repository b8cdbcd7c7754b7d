/** The leader's loops, with a real lock, while the clock is out of service. */
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { ClockOutOfService } from '../../src/commands/clock.ts'
import { startMetering } from '../../src/metering/start.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { memoryTables } from '../support/memory-tables.ts'
import { rules } from './books.ts'

let database: Database
beforeAll(async () => {
  database = await openDatabase()
})
afterAll(() => database.close())

test('a clock out of service costs the leader nothing but its rounds, and is told in its own words', async () => {
  const told: string[] = []
  const tell = (kind: string, message: string) => void told.push(`${kind}: ${message}`)
  let asked = 0
  const metering = startMetering({
    pool: database.pool,
    url: database.url,
    tables: memoryTables(),
    store: createMemoryStore(),
    rules,
    batchMeterUsage: async () => ({ kind: 'throttled' }),
    doubts: memoryDoubts(),
    now() {
      asked += 1
      throw new ClockOutOfService('The clock differs from Postgres.')
    },
    onAlarm: tell,
    onWarn: tell,
  })
  onTestFinished(() => metering.stop())
  await vi.waitFor(() => expect(asked).toBeGreaterThan(4), { timeout: 10_000 })
  expect(metering.leading()).toBe(true)
  expect(told).toEqual(['metering_trouble: a round of metering: The clock differs from Postgres.'])
}, 20_000)
