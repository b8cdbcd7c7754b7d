import { expect, test } from 'vitest'
import { checkAnswer, usageAnswer } from '../../src/http/schemas.ts'
import { checkBody, createWorld } from './harness.ts'

test('a check answers every field of the contract from the committed event, and is billed by exactly that event', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  const response = await check()
  expect(response.statusCode).toBe(200)
  expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
  expect(checkAnswer.parse(response.json())).toEqual({
    metadata: {
      date: '2026-05-04T12:34:56.789Z',
      ver: '1.2.3',
      customer_id: world.customerId,
      remaining_calls: 4_999,
      over_limit_calls: 0,
      status: 'success',
    },
    data: {
      isFakeFace: false,
      isFakeLikelihood: 0.012345,
      isValidFace: true,
      faceBrightness: 142.3,
      faceRectArea: { x: 120, y: 80, width: 200, height: 200 },
      vFaceRect: [{ x: 120, y: 80, width: 200, height: 200 }],
      msg: '',
      latency_ms: 42,
    },
  })
  const [event] = world.eventsOf('DetectionSucceeded')
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
  expect(event?.data).toMatchObject({ sequence: 1, keyId: world.primary.key.keyId, modelSet: 'stand-in' })
})

test('the request id becomes the correlation id of the event, and the key its actor', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  const response = await check({ headers: { 'x-request-id': 'order-4711' } })
  expect(response.headers['x-request-id']).toBe('order-4711')
  expect(world.store.all().at(-1)?.metadata).toMatchObject({
    correlationId: 'order-4711',
    actor: `key:${world.primary.key.keyId}`,
  })
})

test('an insane request id is replaced', async () => {
  const { check } = await (await createWorld()).instance()
  for (const id of ['a b', 'x'.repeat(200), '<script>']) {
    const response = await check({ headers: { 'x-request-id': id } })
    expect(response.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  }
})

test('both keys work, and fields this version does not know are ignored', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  expect((await check({ key: world.secondary.secret })).statusCode).toBe(200)
  expect((await check({ body: { ...checkBody, tenant: 'later' } })).statusCode).toBe(200)
})

test('past the limit without hard cap, calls go on as overage and say so', async () => {
  const world = await createWorld({ monthlyLimit: 2 })
  const { check, usage } = await world.instance()
  const counters = []
  for (let i = 0; i < 4; i++) {
    const { metadata } = checkAnswer.parse((await check()).json())
    counters.push([metadata.remaining_calls, metadata.over_limit_calls])
  }
  expect(counters).toEqual([
    [1, 0],
    [0, 0],
    [0, 1],
    [0, 2],
  ])
  expect(usageAnswer.parse((await usage()).json()).data).toMatchObject({
    total_calls: 4,
    remaining_calls: 0,
    over_limit_calls: 2,
  })
})

test('each of many concurrent answers carries the counters of its own revision', async () => {
  const world = await createWorld({ monthlyLimit: 100 })
  const instances = [await world.instance(), await world.instance()]
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => instances[i % 2]?.check()))
  const remaining = answers.map((response) => checkAnswer.parse(response?.json()).metadata.remaining_calls)
  expect(remaining.toSorted((a, b) => b - a)).toEqual(Array.from({ length: 60 }, (_, i) => 99 - i))
})

test('a month boundary grants the credits anew', async () => {
  const world = await createWorld({ monthlyLimit: 1, hardCap: true })
  const { check } = await world.instance()
  expect((await check()).statusCode).toBe(200)
  expect((await check()).statusCode).toBe(429)
  world.now = () => '2026-06-01T00:00:00.000Z'
  const response = await check()
  expect(checkAnswer.parse(response.json()).metadata.remaining_calls).toBe(0)
  expect(world.eventsOf('DetectionSucceeded').map(({ data }) => data)).toMatchObject([
    { yearMonth: '2026-05', sequence: 1 },
    { yearMonth: '2026-06', sequence: 1 },
  ])
})
