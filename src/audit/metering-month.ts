/**
 * A month's metering records against the calls they were made of (docs/audit.md, "Rules of the metering stream"). Pure.
 * The attribution of calls to records is written anew here and shares nothing with the consumer that it checks.
 *
 * A call's record depends on the seals that were made without it. Pass the metering stream first, and the result is
 * right whatever the log holds. Pass both streams in the order of the log, and it is right while `isInOrder`.
 */
import { createHash } from 'node:crypto'
import type { DataOf, Funding } from '../events/catalogue.ts'
import type { MeteringDataOf, MeteringEvent } from '../events/metering.ts'
import { closedLines, sealsDigest } from './metering-close.ts'
import {
  type AuditedRecord,
  monthOfRecord,
  newRecordMemory,
  type RecordEvent,
  type RecordMemory,
  recordRules,
} from './metering-records.ts'

type Closed = MeteringDataOf<'MonthClosed'>
type Adjustment = MeteringDataOf<'AdjustmentNoted'>

/** What the customer's stream says belongs to a record. */
export interface Tally {
  quantity: number
  late: number
  digest: string
  /** Revisions of its first call, and of its newest call or void. */
  readonly since: number
  until: number
}

/** What is kept between events. Plain data, so that it can be written down and gone on from. */
export interface MonthMemory {
  readonly records: RecordMemory
  readonly tallies: Map<string, Tally>
  readonly adjustments: Adjustment[]
  /** Revision of the void → what must be, or become, an AdjustmentNoted. */
  readonly owed: Map<number, { readonly recordId: string; readonly detectionId: string }>
  readonly totals: { credit: number; overage: number }
  closed: Closed | undefined
  /** Revision of the newest call or void counted. */
  until: number
  isInOrder: boolean
}
export const newMonthMemory = (): MonthMemory => ({
  records: newRecordMemory(),
  tallies: new Map(),
  adjustments: [],
  owed: new Map(),
  totals: { credit: 0, overage: 0 },
  closed: undefined,
  until: -1,
  isInOrder: true,
})

/** Something wrong with the month's books, and the record that it is about. */
export interface MonthFault {
  readonly recordId: string | null
  readonly fault: string
}

export interface MeteringSummary {
  readonly closed: boolean
  readonly records: readonly AuditedRecord[]
  /** Overage calls that are in no sealed record yet. */
  readonly openCalls: number
}

const nothing = '0'.repeat(64)
const chained = (digest: string, hash: string): string => createHash('sha256').update(`${digest}${hash}`).digest('hex')

export function meteringMonth(customerId: string, month: string, memory: MonthMemory = newMonthMemory()) {
  const records = recordRules(customerId, month, memory.records)
  const { tallies, adjustments, owed, totals } = memory

  const isSealedBefore = (recordId: string, revision: number): boolean => {
    const through = records.of(recordId)?.seal.throughRevision
    return through !== undefined && through < revision
  }

  /**
   * The record of an overage call: its own hour's, or the first after it in the month that was not sealed without it,
   * or what the month keeps for calls that found no hour.
   */
  function recordOf(bucketKey: string, revision: number): string {
    const at = bucketKey.lastIndexOf('|')
    const [before, hour] = [bucketKey.slice(0, at), bucketKey.slice(at + 1)]
    const isClosed = memory.closed !== undefined && memory.closed.throughRevision < revision
    // Nearly every call: its own hour can take it.
    if (!isClosed && hour.startsWith(month) && !isSealedBefore(bucketKey, revision)) return bucketKey
    const first = Date.parse(`${hour.slice(0, 13)}:00:00.000Z`)
    // A bucket key that names no hour was found by the rules of its stream.
    for (let start = first; !isClosed && !Number.isNaN(first); start += 3_600_000) {
      const key = `${new Date(start).toISOString().slice(0, 13)}Z`
      if (!key.startsWith(month)) break
      const recordId = `${before}|${key}`
      if (!isSealedBefore(recordId, revision)) return recordId
    }
    for (let number = 1; ; number++) {
      const recordId = `${before}|${number === 1 ? month : `${month}.${number}`}|no_hour_left`
      if (!isSealedBefore(recordId, revision)) return recordId
    }
  }

  function close(data: Closed): string[] {
    if (memory.closed !== undefined) return [`${month} was closed before`]
    memory.closed = data
    if (memory.until > data.throughRevision) memory.isInOrder = false
    const faults: string[] = []
    const all = records.all()
    if (JSON.stringify(closedLines(all)) !== JSON.stringify(data.overage)) {
      faults.push('its overage by dimension and state is not that of the records')
    }
    if (sealsDigest(all) !== data.digest) faults.push('its digest is not that of the sealed records')
    if (adjustments.length !== data.adjusted) {
      faults.push(`it counts ${data.adjusted} adjustments, ${adjustments.length} stand before it`)
    }
    return faults
  }

  const isIn = (revision: number) => memory.closed !== undefined && revision <= memory.closed.throughRevision

  function count(revision: number, funding: Funding, by: 1 | -1): void {
    if (memory.closed !== undefined && !isIn(revision)) return
    totals[funding] += by
    memory.until = Math.max(memory.until, revision)
  }

  function pass(event: RecordEvent): string[] {
    if (event.type === 'RecordSealed') {
      const { until = -1 } = tallies.get(event.data.recordId) ?? {}
      if (until > event.data.throughRevision) memory.isInOrder = false
    }
    return records.pass(event)
  }

  function faultsOfSeal({ recordId, seal }: AuditedRecord, lastRevision: number): string[] {
    const { quantity = 0, late = 0, digest = nothing } = tallies.get(recordId) ?? {}
    const name = `record ${recordId}`
    if (seal.throughRevision > lastRevision) {
      return [
        `${name} is sealed through revision ${seal.throughRevision}, the customer's stream ends at ${lastRevision}`,
      ]
    }
    return [
      ...(seal.ownQuantity === quantity
        ? []
        : [`${name} holds ${seal.ownQuantity} calls, the customer's stream ${quantity}`]),
      ...(seal.lateQuantity === late
        ? []
        : [`${name} holds ${seal.lateQuantity} late calls, the customer's stream ${late}`]),
      ...(seal.digest === digest ? [] : [`${name}: its digest is not that of its calls`]),
    ]
  }

  function faultsOfAdjustments(): MonthFault[] {
    const noted = new Map(adjustments.map((adjustment) => [adjustment.revision, adjustment]))
    const wrong = adjustments
      .filter(({ revision, recordId, detectionId }) => {
        const due = owed.get(revision)
        return due?.recordId !== recordId || due.detectionId !== detectionId
      })
      .map(({ revision, recordId }) => ({
        recordId,
        fault: `the adjustment of the void at revision ${revision} answers to no such void`,
      }))
    const twice = adjustments.length > noted.size ? [{ recordId: null, fault: 'a void is adjusted twice' }] : []
    const missing = [...owed]
      .filter(([revision]) => isIn(revision) && !noted.has(revision))
      .map(([revision, { recordId }]) => ({
        recordId,
        fault: `the void at revision ${revision} came after its record was sealed and was never adjusted`,
      }))
    return [...wrong, ...twice, ...missing]
  }

  function faultsOfClose(): MonthFault[] {
    if (memory.closed === undefined) return []
    const { creditCalls, overageCalls } = memory.closed
    const left = [...tallies].filter(([id, { since }]) => records.of(id) === undefined && isIn(since))
    const counts = [
      ...(creditCalls === totals.credit
        ? []
        : [`${month} is closed with ${creditCalls} credit calls, the stream has ${totals.credit}`]),
      ...(overageCalls === totals.overage
        ? []
        : [`${month} is closed with ${overageCalls} overage calls, the stream has ${totals.overage}`]),
    ]
    return [
      ...counts.map((fault) => ({ recordId: null, fault })),
      ...left.map(([recordId]) => ({
        recordId,
        fault: `${month} is closed, and the calls of ${recordId} are in no sealed record`,
      })),
    ]
  }

  return {
    /** The metering stream's next event; those of other months are looked at only as far as they can concern this one. */
    pass(event: MeteringEvent): string[] {
      if (event.data.customerId !== customerId) return [`it names another customer, ${event.data.customerId}`]
      if (event.type === 'MonthClosed') return event.data.yearMonth === month ? close(event.data) : []
      if (event.type === 'AdjustmentNoted') {
        if (event.data.yearMonth === month) adjustments.push(event.data)
        return []
      }
      return monthOfRecord(event.data.recordId) === month ? pass(event satisfies RecordEvent) : []
    },
    /** A call of the month, in the order of the stream. */
    call(revision: number, hash: string, { funding, bucketKey }: DataOf<'DetectionSucceeded'>): void {
      count(revision, funding, 1)
      if (funding === 'credit') return
      const recordId = recordOf(bucketKey, revision)
      const tally = tallies.get(recordId) ?? { quantity: 0, late: 0, digest: nothing, since: revision, until: revision }
      tally.quantity += 1
      tally.late += recordId === bucketKey ? 0 : 1
      tally.digest = chained(tally.digest, hash)
      tally.until = revision
      tallies.set(recordId, tally)
    },
    /** A void of one of the month's calls, in the order of the stream. */
    voided(revision: number, hash: string, data: DataOf<'DetectionVoided'>): void {
      const { funding, bucketKey, detectionId } = data
      count(revision, funding, -1)
      if (funding === 'credit') return
      const recordId = recordOf(bucketKey, data.revision)
      const tally = tallies.get(recordId)
      if (isSealedBefore(recordId, revision)) {
        owed.set(revision, { recordId, detectionId })
      } else if (tally !== undefined) {
        tally.quantity -= 1
        tally.late -= recordId === bucketKey ? 0 : 1
        tally.digest = chained(tally.digest, hash)
        tally.until = revision
      }
    },
    /** After both streams. `lastRevision`: of the customer's stream. */
    faults(lastRevision: number): MonthFault[] {
      const ofSeals = records
        .all()
        .flatMap((record) => faultsOfSeal(record, lastRevision).map((fault) => ({ recordId: record.recordId, fault })))
      return [...ofSeals, ...faultsOfAdjustments(), ...faultsOfClose()]
    },
    summary(): MeteringSummary {
      const open = [...tallies].filter(([id]) => records.of(id) === undefined)
      const openCalls = open.reduce((sum, [, { quantity }]) => sum + quantity, 0)
      return { closed: memory.closed !== undefined, records: records.all(), openCalls }
    },
  }
}
