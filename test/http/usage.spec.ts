import { expect, test } from 'vitest'
import { usageAnswer } from '../../src/http/schemas.ts'
import { createWorld, errorOf } from './harness.ts'

test('usage right after a check already counts it, in the very shape of the contract', async () => {
  const world = await createWorld()
  const { check, usage } = await world.instance()
  await check()
  const response = await usage()
  expect(response.statusCode).toBe(200)
  expect(usageAnswer.parse(response.json())).toEqual({
    metadata: {
      date: '2026-05-04T12:34:56.789Z',
      ver: '1.2.3',
      customer_id: world.customerId,
      remaining_calls: 4_999,
      over_limit_calls: 0,
      status: 'success',
    },
    data: {
      year_month: '2026-05',
      total_calls: 1,
      monthly_limit: 5_000,
      remaining_calls: 4_999,
      over_limit_calls: 0,
      plan: 'standard',
      hard_cap_enabled: false,
    },
  })
})

test('the read model is asked for the head of the stream, also where another instance moved it', async () => {
  const world = await createWorld()
  const [one, two] = [await world.instance(), await world.instance()]
  await one.usage()
  await two.check()
  expect((await one.usage()).json().data.total_calls).toBe(1)
})

test('a read model that stays behind is 503 with Retry-After and the counters of the ledger', async () => {
  const world = await createWorld()
  const behind = new Error('not fresh yet')
  const { usage } = await world.instance({
    usage: { atRevision: () => Promise.reject(behind) },
    isUnavailable: (error) => error === behind,
  })
  const response = await usage()
  expect(errorOf(response)).toMatchObject({
    status: 503,
    code: 'service_unavailable',
    metadata: { remaining_calls: 5_000 },
  })
  expect(response.headers['retry-after']).toBe('2')
})

test('an idle customer sees the new month at its first instant', async () => {
  const world = await createWorld()
  const { check, usage } = await world.instance()
  await check()
  world.now = () => '2026-06-01T00:00:00.000Z'
  expect((await usage()).json().data).toMatchObject({ year_month: '2026-06', total_calls: 0, remaining_calls: 5_000 })
})

test('the free plan reports its hard cap as ON', async () => {
  const { usage } = await (await createWorld({ plan: 'free' })).instance()
  expect((await usage()).json().data).toMatchObject({ plan: 'free', monthly_limit: 100, hard_cap_enabled: true })
})

test('usage needs a key, is free, and is answered although the month is used up', async () => {
  const world = await createWorld({ monthlyLimit: 1, hardCap: true })
  const { app, check, usage } = await world.instance()
  expect(errorOf(await app.inject('/v1/usage'))).toMatchObject({ status: 401, code: 'invalid_api_key' })
  await check()
  const events = world.store.all().length
  expect((await usage()).json().data).toMatchObject({ total_calls: 1, remaining_calls: 0 })
  expect(world.store.all()).toHaveLength(events)
})
