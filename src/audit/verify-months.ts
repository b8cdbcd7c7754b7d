/** The months' books at the end of the log: whatever is wrong with one is named by the event that says it. */
import { meteringStream } from '../events/metering.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { foldAgain } from './verify-again.ts'
import { placeOf } from './verify-anchors.ts'
import { type CustomerBook, monthCounts, monthFaults } from './verify-book.ts'
import type { Findings, Say } from './verify-report.ts'

type Log = Pick<EventStore, 'readForward'>

export interface MonthTotals {
  readonly months: number
  readonly closedMonths: number
  readonly records: number
}

/** @throws EventStoreUnavailable */
export async function checkMonths(
  log: Log,
  books: Iterable<CustomerBook>,
  only: string | undefined,
  findings: Findings,
  say: Say,
): Promise<MonthTotals> {
  const totals = { months: 0, closedMonths: 0, records: 0 }
  for (const book of books) {
    const full = book.again.size === 0 ? book : await again(log, book, findings, say)
    let seals: Map<string, StoredEvent> | undefined
    for (const month of [...full.months.keys()].toSorted()) {
      if (only !== undefined && month !== only) continue
      const of = book.again.has(month) ? full : book
      const { closed, records } = monthCounts(of, month)
      totals.months += 1
      totals.closedMonths += closed ? 1 : 0
      totals.records += records
      for (const { recordId, fault } of monthFaults(of, month)) {
        seals ??= await sealsAndCloses(log, book.customerId)
        const event = seals.get(recordId ?? month)
        const where = event === undefined ? { stream: meteringStream(book.customerId) } : whereOf(event)
        say('metering', { customerId: book.customerId, month, row: recordId, ...where }, fault)
      }
    }
  }
  return totals
}

/** Months that the pass could not follow, folded anew; what it has said of their events is not said twice. */
async function again(log: Log, book: CustomerBook, { differences }: Findings, say: Say): Promise<CustomerBook> {
  const upto = { revision: book.head.revision, meteringRevision: book.meteringHead.revision }
  return foldAgain(log, book.customerId, upto, (stored, month, fault) => {
    const where = whereOf(stored)
    const isSaid = differences.some(
      (one) => one.stream === where.stream && one.revision === where.revision && one.fault === fault,
    )
    if (book.again.has(month) && !isSaid) say('metering', { ...where, month }, fault)
  })
}

/** Name of a record → its RecordSealed; month → its MonthClosed. */
async function sealsAndCloses(log: Log, customerId: string): Promise<Map<string, StoredEvent>> {
  const found = new Map<string, StoredEvent>()
  for await (const stored of log.readForward(meteringStream(customerId), 0n)) {
    const { recordId, yearMonth } = (stored.data ?? {}) as { recordId?: string; yearMonth?: string }
    const name = stored.type === 'RecordSealed' ? recordId : stored.type === 'MonthClosed' ? yearMonth : undefined
    if (name !== undefined && !found.has(name)) found.set(name, stored)
  }
  return found
}

const whereOf = ({ stream, revision, id }: StoredEvent) => ({ ...placeOf(stream), revision: `${revision}`, id })
