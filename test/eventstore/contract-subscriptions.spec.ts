import { randomUUID } from 'node:crypto'
import { END, eventTypeFilter, START, streamNameFilter } from '@eventstore/db-client'
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
  take,
} from './server-under-test.ts'

let server: ServerUnderTest
beforeAll(async () => {
  server = await startServerUnderTest()
})
afterAll(() => server.stop())

const forever = () => new AbortController().signal

/** Appends `count` events one by one to a stream that begins with `prefix`. */
async function appendOneByOne(stream: string, count: number): Promise<string[]> {
  const events = newEvents(count)
  for (const [index, event] of events.entries()) {
    await append(server.store, stream, index === 0 ? 'no_stream' : BigInt(index - 1), [event])
  }
  return idsOf(events)
}

describe('a subscription to $all', () => {
  it('gives what is stored and then what arrives, of the streams with the prefixes, in order', async () => {
    const prefix = newStream('sub')
    const stored = await appendOneByOne(`${prefix}-a`, 3)
    await appendOneByOne(newStream('unwanted'), 2)
    const taken = take(server.store.subscribe({ prefixes: [`${prefix}-a`, `${prefix}-b`], signal: forever() }), 7)
    const live = await appendOneByOne(`${prefix}-b`, 4)
    expect(idsOf(await taken)).toEqual([...stored, ...live])
  })

  it('gives the events of certain types, whatever their stream, and of no type that only begins like them', async () => {
    const [first, second] = [newStream('typed'), newStream('typed')]
    const of = (type: string) => newEvents(1).map((event) => ({ ...event, type }))
    const type = `Ended${randomUUID().replaceAll('-', '')}`
    const [stored = [], live = []] = [of(type), of(type)]
    await append(server.store, first, 'no_stream', [...stored, ...of(`${type}Twice`), ...of('Other')])
    const taken = take(server.store.subscribe({ types: ['NoSuchType', type], signal: forever() }), 2)
    await append(server.store, second, 'no_stream', live)
    expect(idsOf(await taken)).toEqual(idsOf([...stored, ...live]))
  })

  it('begins after the given position', async () => {
    const prefix = newStream('sub')
    const ids = await appendOneByOne(prefix, 6)
    const first = await take(server.store.subscribe({ prefixes: [prefix], signal: forever() }), 3)
    const after = first.at(-1)?.position
    const rest = await take(server.store.subscribe({ prefixes: [prefix], after, signal: forever() }), 3)
    expect(idsOf([...first, ...rest])).toEqual(ids)
  })

  it('has no gap and no double while appends run, however often it is interrupted', async () => {
    const prefix = newStream('busy')
    const streams = Array.from({ length: 8 }, (_, index) => `${prefix}-${index}`)
    const perStream = 150
    const writing = Promise.all(streams.map((stream) => appendOneByOne(stream, perStream)))
    const seen: { stream: string; revision: bigint; commit: bigint }[] = []
    const total = streams.length * perStream
    while (seen.length < total) {
      const last = seen.at(-1)?.commit
      const after = last === undefined ? undefined : { commit: last, prepare: last }
      let inThisOne = 0
      for await (const event of server.store.subscribe({ prefixes: [prefix], after, signal: forever() })) {
        seen.push({ stream: event.stream, revision: event.revision, commit: event.position.commit })
        inThisOne += 1
        if (inThisOne === 170 || seen.length === total) break
      }
    }
    await writing
    for (const stream of streams) {
      const revisions = seen.filter((event) => event.stream === stream).map(({ revision }) => revision)
      expect(revisions).toEqual(Array.from({ length: perStream }, (_, index) => BigInt(index)))
    }
    for (const [index, { commit }] of seen.entries()) expect(commit).toBeGreaterThan(seen[index - 1]?.commit ?? -1n)
  })

  it('that falls far behind catches up without gap or double', async () => {
    const prefix = newStream('slow')
    const subscription = server.store.subscribe({ prefixes: [prefix], signal: forever() })[Symbol.asyncIterator]()
    await append(server.store, prefix, 'no_stream', newEvents(1))
    expect((await subscription.next()).value?.revision).toBe(0n)
    // More than the server keeps in memory for live subscribers, and far more than fits into buffers on the way.
    const batches = 40
    for (let batch = 0; batch < batches; batch += 1) {
      await append(server.store, prefix, BigInt(batch * 400), newEvents(400))
    }
    for (let revision = 1n; revision <= BigInt(batches * 400); revision += 1n) {
      const { value } = await subscription.next()
      if (value?.revision !== revision) throw new Error(`Expected ${revision}, got ${value?.revision}`)
    }
    const next = subscription.next()
    await append(server.store, prefix, BigInt(batches * 400), newEvents(1))
    expect((await next).value?.revision).toBe(BigInt(batches * 400 + 1))
    await subscription.return?.()
  })

  it('ends when its signal is aborted, also while it waits', async () => {
    const controller = new AbortController()
    const prefix = newStream('abort')
    await appendOneByOne(prefix, 2)
    const ended = (async () => {
      const ids: string[] = []
      for await (const event of server.store.subscribe({ prefixes: [prefix], signal: controller.signal })) {
        ids.push(event.id)
        if (ids.length === 2) setImmediate(() => controller.abort())
      }
      return ids
    })()
    expect(await ended).toHaveLength(2)
  })

  it('is told to many subscribers alike', async () => {
    const prefix = newStream('many')
    const all = Promise.all(
      Array.from({ length: 12 }, () => take(server.store.subscribe({ prefixes: [prefix], signal: forever() }), 50)),
    )
    const ids = await appendOneByOne(prefix, 50)
    for (const events of await all) expect(idsOf(events)).toEqual(ids)
  })
})

describe('filters of $all', () => {
  it('take a stream name by regular expression, and an event type by prefix or regular expression', async () => {
    const stream = newStream('filter')
    const marker = stream.slice(-12)
    const types = [`Alpha${marker}`, `Beta${marker}`, `AlphaBeta${marker}`]
    await append(
      server.store,
      stream,
      'no_stream',
      types.map((type) => newEvent(type)),
    )
    const filters = [
      { filter: streamNameFilter({ regex: `^filter-.*${marker}$` }), expected: types },
      {
        filter: eventTypeFilter({ prefixes: [`Alpha${marker}`, `AlphaBeta${marker}`] }),
        expected: [types[0], types[2]],
      },
      { filter: eventTypeFilter({ regex: `^(Alpha)?Beta${marker}$` }), expected: [types[1], types[2]] },
    ]
    for (const { filter, expected } of filters) {
      const subscription = server.client.subscribeToAll({ fromPosition: START, filter })
      const seen: (string | undefined)[] = []
      for await (const { event } of subscription) {
        seen.push(event?.type)
        if (seen.length === expected.length) break
      }
      await subscription.unsubscribe()
      expect(seen).toEqual(expected)
    }
  })

  it('tell by checkpoints how far the server has looked', async () => {
    const unwanted = newStream('unwanted')
    await append(server.store, unwanted, 'no_stream', newEvents(200))
    const stream = newStream('checkpoint')
    const checkpoints: bigint[] = []
    const filter = streamNameFilter({
      prefixes: [stream],
      checkpointInterval: 1,
      async checkpointReached(_, { commit }) {
        checkpoints.push(commit)
      },
    })
    await append(server.store, stream, 'no_stream', newEvents(1))
    const subscription = server.client.subscribeToAll({ fromPosition: START, filter })
    for await (const { event } of subscription) {
      expect(checkpoints.length).toBeGreaterThanOrEqual(6)
      expect(Math.max(...checkpoints.map(Number))).toBeLessThan(Number(event?.position?.commit))
      break
    }
    await subscription.unsubscribe()
    expect(checkpoints).toEqual(checkpoints.toSorted((a, b) => Number(a - b)))
  })
})

describe('a subscription to one stream', () => {
  it('begins at the start, after a revision, or at the end, and goes on live', async () => {
    const stream = newStream('one')
    await append(server.store, stream, 'no_stream', newEvents(3))
    const follow = (fromRevision: 'start' | 'end' | bigint, count: number) => {
      const subscription = server.client.subscribeToStream(stream, { fromRevision })
      const caughtUp = new Promise((resolve) => subscription.once('caughtUp', resolve))
      const revisions = (async () => {
        const seen: (bigint | undefined)[] = []
        for await (const { event } of subscription) {
          seen.push(event?.revision)
          if (seen.length === count) break
        }
        await subscription.unsubscribe()
        return seen
      })()
      return { caughtUp, revisions }
    }
    const all = [follow(START, 5), follow(1n, 3), follow(END, 2)] as const
    await Promise.all(all.map(({ caughtUp }) => caughtUp))
    await append(server.store, newStream('another'), 'no_stream', newEvents(2))
    await append(server.store, stream, 2n, newEvents(2))
    expect(await Promise.all(all.map(({ revisions }) => revisions))).toEqual([
      [0n, 1n, 2n, 3n, 4n],
      [2n, 3n, 4n],
      [3n, 4n],
    ])
  })

  it('may wait for a stream that does not exist yet', async () => {
    const stream = newStream('later')
    const subscription = server.client.subscribeToStream(stream)
    const first = subscription[Symbol.asyncIterator]().next()
    await append(server.store, stream, 'no_stream', newEvents(1))
    expect((await first).value?.event?.revision).toBe(0n)
    await subscription.unsubscribe()
  })
})

describe('a live subscription', () => {
  it('is given an event only after it is committed: whoever sees it can read it', async () => {
    const prefix = newStream('visible')
    const watching = (async () => {
      let seen = 0
      for await (const event of server.store.subscribe({ prefixes: [prefix], signal: forever() })) {
        const [read] = await collect(server.store.readForward(event.stream, event.revision, 1))
        expect(read?.id).toBe(event.id)
        seen += 1
        if (seen === 40) break
      }
    })()
    await Promise.all(['a', 'b'].map((name) => appendOneByOne(`${prefix}-${name}`, 20)))
    await watching
  })
})
