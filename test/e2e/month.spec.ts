/** A month boundary in the middle of a load: two instances with the same injected clock, real servers, real models. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { type EmbeddedEventStore, startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { createLogger } from '../../src/http/logging.ts'
import { type App, startApp } from '../../src/main.ts'
import { connect, databaseTime } from '../../src/postgres/pool.ts'
import { reachableFolder } from '../support/folder.ts'
import { expectAgreement, startLoad } from '../support/load.ts'
import { freshDatabase } from '../support/postgres.ts'
import { createCustomer, eventsOf, face, modelsEnv, usage } from '../support/product.ts'

const folder = reachableFolder('liveness-month-')
const boundary = Date.parse('2028-03-01T00:00:00.000Z') // the day before is the 29th of February

describe('a month boundary in the middle of a load', () => {
  let store: EmbeddedEventStore
  const apps: App[] = []
  let env: Record<string, string>

  beforeAll(async () => {
    store = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
    env = {
      DATABASE_URL: await freshDatabase(inject('postgresUrl')),
      EVENTSTORE_URL: store.url,
      SECRETS_KEY: randomBytes(32).toString('base64'),
      AUDIT_SIGNING_KEY: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ...modelsEnv,
      DATA_DIR: folder,
      RATE_LIMIT: '10000',
      PORT: '0',
    }
  }, 60_000)
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.stop()))
    await store?.stop()
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  test('every call is in exactly one month, credits are granted anew, sequences restart at 1', async () => {
    // The customer registers by the real clock, years before; idle since then.
    const log = createLogger('warn')
    const before = await startApp(loadConfig(env, '/nowhere'), { log })
    const { customer_id, keys } = await createCustomer(env, '--plan', 'standard', '--hard-cap', 'on', '--limit', '500')
    await before.stop()
    const pool = connect(env.DATABASE_URL ?? '')
    let shift = boundary - 60_000 - Date.now()
    const clocks = {
      systemClock: () => Date.now() + shift,
      databaseClock: async () => new Date((await databaseTime(pool)).getTime() + shift),
    }
    const start = () => startApp(loadConfig(env, '/nowhere'), { log, ...clocks })
    apps.push(await start(), await start())
    const urls = apps.map(({ url }) => url ?? '')
    await Promise.all(urls.map((url) => usage(url, keys.primary))) // warm

    shift = boundary - 4_000 - Date.now() // four seconds to midnight
    const load = startLoad(urls, keys.primary, face, 6)
    const inMarch = () => load.answers.filter(({ body }) => String(body.metadata.date).startsWith('2028-03')).length
    await expect.poll(inMarch, { timeout: 60_000 }).toBeGreaterThan(25)
    const answers = await load.stop()

    const events = await eventsOf(env, customer_id)
    const { ok, unanswered } = expectAgreement(answers, events)
    expect([ok, unanswered]).toEqual([answers.length, 0])
    const openers = events.filter(({ type }) => type === 'MonthlyCreditsGranted').map(({ data }) => data.yearMonth)
    expect(openers.slice(-2)).toEqual(['2028-02', '2028-03'])
    const detections = events.filter(({ type }) => type === 'DetectionSucceeded')
    for (const { data } of detections) expect(data.yearMonth).toBe(String(data.occurredAt).slice(0, 7))
    const march = detections.filter(({ data }) => data.yearMonth === '2028-03')
    expect(march.length).toBeGreaterThan(10)
    expect(march.length).toBeLessThan(detections.length)
    for (const url of urls) {
      expect((await usage(url, keys.primary)).body.data).toMatchObject({
        year_month: '2028-03',
        total_calls: march.length,
        remaining_calls: 500 - march.length,
      })
    }
    await pool.end()
  }, 120_000)
})
