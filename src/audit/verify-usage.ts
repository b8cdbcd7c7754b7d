/**
 * What the read models of usage must hold, folded from the log. Pure, and written anew: it shares nothing with the
 * projections that it checks but the ledger's own fold of a customer's state.
 */
import { monthOf, type Terms } from '../commands/plans.ts'
import type { CustomerState } from '../commands/state.ts'
import type { CustomerEventType, Funding } from '../events/catalogue.ts'
import type { LoggedEvent } from '../statements/month.ts'
import { type AuditedTable, type Rows, rowsOf, type Tables } from './verify-rows.ts'

interface Counts {
  credit: number
  overage: number
  voided: number
}
const noCalls = (): Counts => ({ credit: 0, overage: 0, voided: 0 })

/** A customer's month. Plain data. */
export interface UsageMonth {
  readonly calls: Counts
  lastSequence: number
  firstAt: string | null
  lastAt: string | null
  /** As they hold after the month's last event; null before its opener. */
  held: { readonly terms: Terms; readonly hardCap: boolean } | null
  /** Of the last event that changed the month's row. */
  revision: bigint
  /** Plan → unit price → calls. */
  readonly prices: Map<string, Map<string, Counts>>
  readonly days: Map<string, Counts>
  readonly terms: { readonly revision: bigint; readonly terms: Terms }[]
  /** Whatever happened besides calls: few events. */
  readonly activity: LoggedEvent[]
}

export const newUsageMonth = (): UsageMonth => ({
  calls: noCalls(),
  lastSequence: 0,
  firstAt: null,
  lastAt: null,
  held: null,
  revision: -1n,
  prices: new Map(),
  days: new Map(),
  terms: [],
  activity: [],
})

/** Events that a customer would not call an occurrence. */
const noActivity: readonly CustomerEventType[] = ['DetectionSucceeded', 'DetectionReplayed', 'AttemptFenced']

/** @param usageOf a month's fold; null when it is no longer there to be changed */
export function foldUsage(
  usageOf: (month: string) => UsageMonth | null,
  logged: LoggedEvent,
  before: CustomerState,
  after: CustomerState,
): void {
  const { event, revision } = logged
  const { occurredAt } = event.data
  if (!noActivity.includes(event.type)) usageOf(monthOf(occurredAt))?.activity.push(logged)
  if (after.yearMonth !== '') {
    const usage = usageOf(after.yearMonth)
    if (usage !== null) {
      usage.held = after
      usage.revision = revision
    }
  }
  if (after.terms !== before.terms) usageOf(monthOf(occurredAt))?.terms.push({ revision, terms: after.terms })
  if (event.type === 'DetectionSucceeded') {
    const { yearMonth, plan, overageUnitPrice, funding, sequence } = event.data
    const usage = usageOf(yearMonth)
    if (usage === null) return
    usage.lastSequence = sequence
    usage.firstAt ??= occurredAt
    usage.lastAt = occurredAt
    usage.calls[funding] += 1
    pricesOf(usage, plan, overageUnitPrice)[funding] += 1
    dayOf(usage, occurredAt.slice(0, 10))[funding] += 1
  } else if (event.type === 'DetectionVoided') {
    const { yearMonth, funding, bucketKey, revision: of } = event.data
    const usage = usageOf(yearMonth)
    if (usage === null) return
    usage.revision = revision
    const held = usage.terms.findLast((candidate) => candidate.revision <= BigInt(of))?.terms ?? before.terms
    takeBack(usage.calls, funding)
    takeBack(pricesOf(usage, held.plan, held.overageUnitPrice), funding)
    takeBack(dayOf(usage, bucketKey.slice(bucketKey.lastIndexOf('|') + 1).slice(0, 10)), funding)
  }
}

function takeBack(counts: Counts, funding: Funding): void {
  counts[funding] -= 1
  counts.voided += 1
}

const pricesOf = ({ prices }: UsageMonth, plan: string, price: string): Counts =>
  getOrAdd(
    getOrAdd(prices, plan, () => new Map<string, Counts>()),
    price,
    noCalls,
  )

const dayOf = ({ days }: UsageMonth, day: string): Counts => getOrAdd(days, day, noCalls)

function getOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

const termColumns = ['plan', 'monthly_limit', 'monthly_fee', 'overage_unit_price']
const countColumns = ['credit_calls', 'overage_calls', 'voided_calls']

export const usageTables = {
  usage_months: {
    name: 'usage_months',
    columns: [
      'customer_id',
      'year_month',
      ...termColumns,
      'hard_cap',
      ...countColumns,
      'last_sequence',
      'first_detection_at',
      'last_detection_at',
      'revision',
    ],
    key: ['year_month'],
    monthOf: ({ year_month }) => String(year_month),
  },
  usage_prices: {
    name: 'usage_prices',
    columns: ['customer_id', 'year_month', 'plan', 'overage_unit_price', ...countColumns],
    key: ['year_month', 'plan', 'overage_unit_price'],
    monthOf: ({ year_month }) => String(year_month),
  },
  usage_days: {
    name: 'usage_days',
    columns: ['customer_id', 'day', ...countColumns],
    key: ['day'],
    monthOf: ({ day }) => String(day).slice(0, 7),
  },
  terms: {
    name: 'terms',
    columns: ['customer_id', 'revision', 'year_month', ...termColumns],
    key: ['revision'],
    monthOf: ({ year_month }) => String(year_month),
    eventOf: ({ revision }) => ({ revision: String(revision), id: null }),
  },
  activity: {
    name: 'activity',
    columns: ['customer_id', 'revision', 'event_id', 'occurred_at', 'actor', 'type', 'data'],
    key: ['revision'],
    monthOf: ({ occurred_at }) => (occurred_at as Date).toISOString().slice(0, 7),
    eventOf: ({ revision, event_id }) => ({ revision: String(revision), id: String(event_id) }),
  },
} as const satisfies Record<string, AuditedTable>

export function usageRows(customerId: string, month: string, usage: UsageMonth): Tables {
  const { held, calls, prices, days, terms, activity } = usage
  const of = { customer_id: customerId, year_month: month }
  const months =
    held === null
      ? []
      : [
          {
            ...of,
            ...termsIn(held.terms),
            ...countsIn(calls),
            hard_cap: held.hardCap,
            last_sequence: usage.lastSequence,
            first_detection_at: usage.firstAt,
            last_detection_at: usage.lastAt,
            revision: usage.revision,
          },
        ]
  const { usage_months, usage_prices, usage_days, terms: ofTerms, activity: ofActivity } = usageTables
  return new Map<AuditedTable, Rows>([
    [usage_months, rowsOf(usage_months, months)],
    [
      usage_prices,
      rowsOf(
        usage_prices,
        [...prices].flatMap(([plan, ofPlan]) =>
          [...ofPlan].map(([price, counts]) => ({ ...of, plan, overage_unit_price: price, ...countsIn(counts) })),
        ),
      ),
    ],
    [
      usage_days,
      rowsOf(
        usage_days,
        [...days].map(([day, counts]) => ({ ...of, day, ...countsIn(counts) })),
      ),
    ],
    [
      ofTerms,
      rowsOf(
        ofTerms,
        terms.map(({ revision, terms: held }) => ({ ...of, revision, ...termsIn(held) })),
      ),
    ],
    [
      ofActivity,
      rowsOf(
        ofActivity,
        activity.map(({ revision, eventId, actor, event: { type, data } }) => ({
          customer_id: customerId,
          revision,
          event_id: eventId,
          occurred_at: data.occurredAt,
          actor,
          type,
          data,
        })),
      ),
    ],
  ])
}

const termsIn = ({ plan, monthlyLimit, monthlyFee, overageUnitPrice }: Terms) => ({
  plan,
  monthly_limit: monthlyLimit,
  monthly_fee: monthlyFee,
  overage_unit_price: overageUnitPrice,
})
const countsIn = ({ credit, overage, voided }: Counts) => ({
  credit_calls: credit,
  overage_calls: overage,
  voided_calls: voided,
})
