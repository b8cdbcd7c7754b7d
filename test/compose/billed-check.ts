/**
 * The billed check over servers that are not ours: two instances of the API, and projections, relay and metering as
 * processes of their own, as docker-compose.yml has them. Run by test/compose/run.ts, which names the servers.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { reachableFolder } from '../support/folder.ts'
import { agreement, bodyOf, call } from '../support/load.ts'
import { freePort } from '../support/ports.ts'
import { freshDatabase } from '../support/postgres.ts'
import {
  createCustomer,
  eventsOf,
  haveShared,
  liveness,
  photograph,
  type Running,
  startProduct,
  usage,
} from '../support/product.ts'

const there = haveShared('the billed check on compose')
const folder = reachableFolder('liveness-compose-')
const limit = 10
const calls = 30

describe.skipIf(!there)('the billed check over Postgres, the event store and Kafka', () => {
  const running: Running[] = []
  let env: Record<string, string>
  let urls: string[]

  beforeAll(async () => {
    env = {
      DATABASE_URL: await freshDatabase(inject('postgresUrl')),
      EVENTSTORE_URL: process.env.EVENTSTORE_URL ?? '',
      KAFKA_BROKERS: process.env.KAFKA_BROKERS ?? '',
      SECRETS_KEY: randomBytes(32).toString('base64'),
      AUDIT_SIGNING_KEY: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      DATA_DIR: folder,
      RATE_LIMIT: '10000',
    }
    for (const ROLES of ['projections', 'relay', 'metering', 'api', 'api']) {
      const port = String(await freePort())
      // A process without the API answers on the operators' port alone.
      running.push(
        await startProduct({ ...env, ROLES, PORT: port, ...(ROLES === 'api' ? {} : { OPERATIONS_PORT: port }) }),
      )
    }
    urls = running.slice(-2).map(({ url }) => url)
  }, 300_000)
  afterAll(async () => {
    await Promise.all(running.map((process) => process.kill('SIGTERM')))
    rmSync(folder, { recursive: true, force: true })
  }, 120_000)

  test('calls over both instances are billed once each, credits first, and their overage is metered by way of Kafka', async () => {
    const options = ['--plan', 'standard', '--limit', String(limit), '--hard-cap', 'off']
    const { customer_id, keys } = await createCustomer(env, ...options)
    const body = bodyOf(photograph('live/t1.jpg'))
    const notes = await Promise.all(
      Array.from({ length: calls }, (_, i) => call(urls[i % 2] ?? '', keys.primary, body)),
    )
    const { told, billed, voided } = agreement(notes, await eventsOf(env, customer_id))
    expect([told, billed, voided]).toEqual([{ 'POST 200': calls }, calls, 0])
    const { data } = (await usage(urls[0] ?? '', keys.secondary)).body
    expect(data).toMatchObject({ total_calls: calls, remaining_calls: 0, over_limit_calls: calls - limit })

    const records = async () =>
      (await liveness(env, 'metering', 'list', '--customer', customer_id, '--json'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))
    await expect
      .poll(async () => JSON.stringify(await records()), { timeout: 60_000, interval: 500 })
      .toContain(`"quantity":${calls - limit}`)
  }, 180_000)

  test('the log, the read models and metering agree', async () => {
    // Its exit code is 0 only when all agree.
    expect(await liveness(env, 'audit', 'verify')).not.toBe('')
  }, 120_000)
})
