/**
 * The consumer: items of one partition of the feed, folded into the rows in one transaction. Items come at least once
 * and, per customer, in order; what is folded already is skipped by its revision, what is missing is read from the event
 * store. A watermark is judged at its place: only then is the partition known to be complete up to its time.
 */
import { LogMismatch } from '../commands/errors.ts'
import type { CustomerEvent } from '../events/catalogue.ts'
import { hashOf } from '../events/chain.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { comparePositions } from '../projections/generations.ts'
import { customerOf, type Fed, fedPrefixes, partitionOf, type Watermark } from '../relay/feed.ts'
import type { Alarms } from './alarms.ts'
import { catchUp, chunkSize, foldCustomers, foldStream, type Work } from './catch-up.ts'
import { meteredCall, type Read, readCustomerEvent } from './fold.ts'
import { newMeter, sealEarlyOf } from './meter.ts'
import { addHours, addMs } from './rules.ts'
import type { CustomerMeter, MeteringTables, MeteringTransaction, PartitionRow } from './tables.ts'

export interface ConsumeDeps {
  readonly tables: Pick<MeteringTables, 'transaction'>
  readonly store: Pick<EventStore, 'readForward' | 'readAll'>
  /** METERING_GRACE in milliseconds. */
  readonly graceMs: number
  readonly onAlarm: Alarms['onAlarm']
}

/**
 * Folds items of one partition, in order. Safe to repeat; all of it counts or nothing.
 * @throws LogMismatch when the feed and the event store are not of one log, UnreadableEvent, EventStoreUnavailable and
 *   what the tables throw
 */
export async function consumeBatch(deps: ConsumeDeps, partition: number, fed: readonly Fed[]): Promise<void> {
  const alarms: Parameters<Alarms['onAlarm']>[] = []
  // A transaction that is rolled back found nothing out: it comes again.
  const work = { ...deps, onAlarm: (...alarm: Parameters<Alarms['onAlarm']>) => void alarms.push(alarm) }
  await deps.tables.transaction(async (tx) => {
    const before = await tx.lockPartition(partition)
    const { nextOffset } = before
    const fresh = fed.filter(({ offset }) => offset === null || nextOffset === null || offset >= nextOffset)
    const row = await foldItems(tx, work, before, fresh)
    const offset = fresh.at(-1)?.offset
    const after = offset == null ? row : { ...row, nextOffset: offset + 1n }
    if (after !== before) await tx.save({ partition: after })
  })
  for (const alarm of alarms) deps.onAlarm(...alarm)
}

/** The last watermark stands for those before it: it says the same of a longer stretch. */
async function foldItems(
  tx: MeteringTransaction,
  deps: ConsumeDeps,
  row: PartitionRow,
  fed: readonly Fed[],
): Promise<PartitionRow> {
  const items = fed.map(({ item }) => item)
  const events = items.map((item) => (item.kind === 'event' ? [item.event] : []))
  const place = items.findLastIndex((item) => item.kind === 'watermark' && item.through > row.judgedThrough)
  const mark = items[place]
  if (mark?.kind !== 'watermark') {
    await foldEvents(tx, deps, row, events.flat())
    return row
  }
  await foldEvents(tx, deps, row, events.slice(0, place).flat())
  const judged = await judge(tx, deps, row, mark)
  await foldEvents(tx, deps, judged, events.slice(place).flat())
  return judged
}

/** Folds events of the partition's customers, whatever of them is folded already. */
async function foldEvents(
  tx: MeteringTransaction,
  deps: ConsumeDeps,
  row: PartitionRow,
  events: readonly StoredEvent[],
): Promise<void> {
  const customers = byCustomer(events)
  if (customers.size === 0) return
  const locked = await tx.lockCustomers([...customers.keys()])
  const work: Work[] = []
  for (const [customerId, ofCustomer] of customers) {
    // At first sight the whole metering stream comes before the first event: it says where each call belongs.
    const meter = locked.get(customerId) ?? (await catchUp(tx, deps, newMeter(customerId)))
    const newest = ofCustomer.findLast(({ revision }) => revision > meter.head.revision)
    if (newest === undefined) {
      expectSameLog(meter, ofCustomer)
      continue
    }
    const following = followingOf(meter, ofCustomer)
    if (following === null) {
      await fillGap(tx, deps, meter, newest)
      continue
    }
    const reads = following.map(readCustomerEvent)
    const isCaughtUp = !locked.has(customerId) || !reads.some((read) => maySealed(read, meter, row, deps.graceMs))
    work.push({ meter: isCaughtUp ? meter : await catchUp(tx, deps, meter), events: reads })
  }
  if (work.length > 0) await foldCustomers(tx, deps, work)
}

function byCustomer(events: readonly StoredEvent[]): Map<string, StoredEvent[]> {
  const customers = new Map<string, StoredEvent[]>()
  for (const event of events) {
    const customerId = customerOf(event.stream)
    if (customerId === null) throw new LogMismatch(`${event.stream} is no customer's stream`)
    const known = customers.get(customerId)
    if (known === undefined) customers.set(customerId, [event])
    else known.push(event)
  }
  return customers
}

/** The events from the head on, each once; null when one is missing between them. */
function followingOf({ head }: CustomerMeter, events: readonly StoredEvent[]): StoredEvent[] | null {
  const following: StoredEvent[] = []
  let last = head.revision
  for (const event of events) {
    if (event.revision <= last) continue
    if (event.revision !== last + 1n) return null
    following.push(event)
    last = event.revision
  }
  return following
}

/** Cheap, and finds out a feed of another event store before it bills anybody. */
function expectSameLog({ head }: CustomerMeter, events: readonly StoredEvent[]): void {
  const known = events.find(({ revision }) => revision === head.revision)
  if (known === undefined || hashOf(known.metadata) === head.hash) return
  throw new LogMismatch(`${known.stream} revision ${known.revision} as it was fed is not the event that was folded`)
}

async function fillGap(
  tx: MeteringTransaction,
  deps: ConsumeDeps,
  meter: CustomerMeter,
  newest: StoredEvent,
): Promise<void> {
  const { customerId, head } = meter
  deps.onAlarm('metering_gap', `The feed left out events of ${newest.stream}; they are read from the event store`, {
    customerId,
    folded: `${head.revision}`,
    fed: `${newest.revision}`,
  })
  const filled = await foldStream(tx, deps, await catchUp(tx, deps, meter), newest.revision)
  expectSameLog(filled, [newest])
}

/**
 * Whether the hour of a call may be sealed by somebody whose seal is not folded here: it crashed between its append and
 * its commit.
 */
function maySealed(
  read: Read<CustomerEvent>,
  { state, closed }: CustomerMeter,
  { judgedThrough }: PartitionRow,
  graceMs: number,
): boolean {
  const call = meteredCall(read)
  if (call === null) return false
  const { hour, licence } = call.key
  return (
    addMs(addHours(hour, 1), graceMs) <= judgedThrough ||
    sealEarlyOf(state, licence) !== null ||
    closed.includes(hour.slice(0, 7))
  )
}

/**
 * Judges a watermark, everything before it being folded. Where the number of folded events is not the watermark's, the
 * log itself is read up to the watermark's place: the last messages of a partition can be lost without a gap.
 */
async function judge(
  tx: MeteringTransaction,
  deps: ConsumeDeps,
  row: PartitionRow,
  { partition, through, position, count }: Watermark,
): Promise<PartitionRow> {
  const folded = await tx.foldedCount(partition)
  if (folded !== count) {
    await fillFromLog(tx, deps, row, position)
    const filled = await tx.foldedCount(partition)
    if (filled < count) {
      throw new LogMismatch(
        `partition ${partition} is to hold ${count} events at ${through}, and the log up to there has ${filled}`,
      )
    }
    if (filled > folded) {
      deps.onAlarm(
        'metering_tail_lost',
        `The feed left out the last events of partition ${partition}; they were read from the event store`,
        { partition, folded: `${folded}`, filled: `${filled}`, count: `${count}` },
      )
    }
  }
  return { ...row, judgedThrough: through, judgedPosition: position }
}

/** @throws LogMismatch when the tick at `upTo` is not in the event store */
async function fillFromLog(
  tx: MeteringTransaction,
  deps: ConsumeDeps,
  row: PartitionRow,
  upTo: Watermark['position'],
): Promise<void> {
  let chunk: StoredEvent[] = []
  let order = -1
  for await (const event of deps.store.readAll({ prefixes: fedPrefixes, after: row.judgedPosition ?? undefined })) {
    order = comparePositions(event.position, upTo)
    if (order >= 0) break
    const customerId = customerOf(event.stream)
    if (customerId === null || partitionOf(customerId) !== row.partition) continue
    if (chunk.push(event) < chunkSize) continue
    await foldEvents(tx, deps, row, chunk)
    chunk = []
  }
  if (order !== 0) throw new LogMismatch(`the event store has no tick at ${upTo.commit}/${upTo.prepare}`)
  await foldEvents(tx, deps, row, chunk)
}
