/**
 * What verification keeps of one customer: everything that later events and the tables are held against. Plain data,
 * bounded whatever the number of events: the open months in full, older ones as digests.
 *
 * Whatever a digest cannot answer (a void of a call of long ago, a difference that must be named) is answered by folding
 * the customer's streams anew with `keep` (verify-again.ts).
 */
import { monthOf } from '../commands/plans.ts'
import { type CustomerState, evolve, initialState } from '../commands/state.ts'
import { emptyHead, type Head } from '../events/chain.ts'
import type { MeteringEvent } from '../events/metering.ts'
import { evolveMeter, newMeter } from '../metering/meter.ts'
import type { MeterState } from '../metering/tables.ts'
import type { LoggedEvent } from '../statements/month.ts'
import { type MonthFault, type MonthMemory, meteringMonth, newMonthMemory } from './metering-month.ts'
import { monthOfRecord } from './metering-records.ts'
import { type Due, dueBehind } from './rules.ts'
import { foldRemembered, newRemembered, type Remembered } from './verify-idempotency.ts'
import { foldKeys, type KeyBook, newKeyBook } from './verify-keys.ts'
import { meteringRows } from './verify-metering.ts'
import { digestOf, type Expected } from './verify-rows.ts'
import { foldUsage, newUsageMonth, type UsageMonth, usageRows } from './verify-usage.ts'

interface MonthBook {
  /** Null once only the digest of its rows is left. */
  usage: UsageMonth | null
  usageDigest: string
  metering: MonthMemory | null
  meteringDigest: string
  /** What was wrong with the month's books when they were reduced. */
  faults: readonly MonthFault[]
  /** Whether MonthClosed was seen, and how many records the month had: for the summary. */
  closed: boolean
  records: number
  /** Detections whose answer was given again, for as long as the month is kept. */
  replayed: Set<string> | null
}

export interface CustomerBook {
  readonly customerId: string
  /** Of the last event folded, of either stream. */
  head: Head
  meteringHead: Head
  state: CustomerState
  due: Due
  registeredAt: string
  /** Every detection that was voided; such events are rare. */
  readonly voided: Set<string>
  readonly keys: KeyBook
  readonly remembered: Remembered
  readonly months: Map<string, MonthBook>
  meter: MeterState
  /** As in metering.customers. */
  sealedUpTo: string
  readonly closed: string[]
  /** Months that the fold could not follow: they are folded anew. */
  readonly again: Set<string>
}

export function newBook(customerId: string): CustomerBook {
  const { state: meter } = newMeter(customerId)
  return {
    customerId,
    head: emptyHead,
    meteringHead: emptyHead,
    state: initialState,
    due: undefined,
    registeredAt: '',
    voided: new Set(),
    keys: newKeyBook(),
    remembered: newRemembered(),
    months: new Map(),
    meter,
    sealedUpTo: '',
    closed: [],
    again: new Set(),
  }
}

function monthBook({ months }: CustomerBook, month: string): MonthBook {
  let book = months.get(month)
  if (book === undefined) {
    book = {
      usage: newUsageMonth(),
      usageDigest: '',
      metering: newMonthMemory(),
      meteringDigest: '',
      faults: [],
      closed: false,
      records: 0,
      replayed: null,
    }
    months.set(month, book)
  }
  return book
}

// The rules are functions around a month's memory; the memory is what is kept.
const rulesOf = new WeakMap<MonthMemory, ReturnType<typeof meteringMonth>>()
function rules(customerId: string, month: string, memory: MonthMemory): ReturnType<typeof meteringMonth> {
  let made = rulesOf.get(memory)
  if (made === undefined) {
    made = meteringMonth(customerId, month, memory)
    rulesOf.set(memory, made)
  }
  return made
}

/** @param keep every month stays in full */
export function foldCustomer(book: CustomerBook, logged: LoggedEvent, keep: boolean): void {
  const { event, revision, hash } = logged
  const { customerId, again } = book
  const before = book.state
  const after = evolve(before, event)
  book.state = after
  book.due = dueBehind(before, event)
  book.head = { revision, hash }
  if (revision === 0n) book.registeredAt = event.data.occurredAt
  foldUsage(
    (month) => {
      const { usage } = monthBook(book, month)
      if (usage === null) again.add(month)
      return usage
    },
    logged,
    before,
    after,
  )
  foldKeys(book.keys, logged, before)
  foldRemembered(book.remembered, event, before)
  book.meter = evolveMeter(book.meter, event, book.closed)
  switch (event.type) {
    case 'DetectionSucceeded':
    case 'DetectionVoided': {
      const { yearMonth } = event.data
      const { metering } = monthBook(book, yearMonth)
      if (event.type === 'DetectionVoided') book.voided.add(event.data.detectionId)
      if (metering === null) {
        again.add(yearMonth)
        return
      }
      const month = rules(customerId, yearMonth, metering)
      if (event.type === 'DetectionSucceeded') month.call(Number(revision), hash, event.data)
      else month.voided(Number(revision), hash, event.data)
      return
    }
    case 'DetectionReplayed': {
      const month = monthBook(book, monthOf(event.data.occurredAt))
      month.replayed ??= new Set()
      month.replayed.add(event.data.detectionId)
      return
    }
    case 'MonthlyCreditsGranted':
      if (keep) return
      // The month before may still get its last voids and replays.
      for (const [month, { usage }] of book.months) {
        if (month < before.yearMonth && usage !== null) reduceUsage(book, month)
      }
  }
}

/** UTC month that an event of metering is about. */
export const monthOfMetering = ({ data }: MeteringEvent): string =>
  'yearMonth' in data ? data.yearMonth : monthOfRecord(data.recordId)

/** Returns what is wrong with the event behind those before it. */
export function foldMetering(book: CustomerBook, event: MeteringEvent, head: Head, keep: boolean): string[] {
  book.meteringHead = head
  const month = monthOfMetering(event)
  const { metering } = monthBook(book, month)
  foldMeter(book, event)
  if (metering === null) {
    book.again.add(month)
    return []
  }
  const faults = rules(book.customerId, month, metering).pass(event)
  if (!metering.isInOrder) book.again.add(month)
  else if (event.type === 'MonthClosed' && !keep) reduceMetering(book, month, metering)
  return faults
}

/** What metering.customers says besides the heads. */
function foldMeter(book: CustomerBook, { type, data }: MeteringEvent): void {
  const { months } = book.meter
  if (type === 'MonthClosed') {
    const { [data.yearMonth]: _, ...open } = months
    book.meter = { ...book.meter, months: open }
    book.closed.push(data.yearMonth)
    book.closed.sort()
  } else if (type === 'RecordSealed') {
    if (data.cause !== 'no_hour_left' && data.hour > book.sealedUpTo) book.sealedUpTo = data.hour
    if (data.yearMonth in months || book.closed.includes(data.yearMonth)) return
    book.meter = { ...book.meter, months: { ...months, [data.yearMonth]: { credit: 0, overage: 0 } } }
  }
}

function reduceUsage(book: CustomerBook, month: string): void {
  const kept = monthBook(book, month)
  if (kept.usage === null) return
  kept.usageDigest = digestOf(usageRows(book.customerId, month, kept.usage))
  kept.usage = null
  kept.replayed = null
}

function reduceMetering(book: CustomerBook, month: string, memory: MonthMemory): void {
  const kept = monthBook(book, month)
  kept.faults = rules(book.customerId, month, memory).faults(Number(book.head.revision))
  kept.closed = true
  kept.records = memory.records.books.size
  kept.meteringDigest = digestOf(meteringRows(book.customerId, month, memory, book.meter))
  kept.metering = null
}

/** What is wrong with a month's books, as far as they were folded. */
export function monthFaults(book: CustomerBook, month: string): readonly MonthFault[] {
  const { metering, faults } = monthBook(book, month)
  return metering === null ? faults : rules(book.customerId, month, metering).faults(Number(book.head.revision))
}

export const isReplayed = ({ months }: CustomerBook, detectionId: string): boolean =>
  [...months.values()].some(({ replayed }) => replayed?.has(detectionId) === true)

export function monthCounts(book: CustomerBook, month: string): { closed: boolean; records: number } {
  const { metering, closed, records } = monthBook(book, month)
  return metering === null
    ? { closed, records }
    : { closed: metering.closed !== undefined, records: metering.records.books.size }
}

/** What the read models of usage must hold of a month. */
export function expectedUsage(book: CustomerBook, month: string): Expected {
  const { usage, usageDigest } = monthBook(book, month)
  return usage === null ? usageDigest : usageRows(book.customerId, month, usage)
}

/** What the metering tables must hold of a month. */
export function expectedMetering(book: CustomerBook, month: string): Expected {
  const { metering, meteringDigest } = monthBook(book, month)
  return metering === null ? meteringDigest : meteringRows(book.customerId, month, metering, book.meter)
}
