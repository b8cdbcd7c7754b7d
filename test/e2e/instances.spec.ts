/** Two instances over one event store and one Postgres, by one clock that a test moves: real servers; the verdict means nothing here. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCustomer } from '../../src/cli/create-customer.ts'
import { operate } from '../../src/cli/operate.ts'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { makeApiKey } from '../../src/commands/keys.ts'
import { loadConfig } from '../../src/config.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import type { StoredEvent } from '../../src/eventstore/store.ts'
import { createLogger } from '../../src/http/logging.ts'
import { type App, startApp } from '../../src/main.ts'
import { connect, databaseTime } from '../../src/postgres/pool.ts'
import { checkStream } from '../support/invariants.ts'
import { agreement, bodyOf, call, startLoad } from '../support/load.ts'
import { face, usage } from '../support/product.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'

const boundary = Date.parse('2028-03-01T00:00:00.000Z') // the day before is the 29th of February
const body = bodyOf(face)

describe('two instances', () => {
  let stack: TestStack
  let pool: ReturnType<typeof connect>
  let apps: readonly App[] = []
  let urls: readonly string[]
  /** Milliseconds by which everybody's clock is ahead. */
  let shift = 0

  beforeAll(async () => {
    stack = await startTestStack()
    pool = connect(stack.env.DATABASE_URL ?? '')
    const clocks = {
      systemClock: () => Date.now() + shift,
      databaseClock: async () => new Date((await databaseTime(pool)).getTime() + shift),
    }
    const loaded = loadConfig({ ...stack.env, RATE_LIMIT: '10000', MODEL_SET: 'own' }, '/nowhere')
    const start = () => startApp(loaded, { log: createLogger('warn'), ...clocks })
    apps = [await start(), await start()]
    urls = apps.map(({ url }) => url ?? '')
  }, 60_000)
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.stop()))
    await pool?.end()
    await stack?.stop()
  }, 60_000)

  async function register(limit: number, hardCap = false) {
    const [{ system }] = apps as [App]
    const { customer_id: id, keys } = await createCustomer(system, { plan: 'standard', hardCap, limit })
    if (keys === null) throw new Error('no keys')
    return { id, ...keys, operate: (command: CustomerCommand) => operate(system, id, command) }
  }
  async function eventsOf(customerId: string): Promise<StoredEvent[]> {
    const events: StoredEvent[] = []
    for await (const event of (apps as [App])[0].system.store.readForward(customerStream(customerId), 0n))
      events.push(event)
    return events
  }

  test('40 concurrent checks over both on 10 credits with the cap ON: 10 succeed, 30 get 429', async () => {
    const { id, primary } = await register(10, true)
    const notes = await Promise.all(Array.from({ length: 40 }, (_, i) => call(urls[i % 2] ?? '', primary, body)))
    const log = await eventsOf(id)
    expect(agreement(notes, log).told).toEqual({ 'POST 200': 10, 'POST 429': 30 })
    checkStream(log)
    const seen = await Promise.all(urls.map((url) => usage(url, primary)))
    expect(seen.map(({ body: { data } }) => data.total_calls)).toEqual([10, 10])
  }, 120_000)

  test('a key regenerated and a cap switched ON at one bind both on the next request', async () => {
    const { primary, secondary, operate: change } = await register(2)
    const statuses = async (key: string) =>
      (await Promise.all(urls.map((url) => call(url, key, body)))).map(({ status }) => status)
    expect(await statuses(primary)).toEqual([200, 200])
    expect(await statuses(primary)).toEqual([200, 200]) // overage
    await change({ type: 'EnableHardCap' })
    expect(await statuses(primary)).toEqual([429, 429])
    await change({ type: 'RegenerateApiKey', slot: 'primary', key: makeApiKey().key })
    expect(await statuses(primary)).toEqual([401, 401])
    expect(await statuses(secondary)).toEqual([429, 429])
  }, 120_000)

  test('a month’s end under load: every call is in one month, credits are granted anew, sequences restart at 1', async () => {
    // The customer registers by the real clock, and is idle until then.
    const { id, primary } = await register(500, true)
    shift = boundary - 60_000 - Date.now()
    // A clock that was set is compared with Postgres's before it serves again.
    const inService = () =>
      Promise.all(urls.map((url) => expect.poll(async () => (await usage(url, primary)).status).toBe(200)))
    await inService()

    shift = boundary - 4_000 - Date.now() // four seconds to midnight
    await inService()
    const load = startLoad(urls, primary, face, 4)
    const inMarch = () => load.notes.filter(({ body: said }) => String(said.metadata.date).startsWith('2028-03')).length
    await expect.poll(inMarch, { timeout: 60_000 }).toBeGreaterThan(15)
    const notes = await load.stop()

    const events = await eventsOf(id)
    checkStream(events) // each call in the month of its time, each month opened first and once
    const { told } = agreement(notes, events)
    expect(Object.keys(told).filter((how) => !how.endsWith(' 200'))).toEqual([])
    const monthsOf = (wanted: string) =>
      events.flatMap(({ type, data }) => (type === wanted ? [(data as { yearMonth: string }).yearMonth] : []))
    expect(monthsOf('MonthlyCreditsGranted').slice(-2)).toEqual(['2028-02', '2028-03'])
    const march = monthsOf('DetectionSucceeded').filter((month) => month === '2028-03').length
    expect(march).toBeGreaterThan(10)
    expect(march).toBeLessThan(told['POST 200'] ?? 0)
    for (const url of urls) {
      expect((await usage(url, primary)).body.data).toMatchObject({
        year_month: '2028-03',
        total_calls: march,
        remaining_calls: 500 - march,
      })
    }
  }, 120_000)
})
