/** The questions of the console, answered from the read models and, for statements, from the log. */
import { LRUCache } from 'lru-cache'
import type pg from 'pg'
import { monthOf } from '../commands/plans.ts'
import type { EventStore } from '../eventstore/store.ts'
import { foldMonth, type LoggedEvent, type MonthFold, type MonthStatement } from '../statements/month.ts'
import { monthEvents } from '../statements/read.ts'
import { type ActivityQuery, activityOf } from './activity.ts'
import { firstCallAt, keysOf } from './api-keys.ts'
import { customer } from './customers.ts'
import { monthSpan, monthsOf } from './months.ts'
import { statementOf } from './usage.ts'

interface Folded {
  readonly fold: MonthFold
  /** Where to read on, and the hash of the event before that. */
  next: bigint
  hash: string | undefined
  lateVoids: number
}

/** A fold holds at most one line per hour and the month's changes. */
const maxFolds = 200

export function consoleReads(pool: pg.Pool, log: Pick<EventStore, 'readForward'>) {
  const folds = new LRUCache<string, Folded>({ max: maxFolds })
  let turn: Promise<unknown> = Promise.resolve()

  /** Reads only what was not folded before: a month of 100,000 calls takes seconds the first time, and once. */
  async function statement(customerId: string, month: string): Promise<MonthStatement | null> {
    const span = await monthSpan(pool, customerId, month)
    if (span === null) return null
    const key = `${customerId} ${month}`
    const folded = folds.get(key) ?? { fold: foldMonth(month), next: span.from, hash: undefined, lateVoids: 0 }
    folds.delete(key) // a fold that breaks off half-way is forgotten
    const rest = { ...span, from: folded.next, lateVoids: span.lateVoids.slice(folded.lateVoids) }
    for await (const logged of monthEvents(log, customerId, month, rest, folded.hash)) {
      folded.fold.add(logged)
      if (monthOf(logged.event.data.occurredAt) !== month) continue // a later void
      folded.next = logged.revision + 1n
      folded.hash = logged.hash
    }
    folded.lateVoids = span.lateVoids.length
    folds.set(key, folded)
    return folded.fold.statement()
  }

  return {
    customer: (customerId: string, now: string) => customer(pool, customerId, now),
    month: (customerId: string, month: string) => statementOf(pool, customerId, month),
    months: (customerId: string) => monthsOf(pool, customerId),
    keys: (customerId: string) => keysOf(pool, customerId),
    firstCallAt: (customerId: string) => firstCallAt(pool, customerId),
    activity: (customerId: string, query: ActivityQuery) => activityOf(pool, customerId, query),
    /** One at a time in this process: folding competes with the detections for the event loop. */
    statement(customerId: string, month: string): Promise<MonthStatement | null> {
      const made = turn.then(() => statement(customerId, month))
      turn = made.catch(() => {})
      return made
    },
    async statementEvents(customerId: string, month: string): Promise<AsyncIterable<LoggedEvent> | null> {
      const span = await monthSpan(pool, customerId, month)
      return span === null ? null : monthEvents(log, customerId, month, span)
    },
  }
}
