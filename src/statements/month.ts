/**
 * A month's statement as a pure fold of the customer's events: the console shows it, the auditor's replay recomputes it.
 * Prices and terms come from the events; nothing asks today's catalogue.
 */
import { monthOf, type Terms } from '../commands/plans.ts'
import { type CustomerState, evolve, hardCapHolds, initialState } from '../commands/state.ts'
import type { CustomerEvent, DataOf, PlanName } from '../events/catalogue.ts'
import { overageAmount } from './amounts.ts'

/** Where something stands in the log. */
export interface Place {
  /** Of the customer's stream. */
  readonly revision: bigint
  readonly eventId: string
}

export interface LoggedEvent extends Place {
  readonly actor: string
  readonly hash: string
  readonly event: CustomerEvent
}

/** Terms, from the event on that brought them. */
export interface TermsHeld extends Terms, Place {
  readonly since: string
}

/** Calls at one plan and unit price, in the order in which prices came to hold. */
export interface CallLine {
  readonly plan: PlanName
  /** USD a call past the limit, decimal string. */
  readonly overageUnitPrice: string
  /** Calls that were not voided, by what paid for them. */
  readonly creditCalls: number
  readonly overageCalls: number
  readonly voidedCalls: number
  /** USD, exact decimal string: overage calls × unit price. */
  readonly amount: string
  /** The first and the last call of the line, voided ones included. */
  readonly first: Place
  readonly last: Place
}

/** Overage of one UTC hour in one bucket: what one metering record is made of. */
export interface OverageHour {
  /** `2026-01-31T13Z`. */
  readonly hour: string
  readonly bucketKey: string
  readonly overageUnitPrice: string
  readonly overageCalls: number
  readonly voidedCalls: number
  readonly amount: string
  readonly first: Place
  readonly last: Place
}

export interface MonthStatement {
  readonly customerId: string
  /** `YYYY-MM`, UTC. */
  readonly month: string
  /** In order; the first is the month's opener. */
  readonly terms: readonly TermsHeld[]
  /** As it held after the month's last event: always ON on the free plan. */
  readonly hardCap: boolean
  readonly lines: readonly CallLine[]
  readonly hours: readonly OverageHour[]
  /** Everything besides calls and replays, in order. Voids of this month's calls may be of a later month. */
  readonly changes: readonly LoggedEvent[]
  readonly creditCalls: number
  readonly overageCalls: number
  readonly voidedCalls: number
  /** Numbers of the month's first and last call, voided ones included; null without calls. */
  readonly sequences: { readonly first: number; readonly last: number } | null
  /** USD, exact decimal string. */
  readonly overageAmount: string
  /** What was folded: whoever recomputes the chain of these events arrives at `hash`. */
  readonly digest: {
    readonly first: Place
    /** The month's own last event. Later voids stand in `changes`. */
    readonly last: Place
    readonly events: number
    readonly hash: string
  }
}

interface Tally {
  creditCalls: number
  overageCalls: number
  voidedCalls: number
  first: Place
  last: Place
}
type Line = Tally & { readonly plan: PlanName; readonly overageUnitPrice: string }
type Hour = Tally & { readonly hour: string; readonly bucketKey: string; readonly overageUnitPrice: string }

export interface MonthFold {
  /** Takes events in the order of the stream: the month's own from its first on, then later voids of its calls. */
  add(logged: LoggedEvent): void
  /** Null when nothing was added. */
  statement(): MonthStatement | null
}

export function foldMonth(month: string): MonthFold {
  let state: CustomerState = initialState
  let first: Place | undefined
  let last: (Place & { hash: string }) | undefined
  let events = 0
  let sequences: { first: number; last: number } | null = null
  const terms: TermsHeld[] = []
  const lines = new Map<string, Line>()
  const hours = new Map<string, Hour>()
  const changes: LoggedEvent[] = []

  function count(place: Place, data: DataOf<'DetectionSucceeded'>): void {
    const { plan, overageUnitPrice, bucketKey, funding, sequence } = data
    sequences = { first: sequences?.first ?? sequence, last: sequence }
    const none = { creditCalls: 0, overageCalls: 0, voidedCalls: 0, first: place, last: place }
    const line = getOrAdd(lines, lineKey(plan, overageUnitPrice), () => ({ ...none, plan, overageUnitPrice }))
    line.last = place
    if (funding === 'credit') {
      line.creditCalls += 1
      return
    }
    line.overageCalls += 1
    const hour = getOrAdd(hours, hourKey(bucketKey, overageUnitPrice), () => ({
      ...none,
      hour: bucketKey.slice(bucketKey.lastIndexOf('|') + 1),
      bucketKey,
      overageUnitPrice,
    }))
    hour.last = place
    hour.overageCalls += 1
  }

  /** A void does not repeat the price; the terms that held at the call's revision do. */
  function takeBack({ revision, funding, bucketKey }: DataOf<'DetectionVoided'>): void {
    const held = terms.findLast((candidate) => candidate.revision <= BigInt(revision))
    const line = held && lines.get(lineKey(held.plan, held.overageUnitPrice))
    if (held === undefined || line === undefined) throw new Error(`no call at revision ${revision} to take back`)
    line.voidedCalls += 1
    if (funding === 'credit') {
      line.creditCalls -= 1
      return
    }
    line.overageCalls -= 1
    const hour = hours.get(hourKey(bucketKey, held.overageUnitPrice))
    if (hour === undefined) throw new Error(`no overage hour of the call at revision ${revision} to take it back from`)
    hour.overageCalls -= 1
    hour.voidedCalls += 1
  }

  return {
    add(logged) {
      const { event, revision, eventId, hash } = logged
      const place = { revision, eventId }
      const { occurredAt } = event.data
      const own = monthOf(occurredAt) === month
      if (own) {
        const before = state
        state = evolve(before, event)
        first ??= place
        last = { ...place, hash }
        events += 1
        // A registration's terms are repeated by the opener that follows it at once.
        if (state.terms !== before.terms && state.yearMonth === month) {
          terms.push({ ...state.terms, ...place, since: occurredAt })
        }
      }
      if (event.type === 'DetectionSucceeded') {
        if (own) count(place, event.data)
        return
      }
      const takesBack = event.type === 'DetectionVoided' && event.data.yearMonth === month
      if (takesBack) takeBack(event.data)
      if ((own && event.type !== 'DetectionReplayed') || takesBack) changes.push(logged)
    },
    statement() {
      if (first === undefined || last === undefined) return null
      const { hash, ...end } = last
      const all = [...lines.values()]
      const sum = (of: 'creditCalls' | 'overageCalls' | 'voidedCalls') =>
        all.reduce((total, line) => total + line[of], 0)
      return {
        customerId: state.customerId,
        month,
        terms: [...terms],
        hardCap: hardCapHolds(state),
        lines: all.map((line) => ({ ...line, amount: overageAmount([line]) })),
        hours: [...hours.values()].map(({ creditCalls: _, ...hour }) => ({ ...hour, amount: overageAmount([hour]) })),
        changes: [...changes],
        creditCalls: sum('creditCalls'),
        overageCalls: sum('overageCalls'),
        voidedCalls: sum('voidedCalls'),
        sequences,
        overageAmount: overageAmount(all),
        digest: { first, last: end, events, hash },
      }
    },
  }
}

const lineKey = (plan: PlanName, price: string): string => `${plan} ${price}`
const hourKey = (bucketKey: string, price: string): string => `${bucketKey} ${price}`

function getOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
