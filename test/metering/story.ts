/**
 * One customer's two streams, told step by step: the real decider writes the customer's, the product's deciders the
 * metering stream, and the fold is the product's. Without input or output, so a test is a table of what happened when.
 */
import { expect } from 'vitest'
import { type Caused, freeze } from '../../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal, type Voidable } from '../../src/commands/customer.ts'
import { evolve, initialState } from '../../src/commands/state.ts'
import { type CustomerEvent, customerStream } from '../../src/events/catalogue.ts'
import { chain, emptyHead, type Head } from '../../src/events/chain.ts'
import {
  type MeteringEvent,
  meteringEventData,
  meteringSchemaVersion,
  meteringStream,
} from '../../src/events/metering.ts'
import type { NewEvent, StoredEvent } from '../../src/eventstore/store.ts'
import type { CustomerBooks } from '../../src/metering/books.ts'
import {
  foldCalls,
  foldMetering,
  type LateCall,
  type Read,
  readCustomerEvent,
  readMeteringEvent,
  type Sheet,
} from '../../src/metering/fold.ts'
import { newMeter } from '../../src/metering/meter.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { type MeteringRules, parseRecordId } from '../../src/metering/rules.ts'
import { decideAdjustments, decideSeals } from '../../src/metering/seal.ts'
import { sealFaults } from '../../src/metering/seal-faults.ts'
import { customerId, detection, registration, uuid } from '../support/given.ts'
import { rules as usual } from './books.ts'

export const licence = (serial: number) =>
  ({
    kind: 'licence',
    awsAccountId: '123456789012',
    licenceArn: `arn:aws:license-manager::1:license:l-${serial}`,
  }) as const

export type Told = ReturnType<typeof story>

/** A registered customer with one credit a month unless `options` say otherwise, and nothing folded. */
export function story(options: Parameters<typeof registration>[0] = {}, settings: Partial<MeteringRules> = {}) {
  const rules = { ...usual, ...settings }
  const origin = { correlationId: 'story', causationId: 'story', actor: 'system' }
  const calls: Read<CustomerEvent>[] = []
  const log: Read<MeteringEvent>[] = []
  const late: LateCall[] = []
  let state = initialState
  let head: Head = emptyHead
  let logHead: Head = emptyHead
  let fed = 0
  let sheet = emptySheet()

  const told = {
    calls,
    log,
    late,
    /** What the customer does; nothing of it is folded until `feed`. */
    does(at: string, command: CustomerCommand): Read<CustomerEvent>[] {
      const decided = decide(state, command, at)
      if (isRefusal(decided)) throw new Error(`the story refuses ${command.type}: ${decided.message}`)
      const caused: Caused[] = decided.map((event) => ({ event, origin }))
      const { attempt, head: after } = freeze(customerStream(customerId), head, caused)
      const reads = stored(customerStream(customerId), head, attempt.events).map(readCustomerEvent)
      state = decided.reduce(evolve, state)
      head = after
      calls.push(...reads)
      return reads
    },
    /** A call; returns what a void needs to know of it. */
    call(at: string): Voidable {
      const read = told.does(at, detection({ detectionId: uuid() })).at(-1)
      if (read?.event.type !== 'DetectionSucceeded') throw new Error('this was no call')
      const { detectionId, yearMonth, funding, bucketKey } = read.event.data
      return { detectionId, yearMonth, funding, bucketKey, revision: Number(read.stored.revision) }
    },
    voids(at: string, ...detections: Voidable[]): void {
      told.does(at, { type: 'VoidDetections', detections })
    },
    /** The consumer folds what the customer did. */
    feed(): void {
      const folded = foldCalls(sheet, calls.slice(fed))
      late.push(...folded.late)
      fed = calls.length
      sheet = { ...folded }
    },
    /** Seals everything that is due once the watermark of that time is judged. */
    seals(at: string): MeteringRecord[] {
      const events = decideSeals(booksOf(sheet), { rules, now: at, judgedThrough: at })
      told.logs(...events)
      return events.flatMap(({ data }) => ('recordId' in data ? [told.record(data.recordId)] : []))
    },
    notes(at: string): void {
      told.logs(...decideAdjustments(booksOf(sheet), at))
    },
    /** Appends to the metering stream and folds it. */
    logs(...events: MeteringEvent[]): void {
      log.push(...told.appended(...events))
      const folded = foldMetering(sheet, log.slice(Number(sheet.meter.meteringHead.revision) + 1))
      expect(folded.contradiction).toBeNull()
      sheet = { ...folded }
    },
    /** Appends to the metering stream what the rows do not know yet. */
    logsUnseen(...events: MeteringEvent[]): void {
      log.push(...told.appended(...events))
    },
    appended(...events: MeteringEvent[]): Read<MeteringEvent>[] {
      const unchained = events.map(({ type, data }) => ({
        id: uuid(),
        type,
        data: meteringEventData[type].parse(data),
        metadata: { ...origin, schema: meteringSchemaVersion },
      }))
      const stream = meteringStream(customerId)
      const linked = chain(stream, logHead, unchained)
      const reads = stored(stream, logHead, linked.events).map(readMeteringEvent)
      logHead = linked.head
      return reads
    },
    get sheet(): Sheet {
      return sheet
    },
    books: (): CustomerBooks => booksOf(sheet),
    record(recordId: string): MeteringRecord {
      const found = sheet.records.get(recordId)
      if (found === undefined) throw new Error(`there is no record ${recordId}`)
      return found
    },
    /** `2026-03-10T14 standard_over: 3 open`, one line for each record. */
    lines: () => linesOf(sheet),
    rebuilt: () => rebuild(calls.slice(0, fed), log),
  }
  told.does('2026-01-05T09:00:00.000Z', registration({ licence: licence(1), monthlyLimit: 1, ...options }))
  return told
}

const emptySheet = (): Sheet => ({
  meter: newMeter(customerId),
  records: new Map(),
  adjustments: new Map(),
  closed: [],
})

/** What a consumer with empty tables makes of both streams: the metering stream first, and then event by event. */
export function rebuild(calls: readonly Read<CustomerEvent>[], log: readonly Read<MeteringEvent>[]): Sheet {
  const { contradiction, ...sheet } = foldMetering(emptySheet(), log)
  expect(contradiction).toBeNull()
  return calls.reduce<Sheet>((before, read) => {
    const { late: _, ...after } = foldCalls(before, [read])
    return after
  }, sheet)
}

export function linesOf({ records }: Pick<Sheet, 'records'>): string[] {
  return [...records.values()]
    .map(({ recordId, dimension, state, calls, sealEarly }) => {
      const { hour } = parseRecordId(recordId)
      const place = recordId.endsWith('|no_hour_left') ? (recordId.split('|')[3] ?? '') : hour.slice(0, 13)
      const lateness = calls.late === 0 ? '' : `, ${calls.late} late`
      return `${place} ${dimension}: ${calls.quantity} ${state}${lateness}${sealEarly === null ? '' : ` (${sealEarly})`}`
    })
    .toSorted()
}

/** The rows are those of a rebuild, and every seal is what the customer's stream says. */
export function expectPure(told: Told): void {
  expect(told.rebuilt()).toEqual(rowsOf(told.sheet))
  expect(sealFaults(told.books())).toEqual([])
}

const rowsOf = ({ meter, records, adjustments, closed }: Sheet): Sheet => ({ meter, records, adjustments, closed })

export const booksOf = ({ meter, records, adjustments }: Sheet): CustomerBooks => ({
  meter,
  records: [...records.values()],
  adjustments: [...adjustments.values()],
})

function stored(stream: string, head: Head, events: readonly NewEvent[]): StoredEvent[] {
  return events.map((event, index) => ({
    ...event,
    stream,
    revision: head.revision + 1n + BigInt(index),
    created: new Date(0),
  }))
}
