import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ANY, EventStoreDBClient, jsonEvent } from '@eventstore/db-client'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { builtModule } from '../../src/built.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { type EventStore, EventStoreUnavailable, type PositionedEvent } from '../../src/eventstore/store.ts'
import { startEmbeddedPostgres } from '../../src/postgres/embedded.ts'
import { startProxy } from '../support/proxy.ts'
import {
  append,
  appendAtLast,
  collect,
  database,
  idsOf,
  newEvents,
  newStream,
  ownsServer,
  take,
} from './server-under-test.ts'

if (!ownsServer)
  console.warn('SKIPPED: restarts and kills need a server that the suite may stop (EVENTSTORE_URL is set)')

// Longer than all waits of a test together.
vi.setConfig({ testTimeout: 120_000 })

/** Undone in reverse order after each test. */
const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function start(databaseUrl: string) {
  const server = await startEmbeddedEventStore({ databaseUrl })
  const store = connectEventStore(server.url, { readSilenceMs: 2_000 })
  cleanUps.push(
    () => server.stop(),
    () => store.close(),
  )
  return { server, store }
}

/** Writers that append until told to stop, each event once, whatever happens to the server. */
function load(store: EventStore, prefix: string, writers: number) {
  let over = false
  const writing = Promise.all(
    Array.from({ length: writers }, async (_, index) => {
      const stream = `${prefix}-${index}`
      const ids: string[] = []
      while (!over) {
        const events = newEvents(1 + (ids.length % 3))
        const revision = ids.length === 0 ? 'no_stream' : BigInt(ids.length - 1)
        const outcome = await appendAtLast(store, stream, revision, events)
        ids.push(...idsOf(events))
        expect(outcome).toEqual({ kind: 'appended', revision: BigInt(ids.length - 1) })
      }
      return { stream, ids }
    }),
  )
  writing.catch(() => undefined)
  return {
    stop: () => {
      over = true
      return writing
    },
  }
}

/** Follows a prefix through all disturbances; what it saw, in order. */
function watch(store: EventStore, prefix: string) {
  const seen: PositionedEvent[] = []
  const controller = new AbortController()
  const watching = (async () => {
    while (!controller.signal.aborted) {
      try {
        const after = seen.at(-1)?.position
        for await (const event of store.subscribe({ prefixes: [prefix], after, signal: controller.signal })) {
          seen.push(event)
        }
      } catch (error) {
        expect(error).toBeInstanceOf(EventStoreUnavailable)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  })()
  return {
    seen,
    async stop(count: number) {
      await vi.waitFor(() => expect(seen.length).toBeGreaterThanOrEqual(count), 10_000)
      controller.abort()
      await watching
      return seen
    },
  }
}

async function expectExactly(
  store: EventStore,
  written: readonly { stream: string; ids: readonly string[] }[],
  watched: ReturnType<typeof watch>,
): Promise<void> {
  for (const { stream, ids } of written) {
    expect(idsOf(await collect(store.readForward(stream, 0n)))).toEqual(ids)
  }
  const seen = await watched.stop(written.reduce((sum, { ids }) => sum + ids.length, 0))
  for (const { stream, ids } of written) {
    expect(seen.filter((event) => event.stream === stream).map(({ id }) => id)).toEqual(ids)
  }
}

const grown = (watched: ReturnType<typeof watch>, by = 60) => {
  const from = watched.seen.length
  return vi.waitFor(() => expect(watched.seen.length).toBeGreaterThan(from + by), 20_000)
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe.skipIf(!ownsServer)('the embedded server', () => {
  it('keeps events, numbers, positions and the memory of exact appends over a restart, and forgets those with ANY', async () => {
    const databaseUrl = await database()
    const first = await start(databaseUrl)
    const stream = newStream()
    const events = newEvents(3)
    await append(first.store, stream, 'no_stream', events)
    const deleted = newStream()
    await append(first.store, deleted, 'no_stream', newEvents(2))
    const any = jsonEvent({ type: 'Any', data: {} })
    const anyStream = newStream()
    const client = EventStoreDBClient.connectionString(first.server.url)
    await client.deleteStream(deleted)
    await client.appendToStream(anyStream, any, { expectedRevision: ANY })
    const prefixes = ['contract']
    const before = await take(first.store.subscribe({ prefixes, signal: new AbortController().signal }), 6)
    await client.dispose()
    await first.server.stop()

    const { store, server } = await start(databaseUrl)
    expect(idsOf(await collect(store.readForward(stream, 0n)))).toEqual(idsOf(events))
    expect(await collect(store.readForward(deleted, 0n))).toEqual([])
    const retry = (expectedRevision: 'no_stream' | bigint) => store.send({ stream, expectedRevision, events }, 5_000)
    expect(await retry('no_stream')).toEqual({ kind: 'appended', revision: 2n })
    expect(await store.send({ stream, expectedRevision: 'no_stream', events: newEvents(1) }, 5_000)).toEqual({
      kind: 'conflict',
    })
    const again = EventStoreDBClient.connectionString(server.url)
    expect((await again.appendToStream(anyStream, any, { expectedRevision: ANY })).nextExpectedRevision).toBe(1n)
    await again.dispose()
    expect(await retry(2n)).toEqual({ kind: 'appended', revision: 5n })
    const after = await take(store.subscribe({ prefixes, signal: new AbortController().signal }), 10)
    expect(after.slice(0, 6)).toEqual(before)
    for (const [index, { position }] of after.entries()) {
      expect(position.commit).toBeGreaterThan(after[index - 1]?.position.commit ?? 0n)
    }
  })

  it('killed in mid-load is started again on its port; no acknowledged event is lost and none is there twice', async () => {
    const { server, store } = await start(await database())
    const watched = watch(store, 'load')
    const writers = load(store, newStream('load'), 12)
    for (let kills = 0; kills < 3; kills += 1) {
      await grown(watched)
      const pid = await vi.waitFor(() => {
        if (server.pid === undefined) throw new Error('not running')
        return server.pid
      }, 10_000)
      process.kill(pid, 'SIGKILL')
      await vi.waitFor(() => expect(alive(pid)).toBe(false), 10_000)
    }
    await grown(watched)
    await expectExactly(store, await writers.stop(), watched)
  })

  it('goes on when Postgres was killed in mid-load; no acknowledged event is lost and none is there twice', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'liveness-eventstore-'))
    await chmod(folder, 0o755)
    const postgres = await startEmbeddedPostgres({ dataDir: folder })
    cleanUps.push(
      () => rm(folder, { recursive: true, force: true }),
      () => postgres.stop(),
    )
    const { server, store } = await start(postgres.url)
    const { pid } = server
    const watched = watch(store, 'load')
    const writers = load(store, newStream('load'), 12)
    for (let kills = 0; kills < 2; kills += 1) {
      await grown(watched)
      const { pid: killed } = postgres
      process.kill(killed, 'SIGKILL')
      // What had been read before goes on arriving: that alone does not say that the next one is there to be killed.
      await vi.waitFor(() => expect(postgres.pid).not.toBe(killed), 20_000)
    }
    await grown(watched)
    await expectExactly(store, await writers.stop(), watched)
    expect(server.pid).toBe(pid)
  })

  it('without Postgres leaves appends unknown and reads unavailable, and works again when it is back', async () => {
    const databaseUrl = new URL(await database())
    const proxy = await startProxy(Number(databaseUrl.port))
    cleanUps.push(() => proxy.stop())
    databaseUrl.port = String(proxy.port)
    const { store } = await start(databaseUrl.href)
    const stream = newStream()
    await append(store, stream, 'no_stream', newEvents(2))
    const watched = watch(store, 'contract')
    await vi.waitFor(() => expect(watched.seen).toHaveLength(2), 10_000)

    proxy.refuse()
    const startedAt = performance.now()
    const events = newEvents(1)
    expect((await store.send({ stream, expectedRevision: 1n, events }, 10_000)).kind).toBe('unknown')
    // Of itself, and not at its deadline.
    expect(performance.now() - startedAt).toBeLessThan(8_000)
    await expect(collect(store.readForward(stream, 0n))).rejects.toBeInstanceOf(EventStoreUnavailable)

    proxy.pass()
    expect(await appendAtLast(store, stream, 1n, events)).toEqual({ kind: 'appended', revision: 2n })
    await vi.waitFor(async () => expect(await collect(store.readForward(stream, 0n))).toHaveLength(3), 10_000)
    expect(await watched.stop(3)).toHaveLength(3)
  })

  it("answers unknown to a commit whose outcome it never learnt, and then finds it in Postgres's table", async () => {
    const databaseUrl = new URL(await database())
    const proxy = await startProxy(Number(databaseUrl.port))
    cleanUps.push(() => proxy.stop())
    databaseUrl.port = String(proxy.port)
    const { store } = await start(databaseUrl.href)
    const stream = newStream()
    await append(store, stream, 'no_stream', newEvents(1))
    const watched = watch(store, 'contract')
    await vi.waitFor(() => expect(watched.seen).toHaveLength(1), 10_000)

    proxy.swallowAnswers()
    const events = newEvents(2)
    const sent = store.send({ stream, expectedRevision: 0n, events }, 20_000)
    await vi.waitFor(() => expect(proxy.swallowedBytes).toBeGreaterThan(0), 10_000)
    proxy.cut()
    expect((await sent).kind).toBe('unknown')
    proxy.pass()
    // Its own retry is recognised, another attempt in its place is not taken for it, and it was published once.
    expect(await appendAtLast(store, stream, 0n, events)).toEqual({ kind: 'appended', revision: 2n })
    expect((await appendAtLast(store, stream, 0n, newEvents(2))).kind).toBe('conflict')
    await append(store, stream, 2n, newEvents(1))
    const seen = await watched.stop(4)
    expect(seen.map(({ revision }) => revision)).toEqual([0n, 1n, 2n, 3n])
  })

  it('waits for another event store on the same database to end before it writes', async () => {
    const databaseUrl = await database()
    const first = await start(databaseUrl)
    const stream = newStream()
    await append(first.store, stream, 'no_stream', newEvents(1))
    let second: Awaited<ReturnType<typeof start>> | undefined
    const starting = start(databaseUrl).then((started) => {
      second = started
      return started
    })
    for (let revision = 0n; revision < 50n; revision += 1n) await append(first.store, stream, revision, newEvents(1))
    expect(second).toBeUndefined()
    await first.server.stop()
    const { store } = await starting
    await append(store, stream, 50n, newEvents(1))
    expect(await collect(store.readForward(stream, 0n))).toHaveLength(52)
  })

  it('runs in a process group of its own, out of reach of Ctrl-C', async () => {
    const { server } = await start(await database())
    const groupOf = (pid: number) => execFileSync('ps', ['-o', 'pgid=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    expect(groupOf(server.pid ?? 0)).toBe(String(server.pid))
    expect(groupOf(server.pid ?? 0)).not.toBe(groupOf(process.pid))
  })

  it('ends by itself when its parent was killed', async () => {
    const script = `
      const { startEmbeddedEventStore } = await import(${JSON.stringify(
        builtModule(new URL('../../src/eventstore/embedded/start.ts', import.meta.url).href, './start.js').href,
      )})
      const server = await startEmbeddedEventStore({ databaseUrl: process.env.DATABASE })
      console.log(server.pid)
      setInterval(() => {}, 1000)`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, DATABASE: await database() },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(parent.stdout, 'data')
    const pid = Number(String(line))
    expect(alive(pid)).toBe(true)
    parent.kill('SIGKILL')
    await vi.waitFor(() => expect(alive(pid)).toBe(false), 10_000)
  })

  it('says why it cannot start', async () => {
    const nowhere = startEmbeddedEventStore({ databaseUrl: 'file:///tmp' })
    await expect(nowhere).rejects.toThrow(/could not start: .*postgres/)
  })
})
