/** A log in virtual time with everything an auditor looks at: customers, metering by the product's own code, anchors. */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Anchor } from '../../src/audit/anchor.ts'
import { keepAnchor, newestAnchor } from '../../src/audit/anchor-files.ts'
import { type ExportSource, exportBundle } from '../../src/audit/export.ts'
import { takeAnchor } from '../../src/audit/take-anchor.ts'
import { consumeBatch } from '../../src/metering/consume.ts'
import { giveUp, isPastDeadline } from '../../src/metering/give-up.ts'
import { decideForIn } from '../../src/metering/metering-log.ts'
import { createRounds } from '../../src/metering/rounds.ts'
import { emptyFeed, fedPrefixes, feedAll } from '../../src/relay/feed.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { rules } from '../metering/books.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { uuid } from '../support/given.ts'
import { createPlayer } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { memoryTables } from '../support/memory-tables.ts'

export type World = ReturnType<typeof createWorld>

export function createWorld(store: MemoryStore = createMemoryStore()) {
  const player = createPlayer(store)
  let { privateKey } = generateKeyPairSync('ed25519')
  /** Public keys, the newest first. */
  const keys: [KeyObject, ...KeyObject[]] = [createPublicKey(privateKey)]
  const anchorDir = mkdtempSync(join(tmpdir(), 'liveness-anchors-'))
  const tables = memoryTables()
  const troubles: string[] = []
  const onAlarm = (kind: string, message: string) => {
    if (/fault|imbalance|mismatch/.test(kind)) troubles.push(message)
  }
  const decideFor = decideForIn({ tables, store, actor: 'system', onAlarm })
  let now = player.now
  const rounds = createRounds({
    tables,
    decideFor,
    doubts: memoryDoubts(),
    rules,
    now: () => now,
    alarms: { onAlarm, onWarn: () => {} },
    onTrouble: (customerId, error) => troubles.push(`${customerId}: ${error}`),
  })
  let fed = emptyFeed

  let ticked = ''

  async function tick(): Promise<void> {
    await appendTick({ store, clock: { now: () => now }, databaseClock: async () => new Date(now) })
    if (now > ticked) ticked = now
  }

  /** Feed, seal, send or give up, close, as of `hours` after the customers' time. */
  async function meter({ hours = 0, send = true } = {}): Promise<void> {
    now = new Date(Date.parse(player.now) + hours * 3_600_000).toISOString()
    await tick()
    const events = await allOf(store.readAll({ prefixes: fedPrefixes, after: fed.position ?? undefined }))
    const { state, items } = feedAll(fed, events)
    fed = state
    for (const partition of new Set(items.map((item) => item.partition))) {
      const own = items.filter((item) => item.partition === partition).map((item) => ({ item, offset: null }))
      await consumeBatch({ tables, store, graceMs: rules.graceMs, onAlarm }, partition, own)
    }
    const { signal } = new AbortController()
    await rounds.seal(signal)
    for (const { id } of player.customers()) {
      await decideFor(id, (books) =>
        books.records
          .filter(({ state: is }) => is === 'sealed' || is === 'unknown')
          .flatMap((record) => {
            const of = { customerId: id, occurredAt: now, recordId: record.recordId }
            if (isPastDeadline(record, now)) {
              const end = giveUp(record, books, now, rules)
              return end === null ? [] : [end]
            }
            if (!send) return []
            const attempt = record.attempts + 1
            return [
              { type: 'SubmissionAttempted', data: { ...of, attempt, callId: uuid() } },
              { type: 'RecordAccepted', data: { ...of, attempt, meteringRecordId: `at-aws-${attempt}` } },
            ] as const
          }),
      )
    }
    await rounds.close(signal)
  }

  /** A tick must be later than the last. */
  function later(): void {
    const [, newest = now] = [now, player.now, ticked].toSorted().slice(-2)
    now = new Date(Date.parse(newest) + 1_000).toISOString()
  }

  async function anchorNow(): Promise<Anchor> {
    const earlier = await newestAnchor(anchorDir, keys, (error) => {
      throw error
    })
    const anchor = await takeAnchor({ store, signingKey: privateKey, tick }, { earlier, fresh: true })
    await keepAnchor(anchorDir, anchor)
    return anchor
  }

  const source = (signingKey: KeyObject = privateKey): ExportSource => ({
    store,
    signingKey,
    olderKeys: keys.slice(1),
    anchorDir,
    takeNow: anchorNow,
    onBadAnchor: (error) => {
      throw error
    },
    now: () => now,
  })

  return {
    store,
    player,
    tables,
    troubles,
    anchorDir,
    get privateKey(): KeyObject {
      return privateKey
    },
    keys,
    /** From now on another key signs. */
    rotateKey(): void {
      privateKey = generateKeyPairSync('ed25519').privateKey
      keys.unshift(createPublicKey(privateKey))
    },
    meter,
    tick,
    /** Passes time for metering and anchors, not for the customers. */
    anchor(): Promise<Anchor> {
      later()
      return anchorNow()
    },
    source,
    async export(customerId: string, month: string, from: Partial<ExportSource> = {}): Promise<Buffer> {
      later()
      return Buffer.concat(await allOf(await exportBundle({ ...source(), ...from }, customerId, month)))
    },
    /** Months in which a customer's stream has events. */
    months: (customerId: string): string[] => [
      ...new Set(
        store
          .stream(`customer-${customerId}`)
          .map(({ data }) => (data as { occurredAt: string }).occurredAt.slice(0, 7)),
      ),
    ],
    close: () => rm(anchorDir, { recursive: true, force: true }),
  }
}

export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** A bundle's bytes as they come from a file. */
export async function* chunksOf(bundle: Buffer, size = 1_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bundle.length; at += size) yield bundle.subarray(at, at + size)
}
