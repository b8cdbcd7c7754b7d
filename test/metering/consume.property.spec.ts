/**
 * The metering rows are a function of the log. Histories of customers are metered while they happen, by a feed that
 * repeats, loses and cuts, with watermarks that run ahead of the calls (so that some come late) and a sealer whose
 * commits get lost and who now and then looks beyond the feed; then the log is folded into empty tables, in other pieces, and the rows must be the same.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { meteringStream } from '../../src/events/metering.ts'
import { decideClose } from '../../src/metering/close.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { addMs, hourMs } from '../../src/metering/rules.ts'
import { sealFaults } from '../../src/metering/seal-faults.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { createPlayer, histories, type Step } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { type MemoryTables, memoryTables } from '../support/memory-tables.ts'
import { rules } from './books.ts'
import { fedOf, processOn } from './consuming.ts'
import { itemsOf, tick } from './feeding.ts'

/** What happens to the feed and the sealer after a stretch of history. */
const weather = fc.record({
  steps: fc.integer({ min: 1, max: 12 }),
  /** Hours that the tick's clock runs ahead of the calls: what still comes for them is late. */
  aheadHours: fc.constantFrom(0, 0, 1, 2, 30),
  /** Items at the end that the feed does not bring. */
  lost: fc.nat(3),
  /** Items before the last batch that it brings again. */
  repeated: fc.nat(20),
  batch: fc.integer({ min: 1, max: 40 }),
  seals: fc.constantFrom('no', 'yes', 'ahead'),
  closes: fc.boolean(),
  /** The sealer dies between its appends and its commit. */
  commitLost: fc.boolean(),
})

/** Customer 0 has a licence and two credits: from the third call on there is something to meter. */
const beginning: Step[] = Array.from({ length: 4 }, () => ({
  customer: 0,
  minutes: 1,
  action: { kind: 'detect', key: undefined },
}))
/**
 * Most calls lie close together and are customer 0's, and nothing that makes calls stop happens, so that some are late
 * and some are voided after their record was sealed.
 */
const dense = fc.array(histories({ customers: 4, maxLength: 30 }), { minLength: 3, maxLength: 5 }).map((several) =>
  [...beginning, ...several.flat()].map(({ customer, minutes, action }): Step => {
    const close = minutes % 4 === 0 ? minutes : minutes % 20
    return { customer: customer === 3 ? 0 : customer, minutes: close, action: goesOn(action, minutes) }
  }),
)

function goesOn(action: Step['action'], back: number): Step['action'] {
  if (action.kind === 'replay' || action.kind === 'capOn') return { kind: 'void', back: back % 3 }
  const stops = ['deactivateKey', 'deactivate', 'openMonth', 'fence'].includes(action.kind)
  return stops ? { kind: 'detect', key: undefined } : action
}

/** `METERING_HISTORIES=5000` plays more of them; `METERING_HISTORIES_SEED=n` those that a failure named. */
const count = Number(process.env.METERING_HISTORIES ?? 80)
const { METERING_HISTORIES_SEED: seed } = process.env
const timeoutMs = 80_000 + count * 500

test('however it was fed, sealed and closed, empty tables become the same rows', { timeout: timeoutMs }, async () => {
  const seen = { late: 0, adjusted: 0, closed: 0, early: 0, gaps: 0, lost: 0 }
  await fc.assert(
    fc.asyncProperty(
      dense,
      fc.array(weather, { minLength: 4, maxLength: 10 }),
      fc.integer({ min: 1, max: 50 }),
      async (history, stretches, pieces) => {
        const store = createMemoryStore()
        const tables = memoryTables()
        const live = processOn(store, tables)
        const player = createPlayer(store)
        let played = 0
        let fed = 0
        let [now, latest] = [player.now, player.now]
        for (const stretch of stretches) {
          await player.play(history.slice(played, played + stretch.steps))
          played += stretch.steps
          now = addMs(player.now, stretch.aheadHours * hourMs)
          if (now > latest) latest = now
          await tick(store, now)
          const items = await itemsOf(store)
          const upTo = items.length - stretch.lost
          for (let at = Math.max(0, fed - stretch.repeated); at < upTo; at += stretch.batch) {
            await feedPiece(live, items.slice(at, Math.min(at + stretch.batch, upTo)))
          }
          // Those at the end are not brought later either: the next watermark finds them missing.
          fed = items.length
          const sealer = processOn(store, stretch.commitLost ? (forgetful(tables) as MemoryTables) : tables)
          for (const { id } of player.customers()) {
            if (stretch.seals !== 'no') await sealer.seals(now, id, stretch.seals === 'ahead').catch(onlyLostCommits)
            if (stretch.closes) await closeMonths(sealer, tables, id, now).catch(onlyLostCommits)
          }
        }
        await player.play(history.slice(played))
        if (player.now > latest) latest = player.now
        await tick(store, addMs(latest, 1))
        const items = await itemsOf(store)
        await feedPiece(live, items.slice(fed))
        for (const { id } of player.customers()) {
          // A commit may be missing still; a decision reads the metering stream to its end.
          await live.decideFor(id, (books) => {
            expect(sealFaults(books)).toEqual([])
            return []
          })
        }
        const rebuilt = memoryTables()
        const other = processOn(store, rebuilt)
        for (let at = 0; at < items.length; at += pieces) await feedPiece(other, items.slice(at, at + pieces))
        expect(withoutPlaces(tables)).toEqual(withoutPlaces(rebuilt))
        expect(other.alarms.filter(({ kind }) => kind === 'metering_folded_anew')).toEqual([])
        expectComplete(store, tables)

        const records = tables.dump().records as MeteringRecord[]
        seen.late += records.filter(({ calls }) => calls.late > 0).length
        seen.early += records.filter(({ sealEarly }) => sealEarly !== null).length
        seen.adjusted += tables.dump().adjustments.length
        seen.closed += tables.dump().closed.length
        const told = (kind: string) => live.alarms.filter((alarm) => alarm.kind === kind).length
        seen.gaps += told('metering_gap')
        seen.lost += told('metering_tail_lost')
      },
    ),
    {
      numRuns: count,
      ...(seed === undefined ? {} : { seed: Number(seed) }),
      // Shrinking ends before the test does, or a failure could not say of which seed it is.
      interruptAfterTimeLimit: timeoutMs - 20_000,
      markInterruptAsFailure: true,
    },
  )
  // The histories did reach what this is about.
  for (const [what, times] of Object.entries(seen)) expect.soft(times, what).toBeGreaterThan(0)
})

type Process = ReturnType<typeof processOn>

async function feedPiece(process: Process, items: Awaited<ReturnType<typeof itemsOf>>): Promise<void> {
  for (let partition = 0; partition < partitionCount; partition++) {
    const fed = fedOf(items, partition)
    if (fed.length > 0) await process.consume(fed, partition)
  }
}

async function closeMonths(process: Process, tables: MeteringTables, customerId: string, now: string): Promise<void> {
  const partitions = await tables.partitions()
  await process.decideFor(customerId, (books) =>
    Object.keys(books.meter.state.months).flatMap((yearMonth) => {
      const judgedThrough = partitions[books.meter.partition]?.judgedThrough ?? ''
      // Whatever waits for AWS ends here, so that months can be closed.
      const records = books.records.map((record) =>
        record.state === 'sealed' ? { ...record, state: 'accepted' as const } : record,
      )
      const decided = decideClose({ ...books, records }, yearMonth, { rules, now, judgedThrough })
      return 'message' in decided ? [] : decided
    }),
  )
}

const commitLost = new Error('the commit was lost')
const onlyLostCommits = (error: unknown): void => {
  if (error !== commitLost) throw error
}

/** Every transaction does its work, appends included, and is rolled back. */
const forgetful = (tables: MeteringTables): Pick<MeteringTables, 'transaction' | 'partitions'> => ({
  partitions: tables.partitions,
  transaction: (work) =>
    tables.transaction(async (tx) => {
      await work(tx)
      throw commitLost
    }),
})

/** Where the feed stood when a watermark was judged is not the log's business. */
function withoutPlaces(tables: MemoryTables) {
  const { partitions: _, directFeed: __, ...rows } = tables.dump()
  return rows
}

/** Every overage call that was not voided before its record's seal is in exactly one record. */
function expectComplete(store: MemoryStore, tables: MemoryTables): void {
  const events = store.all().filter(({ stream }) => stream.startsWith('customer-'))
  const overage = (type: string) =>
    events.filter((event) => event.type === type && (event.data as { funding?: string }).funding === 'overage').length
  const { records, adjustments } = tables.dump()
  const held = (records as MeteringRecord[]).reduce((sum, { calls }) => sum + calls.quantity, 0)
  expect(held - adjustments.length).toBe(overage('DetectionSucceeded') - overage('DetectionVoided'))
  const streams = new Set(store.all().map(({ stream }) => stream))
  for (const record of records as MeteringRecord[]) {
    if (record.state !== 'open') expect(streams).toContain(meteringStream(record.customerId))
  }
}
