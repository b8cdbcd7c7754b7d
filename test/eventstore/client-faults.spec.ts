import { ServerFeaturesService } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js'
import features from '@eventstore/db-client/generated/serverfeatures_pb.js'
import { StreamsService } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import pb from '@eventstore/db-client/generated/streams_pb.js'
import { Server, ServerCredentials, type ServerReadableStream, type sendUnaryData, status } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { type Attempt, type EventStore, EventStoreUnavailable } from '../../src/eventstore/store.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import {
  append,
  appendAtLast,
  collect,
  idsOf,
  newEvents,
  newStream,
  type ServerUnderTest,
  startServerUnderTest,
} from './server-under-test.ts'

/*
 * The client behind a network that breaks. An exception or rejection that nobody catches, in this process, fails the
 * run of vitest, and so each of these tests.
 */

let server: ServerUnderTest
let proxy: TcpProxy
let store: EventStore
beforeAll(async () => {
  server = await startServerUnderTest()
})
afterAll(() => server.stop())
beforeEach(async () => {
  proxy = await startProxy(Number(new URL(server.url).port))
  store = connectEventStore(`esdb://127.0.0.1:${proxy.port}?tls=false`, { readSilenceMs: 1_500 })
})
afterEach(async () => {
  await store.close()
  await proxy.stop()
})

const attempt = (stream = newStream(), count = 1): Attempt => ({
  stream,
  expectedRevision: 'no_stream',
  events: newEvents(count),
})
const storedIds = async (stream: string) => idsOf(await collect(server.store.readForward(stream, 0n)))

describe('an append', () => {
  it('whose answer is swallowed ends as unknown at its deadline; the same attempt succeeds later, once', async () => {
    await append(store, newStream(), 'no_stream', newEvents(1))
    proxy.swallowAnswers()
    const doubtful = attempt()
    const startedAt = performance.now()
    expect((await store.send(doubtful, 300)).kind).toBe('unknown')
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    // The server need not have been faster than the deadline.
    await vi.waitFor(() => expect(proxy.swallowedBytes).toBeGreaterThan(0), 10_000)
    await vi.waitFor(async () => expect(await storedIds(doubtful.stream)).toEqual(idsOf(doubtful.events)), 10_000)
    proxy.pass()
    expect(await appendAtLast(store, doubtful.stream, 'no_stream', doubtful.events)).toEqual({
      kind: 'appended',
      revision: 0n,
    })
    expect(await storedIds(doubtful.stream)).toEqual(idsOf(doubtful.events))
  })

  it('answered after its deadline stays unknown, and the connection goes on', async () => {
    await append(store, newStream(), 'no_stream', newEvents(1))
    proxy.freeze()
    const late = Array.from({ length: 50 }, () => attempt())
    const outcomes = await Promise.all(late.map((each) => store.send(each, 200)))
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['unknown']))
    proxy.pass()
    expect(await store.send(attempt(), 5_000)).toEqual({ kind: 'appended', revision: 0n })
    for (const each of late) {
      expect((await store.send(each, 5_000)).kind).toBe('appended')
      expect(await storedIds(each.stream)).toEqual(idsOf(each.events))
    }
  })

  it('ends as unknown when the connection is cut, also behind a queue of others that were never sent', async () => {
    await append(store, newStream(), 'no_stream', newEvents(1))
    proxy.freeze()
    // Far more than fits into the buffers between us and the server.
    const many = Array.from({ length: 300 }, () => attempt(newStream(), 30))
    const sent = Promise.all(many.map((each) => store.send(each, 20_000)))
    await vi.waitFor(() => expect(proxy.connections).toBe(1))
    await new Promise((resolve) => setImmediate(resolve))
    proxy.cut()
    expect(new Set((await sent).map(({ kind }) => kind))).toEqual(new Set(['unknown']))
    proxy.pass()
    for (const each of many.slice(0, 20)) {
      expect((await appendAtLast(store, each.stream, 'no_stream', each.events)).kind).toBe('appended')
      expect(await storedIds(each.stream)).toEqual(idsOf(each.events))
    }
  })

  it('survives that another connection of the process fails, and its own late answer after that', async () => {
    const otherProxy = await startProxy(Number(new URL(server.url).port))
    const other = connectEventStore(`esdb://127.0.0.1:${otherProxy.port}?tls=false`)
    await append(store, newStream(), 'no_stream', newEvents(1))
    await append(other, newStream(), 'no_stream', newEvents(1))
    proxy.freeze()
    otherProxy.freeze()
    const mine = attempt()
    const [outcome, otherOutcome] = [store.send(mine, 10_000), other.send(attempt(), 10_000)]
    await new Promise((resolve) => setTimeout(resolve, 100))
    otherProxy.cut() // rejects, and forgets, the appends in flight of every connection
    expect((await otherOutcome).kind).toBe('unknown')
    expect((await outcome).kind).toBe('unknown')
    proxy.pass() // now the server's answer to the first arrives, and nobody knows it any more
    expect(await store.send(attempt(), 5_000)).toEqual({ kind: 'appended', revision: 0n })
    expect(await storedIds(mine.stream)).toEqual(idsOf(mine.events))
    await other.close()
    await otherProxy.stop()
  })

  it('is unknown while there is no server, from the first on, and works as soon as there is one', async () => {
    proxy.refuse()
    const first = attempt()
    for (let tries = 0; tries < 3; tries += 1) expect((await store.send(first, 3_000)).kind).toBe('unknown')
    proxy.pass()
    expect((await appendAtLast(store, first.stream, 'no_stream', first.events)).kind).toBe('appended')
  })

  it('that cannot be encoded is refused', async () => {
    const [event] = newEvents(1)
    if (event === undefined) throw new Error('no event')
    const outcome = await store.send({ ...attempt(), events: [{ ...event, data: { amount: 1n } }] }, 1_000)
    expect(outcome.kind).toBe('refused')
    expect((await store.send({ ...attempt(), events: [] }, 1_000)).kind).toBe('refused')
  })

  it('is in the log exactly once through a network that cuts, delays and swallows all the time', async () => {
    let over = false
    const mischief = (async () => {
      const tricks = [proxy.cut, () => proxy.delay(30), proxy.swallowAnswers, proxy.pass, proxy.freeze, proxy.pass]
      for (let turn = 0; !over; turn += 1) {
        tricks[turn % tricks.length]?.()
        // Longer and longer: on a machine too slow for the first turns nothing would ever come through.
        await new Promise((resolve) => setTimeout(resolve, 60 + turn * 5))
      }
      proxy.pass()
    })()
    const streams = await Promise.all(
      Array.from({ length: 16 }, async () => {
        const stream = newStream()
        const events = newEvents(12)
        for (const [index, event] of events.entries()) {
          const outcome = await appendAtLast(store, stream, index === 0 ? 'no_stream' : BigInt(index - 1), [event])
          expect(outcome).toEqual({ kind: 'appended', revision: BigInt(index) })
        }
        return { stream, ids: idsOf(events) }
      }),
    )
    over = true
    await mischief
    for (const { stream, ids } of streams) expect(await storedIds(stream)).toEqual(ids)
  }, 120_000)
})

describe('the client', () => {
  it('is made anew when it has remembered a failed question for the features of the server', async () => {
    let asked = 0
    const halfServer = new Server()
    halfServer.addService(ServerFeaturesService, {
      getSupportedMethods: (_: unknown, callback: sendUnaryData<features.SupportedMethods>) => {
        asked += 1
        if (asked === 1) callback({ code: status.INTERNAL, details: 'not now' })
        else callback(null, new features.SupportedMethods())
      },
    })
    halfServer.addService(
      { append: StreamsService.append },
      {
        append: (call: ServerReadableStream<pb.AppendReq, pb.AppendResp>, callback: sendUnaryData<pb.AppendResp>) => {
          const success = new pb.AppendResp.Success().setCurrentRevision('0')
          call.resume().on('end', () => callback(null, new pb.AppendResp().setSuccess(success)))
        },
      },
    )
    const port = await new Promise<number>((resolve, reject) =>
      halfServer.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    )
    const poisoned = connectEventStore(`esdb://127.0.0.1:${port}?tls=false`)
    expect((await poisoned.send(attempt(), 5_000)).kind).toBe('unknown')
    expect(await poisoned.send(attempt(), 5_000)).toEqual({ kind: 'appended', revision: 0n })
    await poisoned.close()
    halfServer.forceShutdown()
  })

  it('is one for all connections to an address, until the last of them is closed', async () => {
    const url = `esdb://127.0.0.1:${proxy.port}?tls=false`
    const second = connectEventStore(url)
    await append(store, newStream(), 'no_stream', newEvents(1))
    await append(second, newStream(), 'no_stream', newEvents(1))
    expect(proxy.connections).toBe(1)
    await second.close()
    await append(store, newStream(), 'no_stream', newEvents(1))
    expect(proxy.connections).toBe(1)
  })
})

describe('a read', () => {
  it('of a server that is silent, gone or lost half-way is unavailable, and works again afterwards', async () => {
    const stream = newStream()
    await append(store, stream, 'no_stream', newEvents(1_000))
    proxy.freeze()
    const startedAt = performance.now()
    await expect(collect(store.readForward(stream, 0n))).rejects.toBeInstanceOf(EventStoreUnavailable)
    // After the silence allowed here, and not the usual 5 s.
    expect(performance.now() - startedAt).toBeLessThan(4_500)
    proxy.pass()
    expect(await collect(store.readForward(stream, 0n))).toHaveLength(1_000)

    const cutHalfWay = (async () => {
      for await (const { revision } of store.readForward(stream, 0n)) if (revision === 1n) proxy.refuse()
    })()
    await expect(cutHalfWay).rejects.toBeInstanceOf(EventStoreUnavailable)
    await expect(collect(store.readBackward(stream, 1))).rejects.toBeInstanceOf(EventStoreUnavailable)
    proxy.pass()
    await vi.waitFor(async () => expect(await collect(store.readForward(stream, 0n))).toHaveLength(1_000), 10_000)
  })

  it('may take as long as its reader likes', async () => {
    const stream = newStream()
    await append(store, stream, 'no_stream', newEvents(3))
    let read = 0
    for await (const _ of store.readForward(stream, 0n)) {
      read += 1
      if (read === 1) await new Promise((resolve) => setTimeout(resolve, 3_500)) // more than twice the allowed silence
    }
    expect(read).toBe(3)
  })
})

describe('a subscription', () => {
  it('is unavailable when the connection is cut, and goes on after the last event without gap or double', async () => {
    const prefix = newStream('cut')
    const ids = await Promise.all(
      ['a', 'b', 'c'].map(async (name) => {
        const events = newEvents(200)
        await append(server.store, `${prefix}-${name}`, 'no_stream', events)
        return idsOf(events)
      }),
    )
    const seen: { id: string; position: { commit: bigint; prepare: bigint } }[] = []
    let cuts = 0
    while (seen.length < 600) {
      try {
        const after = seen.at(-1)?.position
        for await (const event of store.subscribe({
          prefixes: [prefix],
          after,
          signal: new AbortController().signal,
        })) {
          seen.push(event)
          if (seen.length % 150 === 0) proxy.cut()
          if (seen.length === 600) break
        }
      } catch (error) {
        expect(error).toBeInstanceOf(EventStoreUnavailable)
        cuts += 1
      }
    }
    expect(cuts).toBeGreaterThanOrEqual(1)
    expect(new Set(seen.map(({ id }) => id))).toEqual(new Set(ids.flat()))
    expect(seen).toHaveLength(600)
  })

  it('that waits for events is unavailable when the server goes', async () => {
    const waiting = collect(store.subscribe({ prefixes: [newStream('waiting')], signal: new AbortController().signal }))
    await vi.waitFor(() => expect(proxy.connections).toBe(1), 10_000)
    proxy.refuse()
    await expect(waiting).rejects.toBeInstanceOf(EventStoreUnavailable)
  })

  it("ends the server's call when its reader leaves or aborts", async () => {
    const prefix = newStream('leave')
    await append(server.store, prefix, 'no_stream', newEvents(2))
    for (let round = 0; round < 20; round += 1) {
      const controller = new AbortController()
      for await (const _ of store.subscribe({ prefixes: [prefix], signal: controller.signal })) {
        if (round % 2 === 0) break
        controller.abort()
      }
    }
    // Whatever a call left behind would now fail, with nobody listening.
    proxy.cut()
    expect((await store.send(attempt(), 5_000)).kind).toMatch(/unknown|appended/)
  })
})
