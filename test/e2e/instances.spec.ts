/** Several instances over one event store and one Postgres, and an event store behind a network that fails. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { type EmbeddedEventStore, startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { reachableFolder } from '../support/folder.ts'
import { expectAgreement, startLoad } from '../support/load.ts'
import { freshDatabase } from '../support/postgres.ts'
import {
  check,
  createCustomer,
  eventsOf,
  face,
  liveness,
  type Running,
  startProduct,
  usage,
} from '../support/product.ts'
import { startProxy } from '../support/proxy.ts'

const folder = reachableFolder('liveness-instances-')
const secrets = {
  SECRETS_KEY: randomBytes(32).toString('base64'),
  AUDIT_SIGNING_KEY: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
}

describe('several instances', () => {
  let store: EmbeddedEventStore
  let env: Record<string, string>
  const running: Running[] = []
  const start = async (more: Record<string, string> = {}) => {
    const instance = await startProduct({ ...env, DATA_DIR: join(folder, `data-${running.length}`), ...more })
    running.push(instance)
    return instance
  }

  beforeAll(async () => {
    store = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
    env = {
      ...secrets,
      DATABASE_URL: await freshDatabase(inject('postgresUrl')),
      EVENTSTORE_URL: store.url,
      DATA_DIR: join(folder, 'data-cli'),
      RATE_LIMIT: '10000',
      MODEL_SET: 'own', // the verdict means nothing here, and it is the faster one
    }
  })
  const stopAll = async () => {
    await Promise.all(running.splice(0).map((instance) => instance.kill('SIGTERM')))
  }
  afterAll(async () => {
    await stopAll()
    await store?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  describe('two side by side', () => {
    let instances: [Running, Running]
    beforeAll(async () => {
      instances = [await start(), await start()]
    }, 60_000)
    afterAll(stopAll, 60_000)

    test('200 concurrent checks over two instances on 50 credits with the cap ON: 50 succeed, 150 get 429', async () => {
      const [one, two] = instances
      const { customer_id, keys } = await createCustomer(env, '--plan', 'standard', '--hard-cap', 'on', '--limit', '50')
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, i) => check((i % 2 === 0 ? one : two).url, keys.primary, face)),
      )
      const count = (status: number) => answers.filter((answer) => answer.status === status).length
      expect([count(200), count(429)]).toEqual([50, 150])
      expectAgreement(answers, await eventsOf(env, customer_id))
      const seen = await Promise.all([usage(one.url, keys.primary), usage(two.url, keys.primary)])
      expect(seen.map(({ body }) => body.data.total_calls)).toEqual([50, 50])
    }, 120_000)

    test('a key regenerated and a cap switched ON elsewhere bind both instances on the next request', async () => {
      const { customer_id, keys } = await createCustomer(env, '--plan', 'standard', '--limit', '2')
      const statuses = async (key: string) =>
        (await Promise.all(instances.map(({ url }) => check(url, key, face)))).map(({ status }) => status)
      expect(await statuses(keys.primary)).toEqual([200, 200])
      expect(await statuses(keys.primary)).toEqual([200, 200]) // overage
      await liveness(env, 'customer', 'set-cap', customer_id, 'on')
      expect(await statuses(keys.primary)).toEqual([429, 429])
      await liveness(env, 'key', 'regenerate', customer_id, 'primary')
      expect(await statuses(keys.primary)).toEqual([401, 401])
      expect(await statuses(keys.secondary)).toEqual([429, 429])
    }, 90_000)
  })

  test('a network that swallows answers and cuts connections: every 503 is, once settled, not billed', async () => {
    const proxy = await startProxy(Number(new URL(store.url).port))
    try {
      const through = { EVENTSTORE_URL: `esdb://127.0.0.1:${proxy.port}?tls=false` }
      let instance = await start(through)
      const { customer_id, keys } = await createCustomer(env, '--plan', 'standard', '--limit', '1000')
      let load = startLoad([instance.url], keys.primary, face, 6)
      const answers = []
      const given503 = () => load.answers.filter(({ status }) => status === 503).length
      for (let round = 0; round < 2; round++) {
        await pause(700)
        proxy.swallowAnswers()
        // Longer than an attempt's patience: callers are told 503 and their attempts lie in doubt.
        await expect.poll(given503, { timeout: 30_000 }).toBeGreaterThan(0)
        if (round === 1) {
          // kill −9 between the 503 and its settlement: another process settles it.
          await instance.kill('SIGKILL')
          answers.push(...(await load.stop()))
          proxy.pass()
          instance = await start(through)
          load = startLoad([instance.url], keys.primary, face, 6)
        }
        proxy.cut()
        proxy.pass()
        await expect
          .poll(() => load.answers.slice(-6).filter(({ status }) => status === 200).length, { timeout: 30_000 })
          .toBeGreaterThan(0)
      }
      for (let cuts = 0; cuts < 10; cuts++) {
        proxy.cut()
        await pause(150)
      }
      answers.push(...(await load.stop()))
      await expect
        .poll(async () => (await check(instance.url, keys.primary, face)).status === 200 || null, { timeout: 30_000 })
        .toBe(true)
      const mine = new Set(answers.map(({ requestId }) => requestId))
      const settled = async () => {
        const log = await eventsOf(env, customer_id)
        const polled = log.filter(
          ({ type, metadata }) => type === 'DetectionSucceeded' && !mine.has(metadata.correlationId ?? ''),
        )
        return { log: log.filter((event) => !polled.includes(event)), polled }
      }
      const { log, polled } = await settled()
      expect(polled).toHaveLength(1)
      // The poll's own calls are the last ones, so sequences stay whole without them.
      const agreement = expectAgreement(answers, log)
      console.info('a network that fails', agreement)
      expect(agreement.refused).toBeGreaterThan(0)
    } finally {
      await proxy.stop()
    }
  }, 180_000)
})
