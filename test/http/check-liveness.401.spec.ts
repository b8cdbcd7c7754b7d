import { expect, test } from 'vitest'
import { makeApiKey } from '../../src/commands/keys.ts'
import { createWorld, errorOf, image } from './harness.ts'
import { checkHead, openSocket } from './sockets.ts'

const refusal = { status: 401, code: 'invalid_api_key' }
const anonymous = { customer_id: null, remaining_calls: null, over_limit_calls: null }

test.each([
  ['no key', {}],
  ['an empty key', { 'x-api-key': '' }],
  ['something else than a key', { 'x-api-key': 'Bearer abc' }],
  ['an unknown key', { 'x-api-key': makeApiKey().secret }],
])('%s is refused and nobody is named', async (_, headers) => {
  const { app } = await (await createWorld()).instance()
  const answer = errorOf(await app.inject({ method: 'POST', url: '/v1/check/liveness', headers, payload: {} }))
  expect(answer).toMatchObject(refusal)
  expect(answer.metadata).toMatchObject(anonymous)
})

test('a key regenerated through one instance is refused by another on the next request', async () => {
  const world = await createWorld()
  const [one, two] = [await world.instance(), await world.instance()]
  expect((await two.check()).statusCode).toBe(200)
  const next = makeApiKey()
  const origin = { correlationId: 'test', causationId: 'test', actor: 'operator' }
  const command = { type: 'RegenerateApiKey', slot: 'primary', key: next.key } as const
  await one.deps.ledgers.execute(world.customerId, { command, origin })
  expect(errorOf(await two.check())).toMatchObject(refusal)
  expect((await two.check({ key: next.secret })).statusCode).toBe(200)
})

test('a key that only the log knows to be revoked cannot bill a call, though the key table still lists it', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  expect((await check()).statusCode).toBe(200)
  world.keyTableRevision = world.store.all().length - 1
  await world.command({ type: 'DeactivateApiKey', slot: 'primary', reason: 'test' })
  const answer = errorOf(await check())
  expect(answer).toMatchObject(refusal)
  expect(answer.metadata).toMatchObject(anonymous)
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
  // Now this instance's ledger knows it, and the next request does not even reach the inference.
  const before = world.inferences
  expect(errorOf(await check())).toMatchObject(refusal)
  expect(world.inferences).toBe(before)
})

test('an expired key is refused from its instant on', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  const { secret, key } = makeApiKey()
  const expiresAt = '2026-05-05T00:00:00.000Z'
  await world.command({ type: 'RegenerateApiKey', slot: 'secondary', key, expiresAt })
  world.now = () => '2026-05-04T23:59:59.999Z'
  expect((await check({ key: secret })).statusCode).toBe(200)
  world.now = () => expiresAt
  expect(errorOf(await check({ key: secret }))).toMatchObject(refusal)
})

test('after the end of a subscription the keys go with the paid month, and come back when it resumes', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  await world.command({ type: 'EndSubscription', licence: { kind: 'none' }, reason: 'cancelled' })
  expect((await check()).statusCode).toBe(200)
  world.now = () => '2026-06-01T00:00:00.000Z'
  expect(errorOf(await check())).toMatchObject(refusal)
  await world.command({ type: 'ResumeSubscription', licence: { kind: 'none' } })
  expect((await check()).statusCode).toBe(200)
})

test('the keys of a deactivated customer are refused by a fresh instance too', async () => {
  const world = await createWorld()
  await world.command({ type: 'DeactivateCustomer', reason: 'test' })
  const { check } = await world.instance()
  expect(errorOf(await check())).toMatchObject(refusal)
  expect(world.inferences).toBe(0)
})

test('the answer is there before the body is sent, and an 11 MB body then ends in a clean close', async () => {
  const { listen } = await (await createWorld()).instance()
  const { port } = await listen()
  const body = JSON.stringify({ image: 'A'.repeat(11_000_000), image_format: 'jpeg' })
  const { socket, until, received, closed } = openSocket(port)
  socket.write(checkHead(makeApiKey().secret, body.length))
  await until(/invalid_api_key.*}}$/s)
  socket.write(body)
  expect(await closed).toBe('clean')
  expect(received()).toMatch(/^HTTP\/1.1 401 .*\r\nconnection: close\r\n/is)
  expect(received().match(/HTTP\/1.1/g)).toHaveLength(1)
})

test('fetch with an 11 MB body and a bad key gets the 401, not a reset, every time', async () => {
  const { listen } = await (await createWorld()).instance()
  const { url } = await listen()
  const body = JSON.stringify({ image: 'A'.repeat(11_000_000), image_format: 'jpeg' })
  for (let i = 0; i < 5; i++) {
    const headers = { 'content-type': 'application/json', 'x-api-key': makeApiKey().secret }
    const response = await fetch(`${url}/v1/check/liveness`, { method: 'POST', headers, body })
    expect(response.status).toBe(401)
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_api_key' } })
  }
})

test('a client that waits for 100 Continue gets it with a good key, and the refusal alone with a bad one', async () => {
  const world = await createWorld()
  const { listen } = await world.instance()
  const { port } = await listen()
  const body = JSON.stringify({ image, image_format: 'jpeg' })
  const expectation = 'Expect: 100-continue\r\n'

  const good = openSocket(port)
  good.socket.write(checkHead(world.primary.secret, body.length, expectation))
  await good.until(/^HTTP\/1.1 100 Continue\r\n\r\n$/)
  good.socket.write(body)
  await good.until(/HTTP\/1.1 200 OK.*"status":"success"/s)
  good.socket.destroy()

  const bad = openSocket(port)
  bad.socket.write(checkHead(makeApiKey().secret, body.length, expectation))
  expect(await bad.closed).toBe('clean')
  expect(bad.received()).toMatch(/^HTTP\/1.1 401 /)
})
