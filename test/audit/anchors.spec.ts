import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Anchor, anchorFault } from '../../src/audit/anchor.ts'
import { BadAnchor, listAnchors, newestAnchor, readAnchor } from '../../src/audit/anchor-files.ts'
import { anchorOfToday, createLook, type DailyAnchorOptions, startDailyAnchor } from '../../src/audit/daily-anchor.ts'
import { auditedPrefixes, type Heads, passEvent } from '../../src/audit/heads.ts'
import { heldAgainst } from '../../src/audit/held-against.ts'
import { takeAnchor } from '../../src/audit/take-anchor.ts'
import { ClockOutOfService } from '../../src/commands/clock.ts'
import { LogMismatch } from '../../src/commands/errors.ts'
import { eventHash } from '../../src/events/chain.ts'
import { type EventStore, EventStoreUnavailable, type PositionedEvent } from '../../src/eventstore/store.ts'
import { TickFailed } from '../../src/relay/ticks.ts'
import type { Step } from '../support/histories.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { allOf, createWorld, type World } from './world.ts'

let world: World
beforeEach(() => {
  world = createWorld()
})
afterEach(() => world.close())

const calls = (count: number, customers = 3): Step[] =>
  Array.from({ length: count }, (_, i) => ({
    customer: i % customers,
    minutes: 11,
    action: { kind: 'detect', key: undefined },
  }))

/** A store that holds these events and nothing else. */
function storeOf(events: readonly PositionedEvent[]): EventStore {
  const copy = structuredClone(events) as PositionedEvent[]
  const inStream = (stream: string) => copy.filter((event) => event.stream === stream)
  return {
    ...world.store,
    async *readBackward(stream, maxCount) {
      yield* inStream(stream).reverse().slice(0, maxCount)
    },
    async *readAll({ prefixes, after }) {
      yield* copy.filter(
        ({ stream, position }) =>
          prefixes.some((prefix) => stream.startsWith(prefix)) &&
          (after === undefined || position.commit > after.commit),
      )
    },
  }
}

/** What a pass over the whole log finds: broken chains, and what the anchor knew and the log no longer has. */
async function findings(store: EventStore, anchor: Anchor): Promise<string[]> {
  const heads: Heads = new Map()
  const against = heldAgainst(anchor)
  const found = (await allOf(store.readAll({ prefixes: auditedPrefixes }))).flatMap((event) => [
    passEvent(heads, event),
    against.pass(event),
  ])
  return [...found, ...against.missing()]
    .filter((finding) => finding !== null)
    .map(({ stream, revision, fault }) => `${stream} ${revision}: ${fault}`)
}

test('an anchor names every stream, and nothing is wrong with it or with the log it was taken of', async () => {
  await world.player.play(calls(30))
  await world.meter({ hours: 2 })
  const anchor = await world.anchor()
  expect(anchorFault(anchor, world.keys)).toBeNull()
  const withEvents = anchor.heads.filter(([, revision]) => revision !== '-1').map(([stream]) => stream)
  expect(withEvents).toEqual([...new Set(world.store.all().map(({ stream }) => stream))].toSorted())
  const ofCustomers = world.player.customers().map(({ id }) => `metering-${id}`)
  expect(anchor.heads.map(([stream]) => stream)).toEqual(expect.arrayContaining(ofCustomers))
  expect(withEvents).not.toEqual(expect.arrayContaining(ofCustomers))
  expect(await findings(world.store, anchor)).toEqual([])
  const other = generateKeyPairSync('ed25519').publicKey
  expect(anchorFault(anchor, [other])).toBe('it is signed with another key')
  const [[stream, revision] = ['', '']] = anchor.heads
  const changed: Anchor = { ...anchor, heads: anchor.heads.with(0, [stream, revision, 'a'.repeat(64)]) }
  expect(anchorFault(changed, world.keys)).toBe('its heads do not make its root')
})

test('an anchor taken from an earlier one on is the one taken from the start', async () => {
  await world.player.play(calls(12))
  await world.anchor()
  await world.player.play(calls(12))
  const { store, privateKey: signingKey, tick } = world
  const onwards = await world.anchor()
  const anew = await takeAnchor({ store, signingKey, tick }, { earlier: null, fresh: false })
  expect(onwards).toEqual(anew)
  const again = await takeAnchor({ store, signingKey, tick }, { earlier: onwards, fresh: false })
  expect(again).toEqual(onwards)
})

test('without any tick, one is appended', async () => {
  await world.player.play(calls(3))
  const { store, privateKey: signingKey, tick } = world
  const anchor = await takeAnchor({ store, signingKey, tick }, { earlier: null, fresh: false })
  expect(anchor.through).toBe('2026-01-30T22:00:00.000Z')
})

test('a cut-off tail is found against an anchor, and by nothing else', async () => {
  await world.player.play(calls(20))
  const anchor = await world.anchor()
  const [customer] = world.player.customers()
  const stream = `customer-${customer?.id}`
  const last = world.store.stream(stream).length - 1
  const cut = storeOf(world.store.all().filter((event) => event.stream !== stream || event.revision < BigInt(last - 2)))
  expect(await findings(cut, anchor)).toEqual([
    `${stream} ${last}: the stream ends at revision ${last - 3}: this event was anchored at ${anchor.through} (a cut-off tail)`,
  ])
  const without = storeOf(world.store.all().filter((event) => event.stream !== stream))
  expect(await findings(without, anchor)).toEqual([expect.stringContaining('the stream is gone')])
})

test('a log replaced by a consistent forgery is found against an anchor, and by nothing else', async () => {
  await world.player.play(calls(20))
  const anchor = await world.anchor()
  const [customer] = world.player.customers()
  const stream = `customer-${customer?.id}`
  const forged = structuredClone(world.store.all()) as PositionedEvent[]
  let prevHash = ''
  for (const event of forged.filter((one) => one.stream === stream)) {
    const metadata = event.metadata as Record<string, unknown>
    if (event.type === 'ApiKeyIssued') Object.assign(event.data as object, { prefix: 'lc_other' })
    metadata.prevHash = prevHash
    metadata.hash = eventHash({ ...event, metadata })
    prevHash = metadata.hash as string
  }
  expect(await findings(storeOf(forged), anchor)).toEqual([
    expect.stringMatching(`${stream} \\d+: it is not the event that was anchored`),
  ])
})

test('a log with a broken chain, and one that is not the one anchored before, are not signed', async () => {
  await world.player.play(calls(9))
  const earlier = await world.anchor()
  const before = world.store.all().length
  await world.player.play(calls(9))
  await world.anchor()
  const { privateKey: signingKey } = world
  const take = (events: readonly PositionedEvent[], from: Anchor | null = earlier) =>
    takeAnchor({ store: storeOf(events), signingKey, tick: async () => {} }, { earlier: from, fresh: false })

  const all = structuredClone(world.store.all()) as PositionedEvent[]
  expect((await take(all)).streams).toBe(3 + 3 + 1)
  const victim = all.findLast(({ type }) => type === 'DetectionSucceeded')
  Object.assign(victim?.data as object, { funding: 'credit', msg: 'x' })
  await expect(take(all)).rejects.toThrow(`${victim?.stream} revision ${victim?.revision} (${victim?.id}): its hash`)
  const newest = (await listAnchors(world.anchorDir)).at(-1)?.path ?? ''
  const later = await readAnchor(newest, world.keys)
  await expect(take(world.store.all().slice(0, before), later)).rejects.toThrow(LogMismatch)
})

test('a file that was changed is no anchor, and the newest that can be trusted is taken instead', async () => {
  await world.player.play(calls(3))
  const first = await world.anchor()
  await world.anchor()
  const path = (await listAnchors(world.anchorDir)).at(-1)?.path ?? ''
  await writeFile(path, (await readFile(path, 'utf8')).replace('customer-', 'customer_'))
  await expect(readAnchor(path, world.keys)).rejects.toThrow(BadAnchor)
  const bad: string[] = []
  expect(await newestAnchor(world.anchorDir, world.keys, ({ message }) => bad.push(message))).toEqual(first)
  expect(bad).toEqual([expect.stringContaining(path)])
})

test('one anchor is written for each UTC day, and no part of a file is left', async () => {
  await world.player.play(calls(3))
  let now = '2026-02-03T10:00:00.000Z'
  const clock = { now: () => now }
  const { store, privateKey: signingKey, tick, anchorDir: dir } = world
  const options = { store, signingKey, tick, dir, clock, log: pino({ level: 'silent' }) }
  await world.meter({ hours: 84 }) // a tick on 3 February
  expect(await anchorOfToday(options)).toContain('anchor-20260203T')
  expect(await anchorOfToday(options)).toBeNull()
  now = '2026-02-04T00:00:01.000Z'
  await world.meter({ hours: 110 })
  expect(await anchorOfToday(options)).toContain('anchor-20260204T')
  expect(await readdir(world.anchorDir)).toHaveLength(2)
})

let postgres: Awaited<ReturnType<typeof startTestPostgres>>
beforeAll(async () => {
  postgres = await startTestPostgres()
})
afterAll(() => postgres.stop())

test('of two processes one anchors, and both warn when the folder lies beside the log', async () => {
  await world.player.play(calls(3))
  const dataDir = mkdtempSync(join(tmpdir(), 'liveness-data-'))
  const dir = join(dataDir, 'anchors')
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const options: DailyAnchorOptions = {
    store: world.store,
    signingKey: world.privateKey,
    tick: world.tick,
    dir,
    dataDir,
    databaseUrl: postgres.url,
    clock: { now: () => world.player.now },
    log,
    everyMs: 20,
  }
  const both = [startDailyAnchor(options), startDailyAnchor(options)]
  try {
    await vi.waitFor(async () => expect(await listAnchors(dir)).toHaveLength(1), { timeout: 20_000 })
    expect(lines.filter((line) => line.includes('worth little'))).toHaveLength(2)
    expect(lines.filter((line) => line.includes('"alarm"'))).toEqual([])
  } finally {
    await Promise.all(both.map((one) => one.stop()))
    await rm(dataDir, { recursive: true, force: true })
  }
  expect(lines.filter((line) => line.includes('is anchored'))).toHaveLength(1)
})

describe('what keeps the daily anchor from being written', () => {
  /** One look after another, so many minutes apart: the level and the alarm of each line that it logs. */
  function looks(changed: Partial<DailyAnchorOptions>) {
    const lines: { level: number; alarm?: string; msg: string }[] = []
    const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
    const { store, privateKey: signingKey, tick, anchorDir: dir } = world
    const clock = { now: () => world.player.now }
    const look = createLook({ store, signingKey, tick, dir, clock, log, system: () => at, ...changed })
    let at = Date.parse(world.player.now)
    return async (minutesLater = 0) => {
      at += minutesLater * 60_000
      await look()
      return lines.splice(0).map(({ level, alarm = 'no alarm' }) => `${pino.levels.labels[level]}, ${alarm}`)
    }
  }

  test.each([
    ['the event store', () => new EventStoreUnavailable('it does not answer', { cause: new Error('away') })],
    ['Postgres', () => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })],
    ['an answer to the tick', () => new TickFailed('the tick ended as unknown')],
  ])('%s that is away is a warning, and an alarm once the anchor is an hour overdue', async (_, error) => {
    await world.player.play(calls(3))
    let away = true
    const look = looks({
      tick: async () => {
        if (away) throw error()
        await world.tick()
      },
    })
    expect(await look()).toEqual(['warn, no alarm'])
    expect(await look(59)).toEqual(['warn, no alarm'])
    expect(await look(1)).toEqual(['error, anchor'])
    away = false
    expect(await look(1)).toEqual(['info, no alarm'])
    away = true
    expect(await look(60)).toEqual([])
  })

  test('a clock out of service is none while the day has its anchor, however long it stays so', async () => {
    await world.player.play(calls(3))
    let inService = true
    const now = () => {
      if (!inService) throw new ClockOutOfService('The clock could not be compared with Postgres lately.')
      return world.player.now
    }
    const look = looks({ clock: { now } })
    expect(await look()).toEqual(['info, no alarm'])
    inService = false
    expect(await look(5)).toEqual(['warn, no alarm'])
    expect(await look(90)).toEqual(['warn, no alarm'])
  })

  test('a folder that is a file, and a log that is not the one anchored, are alarms at once', async () => {
    await world.player.play(calls(3))
    const file = join(world.anchorDir, 'a-file')
    await writeFile(file, '')
    expect(await looks({ dir: file })()).toEqual(['error, anchor'])
    await world.anchor()
    expect(
      await looks({ store: storeOf([]), dir: world.anchorDir, tick: async () => {}, clock: tomorrow() })(),
    ).toEqual(['error, anchor'])
  })

  const tomorrow = () => ({ now: () => new Date(Date.parse(world.player.now) + 86_400_000).toISOString() })
})
