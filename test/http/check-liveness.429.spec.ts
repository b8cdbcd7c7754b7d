import { expect, test } from 'vitest'
import { makeApiKey } from '../../src/commands/keys.ts'
import { createWorld, errorOf } from './harness.ts'

const quota = { status: 429, code: 'quota_exceeded', message: 'The monthly limit of 2 calls is reached.' }

test('with the hard cap ON calls stop at the limit, before any inference', async () => {
  const world = await createWorld({ monthlyLimit: 2, hardCap: true })
  const { check } = await world.instance()
  await check()
  await check()
  const answer = errorOf(await check())
  expect(answer).toMatchObject(quota)
  expect(answer.metadata).toMatchObject({ customer_id: world.customerId, remaining_calls: 0, over_limit_calls: 0 })
  expect(world.inferences).toBe(2)
})

test('the free plan stops at its 100 calls', async () => {
  const world = await createWorld({ plan: 'free' })
  const { check } = await world.instance()
  const statuses = await Promise.all(Array.from({ length: 120 }, async () => (await check()).statusCode))
  expect(statuses.filter((status) => status === 200)).toHaveLength(100)
  expect(statuses.filter((status) => status === 429)).toHaveLength(20)
})

test('200 concurrent checks over two instances with 50 credits left: 50 succeed, 150 are refused, sequence 1 to 50', async () => {
  const world = await createWorld({ monthlyLimit: 50, hardCap: true })
  const instances = [await world.instance(), await world.instance()]
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => instances[i % 2]?.check()))
  const refused = answers.flatMap((response) => (response?.statusCode === 200 || !response ? [] : [errorOf(response)]))
  expect(refused).toHaveLength(150)
  expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['quota_exceeded']))
  const sequences = world.eventsOf('DetectionSucceeded').map(({ data }) => 'sequence' in data && data.sequence)
  expect(sequences).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
})

test('a cap switched on through another instance stops the next call; switched off again, calls go on', async () => {
  const world = await createWorld({ monthlyLimit: 2 })
  const { check } = await world.instance()
  for (let i = 0; i < 3; i++) expect((await check()).statusCode).toBe(200)
  await world.command({ type: 'EnableHardCap' })
  expect(errorOf(await check())).toMatchObject(quota)
  // This instance knows the month as used up now. It must not refuse from what it remembers.
  await world.command({ type: 'DisableHardCap' })
  expect((await check()).statusCode).toBe(200)
  expect(world.inTheLog()).toMatchObject({ overLimitCalls: 2, totalCalls: 4 })
})

test('a key that is faster than fair use is told when to come back, keeps its counters and is not billed', async () => {
  const world = await createWorld({}, { limits: { perSecond: 1, burst: 3 } })
  const { check } = await world.instance()
  const answers = await Promise.all(Array.from({ length: 5 }, () => check()))
  expect(answers.map(({ statusCode }) => statusCode).toSorted()).toEqual([200, 200, 200, 429, 429])
  const limited = answers.find(({ statusCode }) => statusCode === 429)
  if (limited === undefined) throw new Error('nothing was limited')
  expect(errorOf(limited)).toMatchObject({ code: 'rate_limited', metadata: { customer_id: world.customerId } })
  expect(Number(limited.headers['retry-after'])).toBeGreaterThanOrEqual(1)
  expect((await check({ key: world.secondary.secret })).statusCode).toBe(200)
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(4)
})

test('an address that keeps trying bad keys is slowed down, while good keys from it still pass', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  for (let i = 0; i < 60; i++) expect((await check({ key: makeApiKey().secret })).statusCode).toBe(401)
  const answer = errorOf(await check({ key: makeApiKey().secret }))
  expect(answer).toMatchObject({ status: 429, code: 'rate_limited', metadata: { customer_id: null } })
  expect((await check()).statusCode).toBe(200)
})

test('whose key authentication refuses is not named, however the refusal is put', async () => {
  const world = await createWorld({}, { limits: { perSecond: 1, burst: 63 } })
  const { check } = await world.instance()
  await world.command({ type: 'EndSubscription', licence: { kind: 'none' }, reason: 'cancelled' })
  world.now = () => '2026-06-01T00:00:00.000Z'
  const answers: ReturnType<typeof errorOf>[] = []
  for (let i = 0; i < 64; i++) answers.push(errorOf(await check()))
  const { date: _, ver, ...named } = answers[0]?.metadata ?? {}
  expect(named).toEqual({ customer_id: null, remaining_calls: null, over_limit_calls: null, status: 'error' })
  for (const { metadata } of answers) expect(metadata).toMatchObject({ ver, ...named })
  // First as a bad key, then as one more of an address that tries bad keys, at last as a key that is too fast.
  const runs = (pattern: RegExp) => answers.filter(({ message }) => pattern.test(message)).length
  expect([runs(/missing, unknown/), runs(/came from this address/), runs(/a second with this/)]).toEqual([60, 3, 1])
})
