/**
 * One customer's two streams folded into metering's rows. Pure. The customer's stream says which calls there are, the
 * metering stream what was sealed, sent and answered. The two may be folded in any order and in any pieces: the rows
 * come out the same, which is what makes a rebuild, a redelivery and a second consumer harmless.
 */
import { createHash } from 'node:crypto'
import { LogMismatch } from '../commands/errors.ts'
import type { CustomerEvent } from '../events/catalogue.ts'
import { chainFault, type Head } from '../events/chain.ts'
import { type MeteringDataOf, type MeteringEvent, parseMeteringEvent } from '../events/metering.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import { assign, isInOwnHour } from './assign.ts'
import { changesLicence, evolveMeter, sealEarlyOf } from './meter.ts'
import { carriedAway, carriedIn, evolveRecord, type FoldedCalls, type MeteringRecord, newRecord } from './record.ts'
import { type BucketKey, formatBucketKey, parseBucketKey, parseRecordId } from './rules.ts'
import type { Adjustment, ClosedMonth, CustomerMeter } from './tables.ts'

/** A stored event together with what it says. */
export interface Read<Event> {
  readonly stored: StoredEvent
  readonly event: Event
  readonly hash: string
}

/** @throws UnreadableEvent */
export function readCustomerEvent(stored: StoredEvent): Read<CustomerEvent> {
  const { event, metadata } = parseCustomerEvent(stored)
  return { stored, event, hash: metadata.hash }
}

/** @throws UnreadableEvent */
export function readMeteringEvent(stored: StoredEvent): Read<MeteringEvent> {
  const { event, metadata } = parseMeteringEvent(stored)
  return { stored, event, hash: metadata.hash }
}

/** A customer's rows: those that a fold needs, and those that it made. */
export interface Sheet {
  readonly meter: CustomerMeter
  readonly records: ReadonlyMap<string, MeteringRecord>
  /** By the revision of the DetectionVoided. */
  readonly adjustments: ReadonlyMap<number, Adjustment>
  /** Months that this fold closed. */
  readonly closed: readonly ClosedMonth[]
}

/** What `save` of the tables is told. */
export function changesOf(before: Sheet, after: Sheet) {
  const changed = <Key, Row>(was: ReadonlyMap<Key, Row>, is: ReadonlyMap<Key, Row>) =>
    [...is].filter(([key, row]) => was.get(key) !== row).map(([, row]) => row)
  return {
    customers: [after.meter],
    records: changed(before.records, after.records),
    adjustments: changed(before.adjustments, after.adjustments),
    closed: after.closed,
  }
}

/** A call that is metered, or its void: the bucket it names, and the revision of the call. */
interface Metered {
  readonly key: BucketKey
  readonly revision: bigint
  readonly isVoid: boolean
}

/** Null for every event that no record holds. */
export function meteredCall({ event, stored }: Read<CustomerEvent>): Metered | null {
  if (event.type !== 'DetectionSucceeded' && event.type !== 'DetectionVoided') return null
  if (event.data.funding !== 'overage') return null
  const isVoid = event.type === 'DetectionVoided'
  const revision = isVoid ? BigInt(event.data.revision) : stored.revision
  return { key: parseBucketKey(event.data.bucketKey), revision, isVoid }
}

/** What of a customer must be at hand before events are folded. */
export interface Needs {
  /** Months of which every record is needed, because a call came too late for its own hour. */
  readonly yearMonths: readonly string[]
  /** Whether every open record is. */
  readonly open: boolean
  readonly adjustments: boolean
}

/** `records` must hold the record of each call's own hour, where there is one. */
export function needsOf(
  { closed }: CustomerMeter,
  records: ReadonlyMap<string, MeteringRecord>,
  events: readonly Read<CustomerEvent>[],
): Needs {
  const calls = events.map(meteredCall).filter((call) => call !== null)
  const late = calls.filter(({ key, revision }) => !isInOwnHour(key, revision, { records, closed }))
  return {
    yearMonths: [...new Set(late.map(({ key }) => key.hour.slice(0, 7)))],
    open: events.some(({ event }) => changesLicence(event)),
    adjustments: calls.some(({ isVoid }) => isVoid),
  }
}

/** A call that went into a later hour than its own because that was sealed: it should not happen. */
export interface LateCall {
  readonly revision: bigint
  readonly bucketKey: string
  readonly recordId: string
}

/**
 * Folds events of the customer's stream, which follow the head. What `needsOf` names must be in `before`.
 * @throws LogMismatch when the chain is broken
 */
export function foldCalls(before: Sheet, events: readonly Read<CustomerEvent>[]): Sheet & { late: LateCall[] } {
  const { closed } = before.meter
  const records = new Map(before.records)
  const adjustments = new Map(before.adjustments)
  const late: LateCall[] = []
  let { head, state } = before.meter

  for (const read of events) {
    head = following(head, read)
    state = evolveMeter(state, read.event, closed)
    if (changesLicence(read.event)) {
      for (const record of records.values()) {
        if (record.state !== 'open') continue
        const sealEarly = sealEarlyOf(state, record.licence)
        if (sealEarly !== record.sealEarly) records.set(record.recordId, { ...record, sealEarly })
      }
    }
    const call = meteredCall(read)
    if (call === null) continue
    const { key, revision, isVoid } = call
    const recordId = assign(key, revision, { records, closed })
    const { customerId, licence, dimension, hour } = parseRecordId(recordId)
    const fresh = { recordId, customerId, licence, dimension, hour }
    const record = records.get(recordId) ?? { ...newRecord(fresh), sealEarly: sealEarlyOf(state, licence) }
    const isLate = recordId !== formatBucketKey(key)

    if (isVoid && record.sealed !== null && BigInt(record.sealed.throughRevision) < read.stored.revision) {
      const adjustment = adjustmentOf(read, recordId)
      if (adjustment !== null && !adjustments.has(adjustment.revision)) {
        adjustments.set(adjustment.revision, adjustment)
      }
      continue
    }
    records.set(recordId, { ...record, calls: withCall(record.calls, isVoid ? -1 : 1, isLate, read.hash) })
    if (isLate && !isVoid && record.sealed === null) {
      late.push({ revision, bucketKey: formatBucketKey(key), recordId })
    }
  }
  return { ...before, meter: { ...before.meter, head, state }, records, adjustments, late }
}

function withCall({ quantity, late, digest }: FoldedCalls, by: 1 | -1, isLate: boolean, hash: string): FoldedCalls {
  return {
    quantity: quantity + by,
    late: isLate ? late + by : late,
    digest: createHash('sha256').update(digest).update(hash).digest('hex'),
  }
}

function adjustmentOf({ event, stored }: Read<CustomerEvent>, recordId: string): Adjustment | null {
  if (event.type !== 'DetectionVoided') return null
  const { customerId, yearMonth, detectionId } = event.data
  return { customerId, revision: Number(stored.revision), recordId, yearMonth, detectionId, noted: false }
}

/**
 * Folds events of the metering stream, which follow its head. The records they name must be in `before`, and for a
 * MonthClosed every open record.
 *
 * `contradiction` is not null when a seal turns up that was made before calls that these rows have put into its record:
 * its append was in nobody's hand when they were folded. Both streams must then be folded anew.
 * @throws LogMismatch when the chain is broken
 */
export function foldMetering(
  before: Sheet,
  events: readonly Read<MeteringEvent>[],
): Sheet & { contradiction: string | null } {
  const records = new Map(before.records)
  const adjustments = new Map(before.adjustments)
  const closed = [...before.closed]
  let meter = before.meter
  let contradiction: string | null = null

  const recordOf = (recordId: string): MeteringRecord => {
    const found = records.get(recordId)
    if (found !== undefined) return found
    const { customerId, licence, dimension, hour } = parseRecordId(recordId)
    const fresh = newRecord({ recordId, customerId, licence, dimension, hour })
    return { ...fresh, sealEarly: sealEarlyOf(meter.state, licence) }
  }

  for (const read of events) {
    const { event } = read
    meter = { ...meter, meteringHead: following(meter.meteringHead, read) }
    switch (event.type) {
      case 'AdjustmentNoted': {
        const { customerId, revision, recordId, yearMonth, detectionId } = event.data
        adjustments.set(revision, { customerId, revision, recordId, yearMonth, detectionId, noted: true })
        break
      }
      case 'MonthClosed': {
        const { yearMonth } = event.data
        if ([...records.values()].some((record) => record.state === 'open' && record.yearMonth === yearMonth)) {
          contradiction ??= `${yearMonth} was closed without calls that stand in an hour of it`
        }
        const { [yearMonth]: _, ...months } = meter.state.months
        meter = { ...meter, state: { ...meter.state, months }, closed: [...meter.closed, yearMonth].toSorted() }
        closed.push(event.data)
        break
      }
      case 'RecordCarriedForward': {
        const { recordId, toRecordId, quantity } = event.data
        records.set(recordId, carriedAway(recordOf(recordId), toRecordId))
        records.set(toRecordId, carriedIn(recordOf(toRecordId), { recordId, quantity }))
        break
      }
      case 'RecordSealed': {
        const record = recordOf(event.data.recordId)
        if (holdsMore(record, event.data, meter.head)) {
          contradiction ??= `${record.recordId} was sealed without calls that stand in it`
        }
        records.set(record.recordId, evolveRecord(record, event))
        meter = sealedIn(meter, event.data)
        break
      }
      default: {
        const record = recordOf(event.data.recordId)
        records.set(record.recordId, evolveRecord(record, event))
      }
    }
  }
  return { meter, records, adjustments, closed, contradiction }
}

/** The records that events of the metering stream name. */
export function recordsNamed(events: readonly Read<MeteringEvent>[]): string[] {
  const ids = events.flatMap(({ event }) => {
    if (event.type === 'MonthClosed' || event.type === 'AdjustmentNoted') return []
    const { recordId } = event.data
    return event.type === 'RecordCarriedForward' ? [recordId, event.data.toRecordId] : [recordId]
  })
  return [...new Set(ids)]
}

/** Calls after the seal's throughRevision are in the record. Where the fold is not there yet, nobody can tell. */
const holdsMore = ({ calls }: MeteringRecord, seal: MeteringDataOf<'RecordSealed'>, head: Head): boolean =>
  head.revision >= BigInt(seal.throughRevision) && calls.digest !== seal.digest

/** A month with a seal is to be closed, even if it is that of an hour without calls. */
function sealedIn(meter: CustomerMeter, { hour, yearMonth, cause }: MeteringDataOf<'RecordSealed'>): CustomerMeter {
  const isLatest = cause !== 'no_hour_left' && hour > meter.sealedUpTo
  const { months } = meter.state
  const isCounted = yearMonth in months || meter.closed.includes(yearMonth)
  return {
    ...meter,
    sealedUpTo: isLatest ? hour : meter.sealedUpTo,
    state: isCounted ? meter.state : { ...meter.state, months: { ...months, [yearMonth]: { credit: 0, overage: 0 } } },
  }
}

/** The head after an event. @throws LogMismatch */
function following(head: Head, { stored, hash }: Read<unknown>): Head {
  const fault = chainFault(head, stored)
  if (fault !== null) throw new LogMismatch(`${stored.stream} revision ${stored.revision}: ${fault}`)
  return { revision: stored.revision, hash }
}
