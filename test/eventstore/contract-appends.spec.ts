import { randomUUID } from 'node:crypto'
import {
  ANY,
  jsonEvent,
  MaxAppendSizeExceededError,
  NO_STREAM,
  STREAM_EXISTS,
  StreamDeletedError,
  WrongExpectedVersionError,
} from '@eventstore/db-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ExpectedRevision, NewEvent } from '../../src/eventstore/store.ts'
import {
  append,
  collect,
  idsOf,
  newEvent,
  newEvents,
  newStream,
  type ServerUnderTest,
  startServerUnderTest,
} from './server-under-test.ts'

let server: ServerUnderTest
beforeAll(async () => {
  server = await startServerUnderTest()
})
afterAll(() => server.stop())

const send = (stream: string, expectedRevision: ExpectedRevision, events: readonly NewEvent[]) =>
  server.store.send({ stream, expectedRevision, events }, 10_000)
const read = (stream: string) => collect(server.store.readForward(stream, 0n))
const clientEvent = (id = randomUUID()) => jsonEvent({ id, type: 'Tested', data: { value: 1 } })

describe('the expected revision', () => {
  it('no_stream begins a stream and refuses one that exists', async () => {
    const stream = newStream()
    expect(await send(stream, 'no_stream', newEvents(2))).toEqual({ kind: 'appended', revision: 1n })
    expect(await send(stream, 'no_stream', newEvents(1))).toEqual({ kind: 'conflict' })
  })

  it('an exact revision must be the head: neither behind it nor ahead of it', async () => {
    const stream = newStream()
    expect(await send(stream, 0n, newEvents(1))).toEqual({ kind: 'conflict' })
    await append(server.store, stream, 'no_stream', newEvents(3))
    expect(await send(stream, 1n, newEvents(1))).toEqual({ kind: 'conflict' })
    expect(await send(stream, 3n, newEvents(1))).toEqual({ kind: 'conflict' })
    expect(await send(stream, 2n, newEvents(1))).toEqual({ kind: 'appended', revision: 3n })
  })

  it('a conflict names the expected and the actual revision', async () => {
    const stream = newStream()
    await append(server.store, stream, 'no_stream', newEvents(2))
    const refused = server.client.appendToStream(stream, clientEvent(), { expectedRevision: 7n })
    await expect(refused).rejects.toMatchObject({ streamName: stream, expectedVersion: 7n, actualVersion: 1n })
    const absent = server.client.appendToStream(newStream(), clientEvent(), { expectedRevision: 7n })
    await expect(absent).rejects.toMatchObject({ expectedVersion: 7n, actualVersion: 'no_stream' })
  })

  it('ANY appends at the head, whatever it is', async () => {
    const stream = newStream()
    for (const revision of [0n, 1n]) {
      const result = await server.client.appendToStream(stream, clientEvent(), { expectedRevision: ANY })
      expect(result.nextExpectedRevision).toBe(revision)
    }
  })

  it('STREAM_EXISTS refuses an absent stream and appends to one that exists', async () => {
    const stream = newStream()
    const absent = server.client.appendToStream(stream, clientEvent(), { expectedRevision: STREAM_EXISTS })
    await expect(absent).rejects.toBeInstanceOf(WrongExpectedVersionError)
    await server.client.appendToStream(stream, clientEvent(), { expectedRevision: NO_STREAM })
    const result = await server.client.appendToStream(stream, clientEvent(), { expectedRevision: STREAM_EXISTS })
    expect(result.nextExpectedRevision).toBe(1n)
  })

  it('lets exactly one of many writers win each revision', async () => {
    const stream = newStream()
    await append(server.store, stream, 'no_stream', newEvents(1))
    for (let head = 0n; head < 5n; head += 1n) {
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => send(stream, head, newEvents(1))))
      expect(outcomes.filter(({ kind }) => kind === 'appended')).toHaveLength(1)
      expect(outcomes.filter(({ kind }) => kind === 'conflict')).toHaveLength(19)
    }
    expect((await read(stream)).map(({ revision }) => revision)).toEqual([0n, 1n, 2n, 3n, 4n, 5n])
  })
})

describe('a retry', () => {
  it('with the same ids at the same revision gives the original success, however much came after', async () => {
    const stream = newStream()
    const first = newEvents(2)
    const second = newEvents(3)
    await append(server.store, stream, 'no_stream', first)
    await append(server.store, stream, 1n, second)
    await append(server.store, stream, 4n, newEvents(4))
    expect(await send(stream, 'no_stream', first)).toEqual({ kind: 'appended', revision: 1n })
    expect(await send(stream, 1n, second)).toEqual({ kind: 'appended', revision: 4n })
    expect(await read(stream)).toHaveLength(9)
  })

  it('that overtakes its original is one append with it', async () => {
    const stream = newStream()
    const events = newEvents(3)
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => send(stream, 'no_stream', events)))
    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome, (_, value) => String(value)))).size).toBe(1)
    expect(idsOf(await read(stream))).toEqual(idsOf(events))
  })

  it('with the same ids at a later revision appends them again', async () => {
    const stream = newStream()
    const events = newEvents(2)
    await append(server.store, stream, 'no_stream', events)
    expect(await send(stream, 1n, events)).toEqual({ kind: 'appended', revision: 3n })
    expect(idsOf(await read(stream))).toEqual([...idsOf(events), ...idsOf(events)])
  })

  it('at the same revision with another first id is a conflict', async () => {
    const stream = newStream()
    const events = newEvents(2)
    await append(server.store, stream, 'no_stream', events)
    expect(await send(stream, 'no_stream', [newEvent(), ...events.slice(1)])).toEqual({ kind: 'conflict' })
  })

  it('of a batch that has grown is a conflict, although its first part is there', async () => {
    const stream = newStream()
    const events = newEvents(2)
    await append(server.store, stream, 'no_stream', events)
    expect(await send(stream, 'no_stream', [...events, newEvent()])).toEqual({ kind: 'conflict' })
    await append(server.store, stream, 1n, newEvents(2))
    expect(await send(stream, 'no_stream', [...events, newEvent()])).toEqual({ kind: 'conflict' })
    expect(await read(stream)).toHaveLength(4)
  })

  it('of a batch that has changed after its first event is a conflict', async () => {
    const stream = newStream()
    const events = newEvents(3)
    await append(server.store, stream, 'no_stream', events)
    const changed = [...events.slice(0, 1), newEvent(), ...events.slice(2)]
    expect(await send(stream, 'no_stream', changed)).toEqual({ kind: 'conflict' })
  })

  it('of the first part of a batch is a success at that part', async () => {
    const stream = newStream()
    const events = newEvents(3)
    await append(server.store, stream, 'no_stream', events)
    expect(await send(stream, 'no_stream', events.slice(0, 2))).toEqual({ kind: 'appended', revision: 1n })
  })

  it('with ANY is recognised while the server remembers the ids', async () => {
    const stream = newStream()
    const event = clientEvent()
    await server.client.appendToStream(stream, event, { expectedRevision: ANY })
    const again = await server.client.appendToStream(stream, event, { expectedRevision: ANY })
    expect(again.nextExpectedRevision).toBe(0n)
    expect(await read(stream)).toHaveLength(1)
  })
})

describe('the size of an append', () => {
  const big = (bytes: number) => newEvent('Big', { text: 'x'.repeat(bytes) })

  it('may be close to 1 MiB', async () => {
    expect(await send(newStream(), 'no_stream', [big(900_000)])).toEqual({ kind: 'appended', revision: 0n })
  })

  it('above 1 MiB is refused and leaves nothing behind, also as the sum of a batch and as several messages', async () => {
    for (const events of [[big(1_100_000)], [big(600_000), big(600_000)], [big(2_000_000), big(2_000_000), big(10)]]) {
      const stream = newStream()
      const outcome = await send(stream, 'no_stream', events)
      expect(outcome).toMatchObject({ kind: 'refused', cause: { maxAppendSize: 1024 * 1024 } })
      expect(outcome.kind === 'refused' && outcome.cause).toBeInstanceOf(MaxAppendSizeExceededError)
      expect(await read(stream)).toEqual([])
    }
    expect(await send(newStream(), 'no_stream', newEvents(1))).toEqual({ kind: 'appended', revision: 0n })
  })

  it('of a batch may be many events', async () => {
    const stream = newStream()
    expect(await send(stream, 'no_stream', newEvents(1_500))).toEqual({ kind: 'appended', revision: 1_499n })
    expect(await read(stream)).toHaveLength(1_500)
  })
})

describe('an append that is not batched', () => {
  // Credentials for a single call make the client use the plain Append call.
  it('obeys the same rules', async () => {
    const stream = newStream()
    const plain = { credentials: { username: 'admin', password: 'changeit' } } as const
    const event = clientEvent()
    for (const _ of ['original', 'retry']) {
      const result = await server.client.appendToStream(stream, event, { ...plain, expectedRevision: NO_STREAM })
      expect(result.nextExpectedRevision).toBe(0n)
    }
    const wrong = server.client.appendToStream(stream, clientEvent(), { ...plain, expectedRevision: 5n })
    await expect(wrong).rejects.toMatchObject({ expectedVersion: 5n, actualVersion: 0n })
    const text = 'x'.repeat(1_200_000)
    const large = jsonEvent({ type: 'Big', data: { text } })
    await expect(server.client.appendToStream(stream, large, plain)).rejects.toBeInstanceOf(MaxAppendSizeExceededError)
  })
})

describe('deletion', () => {
  it('hides a stream; the next append goes on with its numbers', async () => {
    const stream = newStream()
    await append(server.store, stream, 'no_stream', newEvents(3))
    await server.client.deleteStream(stream, { expectedRevision: 2n })
    expect(await read(stream)).toEqual([])
    const reborn = newEvents(2)
    expect(await send(stream, 'no_stream', reborn)).toEqual({ kind: 'appended', revision: 4n })
    const shown = await read(stream)
    expect(shown.map(({ id, revision }) => [id, revision])).toEqual([
      [reborn[0]?.id, 3n],
      [reborn[1]?.id, 4n],
    ])
  })

  it('checks the expected revision', async () => {
    const stream = newStream()
    await append(server.store, stream, 'no_stream', newEvents(3))
    const wrong = server.client.deleteStream(stream, { expectedRevision: 7n })
    await expect(wrong).rejects.toBeInstanceOf(WrongExpectedVersionError)
    expect(await read(stream)).toHaveLength(3)
  })

  it('by a tombstone ends the stream for ever', async () => {
    const stream = newStream()
    await append(server.store, stream, 'no_stream', newEvents(2))
    await server.client.tombstoneStream(stream, { expectedRevision: 1n })
    const outcome = await send(stream, 1n, newEvents(1))
    expect(outcome.kind === 'refused' && outcome.cause).toBeInstanceOf(StreamDeletedError)
    await expect(collect(server.client.readStream(stream))).rejects.toBeInstanceOf(StreamDeletedError)
  })
})

describe('metadata of a stream', () => {
  it('is kept, and its limits hold for reads', async () => {
    const stream = newStream()
    await append(server.store, stream, 'no_stream', newEvents(6))
    expect(await server.client.getStreamMetadata(stream)).toEqual({ streamName: stream })
    await server.client.setStreamMetadata(stream, { maxCount: 2, owner: 'contract' })
    expect((await server.client.getStreamMetadata(stream)).metadata).toEqual({ maxCount: 2, owner: 'contract' })
    expect((await read(stream)).map(({ revision }) => revision)).toEqual([4n, 5n])
    await server.client.setStreamMetadata(stream, { truncateBefore: 3 })
    expect((await read(stream)).map(({ revision }) => revision)).toEqual([3n, 4n, 5n])
  })
})
