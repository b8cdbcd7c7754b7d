/** 500, 503, and the cases without any answer. */
import { expect, test, vi } from 'vitest'
import { ClockOutOfService } from '../../src/commands/clock.ts'
import { AttemptInDoubt, LogMismatch, Undeliverable } from '../../src/commands/errors.ts'
import { Overloaded } from '../../src/inference/pool.ts'
import { verdict } from '../support/given.ts'
import { checkBody, createWorld, errorOf } from './harness.ts'
import { checkHead, openSocket } from './sockets.ts'

const unavailable = { status: 503, code: 'service_unavailable' }

test('an unexpected error is internal_error, is logged, and shows nothing of itself', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  world.infer = async () => {
    throw new Error('/secret/path is broken')
  }
  const response = await check()
  expect(errorOf(response)).toMatchObject({ status: 500, code: 'internal_error', metadata: { remaining_calls: 5_000 } })
  expect(response.body).not.toContain('secret')
  expect(world.logged.join('')).toContain('/secret/path is broken')
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(0)
})

test('a full inference queue is 503 with Retry-After and the counters', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  world.infer = async () => {
    throw new Overloaded('Too many checks are waiting')
  }
  const response = await check()
  expect(errorOf(response)).toMatchObject({ ...unavailable, metadata: { remaining_calls: 5_000 } })
  expect(response.headers['retry-after']).toBe('2')
})

test('an answer of the event store that is lost for good is 503, and never billed', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  await check()
  world.store.onSend = () => ({ answerLost: true })
  const answer = errorOf(await check())
  expect(answer).toMatchObject({ ...unavailable, metadata: { customer_id: world.customerId, remaining_calls: null } })
  expect(world.doubts.rows.size).toBe(1)
  // The next command settles it: the call that landed is voided, and its credit given back.
  world.store.onSend = () => ({})
  expect((await check()).json().metadata.remaining_calls).toBe(4_998)
  expect(world.eventsOf('DetectionVoided')).toHaveLength(1)
  expect(world.inTheLog().totalCalls).toBe(2)
})

test('a doubt left by another instance is settled before anything is answered', async () => {
  const world = await createWorld()
  const lost = await world.instance()
  await lost.check()
  world.store.onSend = () => ({ answerLost: true })
  await lost.check()
  world.store.onSend = () => ({})
  const { usage } = await world.instance()
  expect((await usage()).json().data.total_calls).toBe(1)
  expect(world.doubts.rows.size).toBe(0)
})

test('while the event store cannot be read, errors go out without counters', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  world.store.onRead = () => true
  const answer = errorOf(await check())
  expect(answer).toMatchObject({ ...unavailable, metadata: { customer_id: world.customerId, remaining_calls: null } })
})

test('a clock out of service is 503, before any inference', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  world.now = () => {
    throw new ClockOutOfService('The clock differs')
  }
  expect(errorOf(await check())).toMatchObject(unavailable)
  expect(world.inferences).toBe(0)
})

test('a log that is not the one folded raises an alarm', async () => {
  const world = await createWorld()
  const { check, deps } = await world.instance({
    ledgers: { lastKnown: () => undefined, execute: () => Promise.reject(new LogMismatch('another store')) },
  })
  expect(deps.ledgers.lastKnown('')).toBeUndefined()
  expect(errorOf(await check())).toMatchObject(unavailable)
  expect(world.logged.map((line) => JSON.parse(line))).toContainEqual(
    expect.objectContaining({ alarm: 'customer_log' }),
  )
})

test('what Postgres cannot say just now is 503', async () => {
  const world = await createWorld()
  const outage = new Error('connection refused')
  const { check } = await world.instance({
    keys: { find: () => Promise.reject(outage) },
    isUnavailable: (error) => error === outage,
  })
  expect(errorOf(await check())).toMatchObject({ ...unavailable, metadata: { customer_id: null } })
})

test('a call of which nobody knows whether it is billed, and of which not even a note can be made, is not answered', async () => {
  const world = await createWorld()
  const { check, listen } = await world.instance()
  const { port } = await listen()
  await check()
  world.store.onSend = () => ({ answerLost: true })
  world.doubts.record = () => Promise.reject(new Error('Postgres is down'))
  const body = JSON.stringify(checkBody)
  const exchange = openSocket(port)
  exchange.socket.write(checkHead(world.primary.secret, body.length) + body)
  await exchange.closed
  expect(exchange.received()).toBe('')
  expect(world.logged.join('')).toContain(new Undeliverable().name)
  expect(world.logged.join('')).not.toContain(new AttemptInDoubt().name)
})

test('a client that goes away during the inference stops it and is not billed', async () => {
  const world = await createWorld()
  const { check, listen, drainAndClose } = await world.instance()
  const { port } = await listen()
  await check()
  let begun = () => {}
  const inference = new Promise<void>((resolve) => {
    begun = resolve
  })
  let aborted: unknown
  world.infer = (_bytes, _format, signal) =>
    new Promise((_, reject) => {
      signal?.addEventListener('abort', () => {
        aborted = signal.reason
        reject(signal.reason)
      })
      begun()
    })
  const body = JSON.stringify(checkBody)
  const { socket } = openSocket(port)
  socket.write(checkHead(world.primary.secret, body.length) + body)
  await inference
  socket.destroy()
  await drainAndClose()
  expect(aborted).toMatchObject({ name: 'ClientGone' })
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
  expect(world.logged.join('')).toContain('closed before it was answered')
})

test('a client that goes away although the inference does not notice is not billed either', async () => {
  const world = await createWorld()
  const { listen, drainAndClose, deps } = await world.instance()
  const { port } = await listen()
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
  const { socket } = openSocket(port)
  socket.write(checkHead(world.primary.secret, body.length) + body)
  await inference
  socket.destroy()
  await drainAndClose() // returns when the server has noticed
  finish()
  await vi.waitFor(async () => {
    expect(await deps.metrics.metrics()).toContain('{command="RecordDetection",outcome="ClientGone"} 1')
  })
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(0)
})

test('bytes that are no HTTP, behind a check on its connection, do not take the place of its answer', async () => {
  const world = await createWorld()
  const { listen } = await world.instance()
  const { port } = await listen()
  let begun = () => {}
  const inference = new Promise<void>((resolve) => {
    begun = resolve
  })
  world.infer = (_bytes, _format, signal) =>
    new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason))
      begun()
    })
  const body = JSON.stringify(checkBody)
  const { socket, received, closed } = openSocket(port)
  socket.write(checkHead(world.primary.secret, body.length) + body)
  await inference
  socket.write('\x00\x01 nonsense\r\n\r\n')
  await closed
  expect(received()).toBe('')
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(0)
})
