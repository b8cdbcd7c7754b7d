import { BACKWARDS, binaryEvent, END, FORWARDS, type ResolvedEvent, START } from '@eventstore/db-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

describe('an event', () => {
  it('comes back as it was written, with the time the server took it', async () => {
    const stream = newStream()
    const before = Date.now()
    const event = newEvent('Größe', { text: 'Übergröße 🙂', nested: [1, { two: true }], none: null })
    await append(server.store, stream, 'no_stream', [event])
    const [read] = await collect(server.store.readForward(stream, 0n))
    expect(read).toEqual({ ...event, stream, revision: 0n, created: read?.created })
    expect(Math.abs((read?.created.getTime() ?? 0) - before)).toBeLessThan(10_000)
  })

  it('whose body is no JSON comes as bytes or as text, never as an error', async () => {
    const stream = newStream()
    const data = Buffer.from('{"half": ')
    await server.client.appendToStream(stream, binaryEvent({ type: 'Binary', data }))
    // The client asks an event twice what it is: a writer in another language may say JSON and send something else.
    let asked = 0
    const lying = {
      ...binaryEvent({ type: 'Lying', data }),
      get contentType() {
        asked += 1
        return asked === 1 ? 'application/json' : 'application/octet-stream'
      },
    }
    await server.client.appendToStream(stream, lying as ReturnType<typeof binaryEvent>)
    const [binary, text] = await collect(server.store.readForward(stream, 0n))
    expect(Buffer.from(binary?.data as Uint8Array)).toEqual(data)
    expect(text?.data).toBe('{"half": ')
  })
})

describe('reading a stream', () => {
  const stream = newStream()
  const events = newEvents(25)
  beforeAll(() => append(server.store, stream, 'no_stream', events))

  it('forwards begins at a revision, which is included, and ends at the head or after so many', async () => {
    const { store } = server
    expect(idsOf(await collect(store.readForward(stream, 0n)))).toEqual(idsOf(events))
    expect(idsOf(await collect(store.readForward(stream, 7n)))).toEqual(idsOf(events.slice(7)))
    expect(idsOf(await collect(store.readForward(stream, 7n, 3)))).toEqual(idsOf(events.slice(7, 10)))
    expect(await collect(store.readForward(stream, 25n))).toEqual([])
    expect(await collect(store.readForward(stream, 0n, 0))).toEqual([])
  })

  it('backwards begins at the head or at a revision, which is included', async () => {
    const { store } = server
    const reversed = events.toReversed()
    expect(idsOf(await collect(store.readBackward(stream)))).toEqual(idsOf(reversed))
    expect(idsOf(await collect(store.readBackward(stream, 1)))).toEqual(idsOf(reversed.slice(0, 1)))
    expect(idsOf(await collect(store.readBackward(stream, undefined, 4n)))).toEqual(idsOf(reversed.slice(20)))
    expect(idsOf(await collect(store.readBackward(stream, 2, 4n)))).toEqual(idsOf(reversed.slice(20, 22)))
    expect(idsOf(await collect(store.readBackward(stream, 1, 900n)))).toEqual(idsOf(reversed.slice(0, 1)))
  })

  it('from the other end gives what is there: nothing forwards, the first event backwards', async () => {
    const { client } = server
    const read = async (options: Parameters<typeof client.readStream>[1]) =>
      (await collect(client.readStream(stream, options))).map(({ event }) => event?.revision)
    expect(await read({ direction: FORWARDS, fromRevision: END })).toEqual([])
    expect(await read({ direction: BACKWARDS, fromRevision: START })).toEqual([0n])
  })

  it('that does not exist is empty', async () => {
    expect(await collect(server.store.readForward(newStream(), 0n))).toEqual([])
    expect(await collect(server.store.readBackward(newStream(), 1))).toEqual([])
  })

  it('goes through many pages without gap or double, and can be left early', async () => {
    const long = newStream()
    for (let revision = -1n; revision < 3_999n; revision += 500n) {
      await append(server.store, long, revision < 0n ? 'no_stream' : revision, newEvents(500))
    }
    const forward = await collect(server.store.readForward(long, 0n))
    expect(forward.map(({ revision }) => revision)).toEqual(Array.from({ length: 4_000 }, (_, index) => BigInt(index)))
    const backward = await collect(server.store.readBackward(long))
    expect(idsOf(backward)).toEqual(idsOf(forward.toReversed()))
    for await (const event of server.store.readForward(long, 0n)) if (event.revision === 700n) break
    expect(await collect(server.store.readForward(long, 3_999n))).toHaveLength(1)
  })

  it('of large events is cut into pages by bytes', async () => {
    const large = newStream()
    for (let revision = -1n; revision < 11n; revision += 1n) {
      const event = newEvent('Large', { text: 'x'.repeat(900_000) })
      await append(server.store, large, revision < 0n ? 'no_stream' : revision, [event])
    }
    expect(await collect(server.store.readForward(large, 0n))).toHaveLength(12)
    expect(await collect(server.store.readBackward(large))).toHaveLength(12)
  })
})

describe('reading $all', () => {
  const stream = newStream()
  const events = newEvents(5)
  beforeAll(async () => {
    for (const [index, event] of events.entries()) {
      await append(server.store, stream, index === 0 ? 'no_stream' : BigInt(index - 1), [event])
      await append(server.store, newStream('other'), 'no_stream', newEvents(1))
    }
  })
  const mine = (all: readonly ResolvedEvent[]) =>
    all.flatMap(({ event }) => (event?.streamId === stream ? [event.id] : []))

  it('both ways gives the events of all streams in the order of their commit', async () => {
    const { client } = server
    const forwards = await collect(client.readAll())
    const backwards = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END }))
    expect(mine(forwards)).toEqual(idsOf(events))
    expect(mine(backwards)).toEqual(idsOf(events.toReversed()))
    const positions = forwards.flatMap(({ event }) => (event?.position === undefined ? [] : [event.position]))
    expect(positions).toHaveLength(forwards.length)
    for (const [index, { commit, prepare }] of positions.entries()) {
      expect(commit).toBeGreaterThan(positions[index - 1]?.commit ?? -1n)
      expect(commit).toBeGreaterThanOrEqual(prepare)
    }
  })

  it('begins at a position, which is included', async () => {
    const { client } = server
    const all = await collect(client.readAll())
    const from = all.find(({ event }) => event?.id === events[2]?.id)?.event?.position
    if (from === undefined) throw new Error('The third event has no position')
    expect(mine(await collect(client.readAll({ fromPosition: from })))).toEqual(idsOf(events.slice(2)))
    const [first] = await collect(client.readAll({ fromPosition: from, maxCount: 1 }))
    expect(first?.event?.id).toBe(events[2]?.id)
  })
})

describe('reading everything', () => {
  it('is in the order of the log, of the streams asked for, after a position, and ends where the log ends', async () => {
    const { store } = server
    const prefix = `all-${newStream()}`
    const [a, b] = [`${prefix}-a`, `${prefix}-b`]
    const events = newEvents(400)
    await append(store, a, 'no_stream', events.slice(0, 100))
    await append(store, b, 'no_stream', events.slice(100, 250))
    await append(store, a, 99n, events.slice(250))
    const all = await collect(store.readAll({ prefixes: [a, b] }))
    expect(idsOf(all)).toEqual(idsOf(events))
    expect(idsOf(await collect(store.readAll({ prefixes: [b] })))).toEqual(idsOf(events.slice(100, 250)))
    const after = all[120]?.position
    expect(idsOf(await collect(store.readAll({ prefixes: [a, b], after })))).toEqual(idsOf(events.slice(121)))
    expect(await collect(store.readAll({ prefixes: [a, b], after: all.at(-1)?.position }))).toEqual([])
  })
})
