import { expect, test } from 'vitest'
import { errorAnswer } from '../../src/http/schemas.ts'
import { verdict } from '../support/given.ts'
import { checkBody, createWorld, errorOf, image } from './harness.ts'
import { checkHead, openSocket } from './sockets.ts'

test.each([
  ['GET', '/'],
  ['GET', '/v1'],
  ['GET', '/v1/check/liveness'],
  ['PUT', '/v1/check/liveness'],
  ['POST', '/v1/usage'],
  ['DELETE', '/v1/health'],
  ['POST', '/v2/check/liveness'],
  ['GET', '/v1/usage/'],
  ['GET', '/%zz'],
] as const)('%s %s is not_found in the common structure, whatever its body', async (method, url) => {
  const { app } = await (await createWorld()).instance()
  const payload = method === 'GET' ? {} : { payload: '{broken', headers: { 'content-type': 'application/json' } }
  const answer = errorOf(await app.inject({ method, url, ...payload }))
  expect(answer).toMatchObject({ status: 404, code: 'not_found', metadata: { customer_id: null, ver: '1.2.3' } })
})

test('HEAD answers like GET without a body; OPTIONS names the methods and needs no key', async () => {
  const world = await createWorld()
  const { app } = await world.instance()
  const health = await app.inject({ method: 'HEAD', url: '/v1/health' })
  expect([health.statusCode, health.body]).toEqual([200, ''])
  const usage = await app.inject({ method: 'HEAD', url: '/v1/usage', headers: { 'x-api-key': world.primary.secret } })
  expect([usage.statusCode, usage.body]).toEqual([200, ''])
  expect((await app.inject({ method: 'HEAD', url: '/v1/usage' })).statusCode).toBe(401)
  const options = await app.inject({ method: 'OPTIONS', url: '/v1/check/liveness' })
  expect([options.statusCode, options.headers.allow]).toEqual([204, 'OPTIONS, POST'])
})

test('what is no HTTP is invalid_request in the common structure', async () => {
  const { listen } = await (await createWorld()).instance()
  const { port } = await listen()
  const { socket, received, closed } = openSocket(port)
  socket.write('nonsense\r\n\r\n')
  await closed
  const [head = '', body = ''] = received().split('\r\n\r\n')
  expect(head).toMatch(/^HTTP\/1.1 400 /)
  expect(errorAnswer.parse(JSON.parse(body)).error.code).toBe('invalid_request')
})

test('a body that grows past the limit without announcing it ends in 400 and a clean close', async () => {
  const world = await createWorld()
  const { listen } = await world.instance()
  const { url } = await listen()
  const chunk = Buffer.alloc(1024 * 1024, 'A')
  async function* endless() {
    for (let i = 0; i < 12; i++) yield chunk
  }
  const response = await fetch(`${url}/v1/check/liveness`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': world.primary.secret },
    body: ReadableStream.from(endless()),
    duplex: 'half',
  } as RequestInit)
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    metadata: { customer_id: world.customerId },
    error: { code: 'invalid_request' },
  })
})

test('logs tell of every request, and hold no key, no image and no query', async () => {
  const world = await createWorld()
  const { app, check, deps } = await world.instance()
  await check()
  await check({ key: `${world.primary.secret.slice(0, -1)}?` })
  await app.inject(`/v1/usage?key=${world.primary.secret}`)
  deps.logger.error(new Error(`told by mistake: ${world.primary.secret}`), 'x'.repeat(300))
  const log = world.logged.join('')
  expect(log.match(/"answered"/g)).toHaveLength(3)
  expect(JSON.parse(world.logged[0] ?? '')).toMatchObject({
    route: '/v1/check/liveness',
    status: 200,
    customerId: world.customerId,
    keyId: world.primary.key.keyId,
  })
  expect(log).not.toContain(world.primary.secret)
  expect(log).not.toContain(image)
  expect(log).not.toContain('?key')
  expect(log).toContain('lc_[redacted]')
})

test('behind a trusted proxy each client address has its own allowance of bad keys', async () => {
  const world = await createWorld({}, { trustProxy: 1 })
  const { app } = await world.instance()
  const attempt = (address: string) => app.inject({ url: '/v1/usage', headers: { 'x-forwarded-for': address } })
  for (let i = 0; i < 60; i++) await attempt('203.0.113.1')
  expect((await attempt('203.0.113.1')).statusCode).toBe(429)
  expect((await attempt('203.0.113.2')).statusCode).toBe(401)
})

test('a drain finishes and bills the check in flight, refuses new ones with Connection: close, then closes', async () => {
  const world = await createWorld()
  const { listen, drainAndClose } = await world.instance()
  const { port, url } = await listen()
  let begun = () => {}
  const inference = new Promise<void>((resolve) => {
    begun = resolve
  })
  let finish = () => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  world.infer = async () => {
    begun()
    await finished
    return { verdict }
  }
  const body = JSON.stringify(checkBody)
  const inFlight = openSocket(port)
  inFlight.socket.write(checkHead(world.primary.secret, body.length) + body)
  await inference

  const drained = drainAndClose()
  const refused = await fetch(`${url}/v1/check/liveness`, { method: 'POST', body })
  expect(refused.status).toBe(503)
  expect(refused.headers.get('connection')).toBe('close')
  expect(await refused.json()).toMatchObject({ error: { code: 'service_unavailable' } })
  const health = await fetch(`${url}/v1/health`)
  expect([health.status, await health.json()]).toEqual([503, { status: 'error', message: 'shutting down' }])

  finish()
  await drained
  expect(await inFlight.closed).toBe('clean')
  expect(inFlight.received()).toMatch(/^HTTP\/1.1 200 OK\r\n.*connection: close\r\n.*"remaining_calls":4999/is)
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
  await expect(fetch(`${url}/v1/health`)).rejects.toThrow()
})

test('connections that are idle, or stuck in the middle of a request head, do not hold the close up', async () => {
  const { listen, drainAndClose } = await (await createWorld()).instance()
  const { port } = await listen()
  const idle = openSocket(port)
  idle.socket.write('GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await idle.until(/"ok"/)
  const stuck = openSocket(port)
  stuck.socket.write('GET /v1/health HTT')
  await new Promise((resolve) => stuck.socket.once('ready', resolve))
  await drainAndClose()
  await Promise.all([idle.closed, stuck.closed])
})
