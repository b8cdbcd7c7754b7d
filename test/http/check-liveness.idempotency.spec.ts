import { expect, test } from 'vitest'
import { EventStoreUnavailable } from '../../src/eventstore/store.ts'
import { checkAnswer } from '../../src/http/schemas.ts'
import { verdict } from '../support/given.ts'
import { checkStream } from '../support/invariants.ts'
import { createWorld, errorOf, image } from './harness.ts'

const headers = { 'idempotency-key': 'order-1' }

test('a repeated key gives the first result again, unbilled and without inference, also through another instance', async () => {
  const world = await createWorld()
  const secretsKeys = [Buffer.alloc(32, 7)]
  const [one, two] = [await world.instance({ secretsKeys }), await world.instance({ secretsKeys })]
  const first = await one.check({ headers })
  world.infer = async () => ({ verdict: { ...verdict, likelihoodMillionths: 999_999 } })
  const again = await two.check({ headers })
  expect(first.headers['idempotent-replayed']).toBeUndefined()
  expect(again.headers['idempotent-replayed']).toBe('true')
  expect(again.statusCode).toBe(200)
  expect(checkAnswer.parse(again.json())).toEqual(first.json())
  expect(world.inferences).toBe(1)
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
  expect(world.eventsOf('DetectionReplayed')).toHaveLength(1)
})

test('concurrent requests with one key are billed once and answer the same', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  const answers = await Promise.all(Array.from({ length: 8 }, () => check({ headers })))
  expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([200]))
  expect(new Set(answers.map((response) => JSON.stringify(response.json().data))).size).toBe(1)
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
})

test('a repetition is answered though the month is used up by then', async () => {
  const world = await createWorld({ monthlyLimit: 1, hardCap: true })
  const { check } = await world.instance()
  expect((await check({ headers })).statusCode).toBe(200)
  expect((await check()).statusCode).toBe(429)
  expect((await check({ headers })).headers['idempotent-replayed']).toBe('true')
  expect(errorOf(await check({ headers: { 'idempotency-key': 'order-2' } })).code).toBe('quota_exceeded')
  expect(world.inferences).toBe(1)
})

test('the same key with another photograph is refused; with the same one in another spelling it is a repetition', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  await check({ headers })
  const other = { image: Buffer.from('another').toString('base64'), image_format: 'jpeg' }
  expect(errorOf(await check({ headers, body: other }))).toMatchObject({
    status: 400,
    code: 'invalid_request',
    metadata: { remaining_calls: 4_999 },
  })
  const spelled = `{"image_format": "jpeg",\n "image": "${image}"}`
  const response = await check({ headers: { ...headers, 'content-type': 'application/json' }, body: spelled })
  expect(response.headers['idempotent-replayed']).toBe('true')
})

test('a refused check leaves its key free', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  world.infer = async () => {
    throw new Error('a worker died')
  }
  expect(errorOf(await check({ headers })).code).toBe('internal_error')
  world.infer = async () => ({ verdict })
  const response = await check({ headers })
  expect(response.statusCode).toBe(200)
  expect(response.headers['idempotent-replayed']).toBeUndefined()
})

test('a key is forgotten after 24 hours', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  await check({ headers })
  world.now = () => '2026-05-05T12:34:56.789Z'
  expect((await check({ headers })).headers['idempotent-replayed']).toBeUndefined()
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(2)
})

test('two customers may use the same key', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  await check({ headers })
  const [event] = world.eventsOf('DetectionSucceeded')
  const other = await createWorld()
  const secretsKeys = [Buffer.alloc(32)]
  await (await other.instance({ secretsKeys })).check({ headers })
  expect(other.eventsOf('DetectionSucceeded')[0]?.data).not.toMatchObject({
    idempotency: event?.type === 'DetectionSucceeded' ? event.data.idempotency : {},
  })
})

test('a key table that lags behind a fresh ledger is waited for; one that stays behind ends in 503, unbilled', async () => {
  const world = await createWorld()
  await (await world.instance()).check()
  const { check } = await world.instance() // its ledger knows no keys before the month's opener
  let lookups = 0
  world.idempotencyTableRevision = () => (++lookups < 3 ? 0 : Number.POSITIVE_INFINITY)
  expect((await check({ headers })).statusCode).toBe(200)
  expect(lookups).toBe(3)

  const late = await world.instance()
  world.idempotencyTableRevision = () => 0
  const answer = await late.check({ headers: { 'idempotency-key': 'order-3' } })
  expect(errorOf(answer)).toMatchObject({ status: 503, code: 'service_unavailable' })
  expect(answer.headers['retry-after']).toBe('2')
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(2)
})

test('a retry is recognised while SECRETS_KEY is being changed, whichever key the first attempt was written with', async () => {
  const world = await createWorld()
  const [old, next] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const before = await world.instance({ secretsKeys: [old] })
  const both = await world.instance({ secretsKeys: [old, next] })
  const after = await world.instance({ secretsKeys: [next, old] })
  const first = await before.check({ headers })
  for (const instance of [both, after, before]) {
    const again = await instance.check({ headers })
    expect(again.headers['idempotent-replayed']).toBe('true')
    expect(again.json().data).toEqual(first.json().data)
  }
  const other = { 'idempotency-key': 'order-2' }
  expect((await after.check({ headers: other })).json()).toMatchObject({ data: { isFakeFace: false } })
  expect((await both.check({ headers: other })).headers['idempotent-replayed']).toBe('true')
  expect((await both.check({ headers: other, body: { image: `${image}AAAA`, image_format: 'jpeg' } })).statusCode).toBe(
    400,
  )
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(2)
})

test('a repetition whose result cannot be read at once is read again: its check is billed, so somebody is answered', async () => {
  const world = await createWorld()
  const secretsKeys = [Buffer.alloc(32, 7)]
  const one = await world.instance({ secretsKeys })
  // The first answer of the store is lost for good; the client repeats the check elsewhere meanwhile.
  let lost: string | undefined
  world.store.onSend = ({ events }) => {
    const last = events.at(-1)
    if (last?.type !== 'DetectionSucceeded') return {}
    lost ??= last.id
    return { answerLost: last.id === lost }
  }
  let reads = 0
  const read = one.deps.eventAt
  const flaky = await world.instance({
    secretsKeys,
    eventAt: async (...args) => {
      reads += 1
      if (reads === 1) throw new EventStoreUnavailable('the store was busy')
      return read(...args)
    },
  })
  const first = one.check({ headers })
  await expect.poll(() => world.eventsOf('DetectionSucceeded').length, { interval: 1 }).toBe(1)
  const answers = [await flaky.check({ headers }), await first]
  world.store.onSend = () => ({})
  await one.usage() // settles the doubt
  const { recorded, voided } = checkStream(world.store.stream(`customer-${world.customerId}`))
  expect(world.doubts.rows.size).toBe(0)
  const told200 = answers.filter(({ statusCode }) => statusCode === 200).length
  expect([told200 > 0, recorded.size - voided.size]).toEqual([true, 1])
})
