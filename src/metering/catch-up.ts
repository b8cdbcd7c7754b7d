/** Brings customers' rows forward inside a transaction: loads what a fold needs, folds, saves. */
import { LogMismatch } from '../commands/errors.ts'
import { type CustomerEvent, customerStream } from '../events/catalogue.ts'
import { type MeteringEvent, meteringStream } from '../events/metering.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import type { Alarms } from './alarms.ts'
import {
  changesOf,
  foldCalls,
  foldMetering,
  meteredCall,
  needsOf,
  type Read,
  readCustomerEvent,
  readMeteringEvent,
  recordsNamed,
  type Sheet,
} from './fold.ts'
import { newMeter } from './meter.ts'
import type { MeteringRecord } from './record.ts'
import { formatBucketKey } from './rules.ts'
import type { CustomerMeter, MeteringTransaction } from './tables.ts'

export interface CatchUpDeps {
  readonly store: Pick<EventStore, 'readForward'>
  readonly onAlarm: Alarms['onAlarm']
}

/** What folding asks of a transaction; a draft (draft.ts) answers it too. */
export type FoldTransaction = Pick<MeteringTransaction, 'recordsById' | 'recordsOf' | 'adjustmentsOf' | 'save'>

/** Events folded at once where a stream is read: bounds the memory, whatever the stream's length. */
export const chunkSize = 500

/**
 * Folds what the customer's metering stream holds after the rows' head; the customer must be locked. With that, no seal
 * is unknown here but one whose append is still on its way.
 * @throws EventStoreUnavailable, UnreadableEvent, LogMismatch
 */
export async function catchUp(
  tx: MeteringTransaction,
  deps: CatchUpDeps,
  meter: CustomerMeter,
): Promise<CustomerMeter> {
  let at = meter
  const stream = meteringStream(meter.customerId)
  for await (const chunk of chunks(deps.store.readForward(stream, meter.meteringHead.revision + 1n))) {
    const folded = await foldChunk(tx, at, chunk)
    if ('contradiction' in folded) return await foldAnew(tx, deps, meter, folded.contradiction)
    at = folded
  }
  return at
}

/**
 * Folds what was just appended to the customer's metering stream, right behind the rows' head.
 * @throws LogMismatch
 */
export async function foldAppended(
  tx: MeteringTransaction,
  deps: CatchUpDeps,
  meter: CustomerMeter,
  appended: readonly StoredEvent[],
): Promise<void> {
  const folded = await foldChunk(tx, meter, appended)
  if ('contradiction' in folded) await foldAnew(tx, deps, meter, folded.contradiction)
}

async function foldChunk(
  tx: MeteringTransaction,
  meter: CustomerMeter,
  chunk: readonly StoredEvent[],
): Promise<CustomerMeter | { readonly contradiction: string }> {
  const events = chunk.map(readMeteringEvent)
  const before = await sheetFor(tx, meter, events)
  const after = foldMetering(before, events)
  if (after.contradiction !== null) return { contradiction: after.contradiction }
  await tx.save(changesOf(before, after))
  return after.meter
}

async function sheetFor(
  tx: MeteringTransaction,
  meter: CustomerMeter,
  events: readonly Read<MeteringEvent>[],
): Promise<Sheet> {
  const records = new Map(await tx.recordsById(recordsNamed(events)))
  if (events.some(({ event }) => event.type === 'MonthClosed')) {
    for (const record of await tx.recordsOf(meter.customerId, [])) records.set(record.recordId, record)
  }
  return { meter, records, adjustments: new Map(), closed: [] }
}

/**
 * The rows contradict the metering stream. Both streams together decide, so the customer's rows are dropped and folded
 * anew, up to where they stood.
 * @throws LogMismatch where there were none: the stream contradicts itself
 */
async function foldAnew(
  tx: MeteringTransaction,
  deps: CatchUpDeps,
  meter: CustomerMeter,
  contradiction: string,
): Promise<CustomerMeter> {
  const { customerId, head } = meter
  if (head.revision < 0n) throw new LogMismatch(`${meteringStream(customerId)}: ${contradiction}`)
  deps.onAlarm('metering_folded_anew', `${contradiction}: the customer's rows are folded anew from the log`, {
    customerId,
  })
  await tx.forgetRecords(customerId)
  const fresh = await catchUp(tx, deps, newMeter(customerId))
  return await foldStream(tx, deps, fresh, head.revision)
}

/**
 * Folds the customer's stream from the event store, on from the head and up to a revision.
 * @throws LogMismatch when the store does not hold it
 */
export async function foldStream(
  tx: FoldTransaction,
  deps: CatchUpDeps,
  meter: CustomerMeter,
  upTo: bigint,
): Promise<CustomerMeter> {
  let at = meter
  const missing = Number(upTo - meter.head.revision)
  const stream = customerStream(meter.customerId)
  for await (const chunk of chunks(deps.store.readForward(stream, meter.head.revision + 1n, missing))) {
    at = await foldRead(tx, deps, at, chunk)
  }
  if (at.head.revision !== upTo) {
    throw new LogMismatch(`${stream} ends at revision ${at.head.revision} in the event store, ${upTo} is known`)
  }
  return at
}

/** Folds on from the head to the present end of the customer's stream; null where that is more than `most` events away. */
export async function foldToEnd(
  tx: FoldTransaction,
  deps: CatchUpDeps & { readonly store: Pick<EventStore, 'readBackward'> },
  meter: CustomerMeter,
  most: number,
): Promise<CustomerMeter | null> {
  let at = meter
  const stream = customerStream(meter.customerId)
  for await (const chunk of chunks(deps.store.readForward(stream, meter.head.revision + 1n))) {
    // A full chunk may be the first of very many: where the end is, is asked before they are all read.
    const known = at === meter && chunk.length === chunkSize ? await behind(deps.store, stream, meter) : chunk.length
    if (at === meter && known > most) return null
    at = await foldRead(tx, deps, at, chunk)
  }
  return at
}

/** How many events of the stream stand behind the head. */
async function behind(
  store: Pick<EventStore, 'readBackward'>,
  stream: string,
  { head }: CustomerMeter,
): Promise<number> {
  for await (const { revision } of store.readBackward(stream, 1)) return Number(revision - head.revision)
  return 0
}

async function foldRead(
  tx: FoldTransaction,
  deps: CatchUpDeps,
  meter: CustomerMeter,
  events: readonly StoredEvent[],
): Promise<CustomerMeter> {
  const [folded = meter] = await foldCustomers(tx, deps, [{ meter, events: events.map(readCustomerEvent) }])
  return folded
}

/** A customer's rows and the events that follow their head. */
export interface Work {
  readonly meter: CustomerMeter
  readonly events: readonly Read<CustomerEvent>[]
}

/** Folds events of several customers, each locked, with few questions to the tables. */
export async function foldCustomers(
  tx: FoldTransaction,
  { onAlarm }: Pick<CatchUpDeps, 'onAlarm'>,
  work: readonly Work[],
): Promise<CustomerMeter[]> {
  const ownHours = await tx.recordsById([...new Set(work.flatMap(({ events }) => events.flatMap(ownHourOf)))])
  const changes = []
  for (const { meter, events } of work) {
    const before = await sheetOf(tx, meter, events, ownHours)
    const after = foldCalls(before, events)
    changes.push(changesOf(before, after))
    for (const { revision, bucketKey, recordId } of after.late) {
      onAlarm('metering_late_call', `A call of ${bucketKey} came when that was sealed; it is billed with ${recordId}`, {
        customerId: meter.customerId,
        revision: `${revision}`,
        recordId,
      })
    }
  }
  await tx.save({
    customers: changes.flatMap(({ customers }) => customers),
    records: changes.flatMap(({ records }) => records),
    adjustments: changes.flatMap(({ adjustments }) => adjustments),
  })
  return changes.flatMap(({ customers }) => customers)
}

function ownHourOf(read: Read<CustomerEvent>): string[] {
  const call = meteredCall(read)
  return call === null ? [] : [formatBucketKey(call.key)]
}

async function sheetOf(
  tx: FoldTransaction,
  meter: CustomerMeter,
  events: readonly Read<CustomerEvent>[],
  ownHours: ReadonlyMap<string, MeteringRecord>,
): Promise<Sheet> {
  const records = new Map<string, MeteringRecord>()
  for (const recordId of events.flatMap(ownHourOf)) {
    const record = ownHours.get(recordId)
    if (record !== undefined) records.set(recordId, record)
  }
  const needs = needsOf(meter, records, events)
  if (needs.open || needs.yearMonths.length > 0) {
    for (const record of await tx.recordsOf(meter.customerId, needs.yearMonths)) records.set(record.recordId, record)
  }
  const adjustments = needs.adjustments ? await tx.adjustmentsOf(meter.customerId) : []
  return { meter, records, adjustments: new Map(adjustments.map((one) => [one.revision, one])), closed: [] }
}

async function* chunks(events: AsyncIterable<StoredEvent>): AsyncGenerator<StoredEvent[]> {
  let chunk: StoredEvent[] = []
  for await (const event of events) {
    if (chunk.push(event) < chunkSize) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}
