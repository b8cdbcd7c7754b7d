/**
 * Read models of usage: totals per month, per price and per day, and the history of terms. Counts are written as sums
 * to add to what stands there: once-ness is the checkpoint's, so no row is read first.
 */
import { monthOf } from '../commands/plans.ts'
import type { DataOf, Funding } from '../events/catalogue.ts'
import { type FoldedEvent, type Projection, recordset, statement, upsert } from './projection.ts'

const termColumns = { plan: 'text', monthly_limit: 'bigint', monthly_fee: 'text', overage_unit_price: 'text' }
const counts = { credit_calls: 'bigint', overage_calls: 'bigint' }
const added = {
  credit_calls: 't.credit_calls + excluded.credit_calls',
  overage_calls: 't.overage_calls + excluded.overage_calls',
}

const upsertMonths = upsert(
  'usage_months',
  ['customer_id', 'year_month'],
  {
    customer_id: 'uuid',
    year_month: 'text',
    ...termColumns,
    hard_cap: 'boolean',
    ...counts,
    voided_calls: 'bigint',
    last_sequence: 'bigint',
    first_detection_at: 'timestamptz',
    last_detection_at: 'timestamptz',
    revision: 'bigint',
  },
  {
    ...added,
    voided_calls: null,
    last_sequence: 'greatest(t.last_sequence, excluded.last_sequence)',
    first_detection_at: 'coalesce(t.first_detection_at, excluded.first_detection_at)',
    last_detection_at: 'coalesce(excluded.last_detection_at, t.last_detection_at)',
  },
)

const upsertPrices = upsert(
  'usage_prices',
  ['customer_id', 'year_month', 'plan', 'overage_unit_price'],
  {
    customer_id: 'uuid',
    year_month: 'text',
    plan: 'text',
    overage_unit_price: 'text',
    ...counts,
    voided_calls: 'bigint',
  },
  { ...added, voided_calls: null },
)

const upsertDays = upsert(
  'usage_days',
  ['customer_id', 'day'],
  { customer_id: 'uuid', day: 'text', ...counts, voided_calls: 'bigint' },
  { ...added, voided_calls: null },
)

const insertTerms = upsert('terms', ['customer_id', 'revision'], {
  customer_id: 'uuid',
  revision: 'bigint',
  year_month: 'text',
  ...termColumns,
})

// Voids are rare (an attempt in doubt that landed) and may concern an earlier month: they are updates of their own.
const voidColumns = {
  customer_id: 'uuid',
  year_month: 'text',
  day: 'text',
  detection_revision: 'bigint',
  revision: 'bigint',
  credit: 'integer',
  overage: 'integer',
}
const takeBack = `credit_calls = t.credit_calls - v.credit, overage_calls = t.overage_calls - v.overage,
  voided_calls = t.voided_calls + v.credit + v.overage`
const voidMonths = `update usage_months t set ${takeBack}, revision = greatest(t.revision, v.revision)
  from (select customer_id, year_month, sum(credit) as credit, sum(overage) as overage, max(revision) as revision
        from ${recordset('r', voidColumns)} group by customer_id, year_month) v
  where t.customer_id = v.customer_id and t.year_month = v.year_month`
const voidDays = `update usage_days t set ${takeBack}
  from (select customer_id, day, sum(credit) as credit, sum(overage) as overage
        from ${recordset('r', voidColumns)} group by customer_id, day) v
  where t.customer_id = v.customer_id and t.day = v.day`
// The void does not repeat the detection's price; the terms that held at its revision do.
const voidPrices = `update usage_prices t set ${takeBack}
  from (select r.customer_id, r.year_month, held.plan, held.overage_unit_price,
               sum(r.credit) as credit, sum(r.overage) as overage
        from ${recordset('r', voidColumns)}
        cross join lateral (select plan, overage_unit_price from terms
                            where terms.customer_id = r.customer_id and terms.revision <= r.detection_revision
                            order by terms.revision desc limit 1) held
        group by r.customer_id, r.year_month, held.plan, held.overage_unit_price) v
  where t.customer_id = v.customer_id and t.year_month = v.year_month
    and t.plan = v.plan and t.overage_unit_price = v.overage_unit_price`

type Counts = { credit_calls: number; overage_calls: number }
type PriceRow = Counts & { customer_id: string; year_month: string; plan: string; overage_unit_price: string }
type DayRow = Counts & { customer_id: string; day: string }
const count = (row: Counts, funding: Funding) => {
  row[funding === 'credit' ? 'credit_calls' : 'overage_calls'] += 1
}
const none = { credit_calls: 0, overage_calls: 0, voided_calls: 0 }

function getOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

/** Total rows of the months, with the terms that hold after the month's last event. */
function monthRows(batch: readonly FoldedEvent[]) {
  interface Month extends Counts {
    last: FoldedEvent
    last_sequence: number
    first_detection_at: string | null
    last_detection_at: string | null
  }
  const months = new Map<string, Month>()
  let month: Month | undefined
  for (const folded of batch) {
    const { customerId, event, after } = folded
    if (after.yearMonth === '') continue // registered, and the first opener comes next
    if (month?.last.customerId !== customerId || month.last.after.yearMonth !== after.yearMonth) {
      month = getOrAdd(months, customerId + after.yearMonth, () => ({
        ...none,
        last: folded,
        last_sequence: 0,
        first_detection_at: null,
        last_detection_at: null,
      }))
    }
    month.last = folded
    if (event.type !== 'DetectionSucceeded') continue
    count(month, event.data.funding)
    month.last_sequence = event.data.sequence
    month.first_detection_at ??= event.data.occurredAt
    month.last_detection_at = event.data.occurredAt
  }
  return [...months.values()].map(({ last, ...totals }) => ({
    ...none,
    ...totals,
    customer_id: last.customerId,
    year_month: last.after.yearMonth,
    ...termsRow(last),
    hard_cap: last.after.hardCap,
    revision: last.revision.toString(),
  }))
}

const termsRow = ({ after: { terms } }: FoldedEvent) => ({
  plan: terms.plan,
  monthly_limit: terms.monthlyLimit,
  monthly_fee: terms.monthlyFee,
  overage_unit_price: terms.overageUnitPrice,
})

function voidRow(revision: bigint, data: DataOf<'DetectionVoided'>) {
  const hour = data.bucketKey.slice(data.bucketKey.lastIndexOf('|') + 1) // `2026-01-31T13Z`, of the detection
  return {
    customer_id: data.customerId,
    year_month: data.yearMonth,
    day: hour.slice(0, 10),
    detection_revision: data.revision,
    revision: revision.toString(),
    credit: data.funding === 'credit' ? 1 : 0,
    overage: data.funding === 'overage' ? 1 : 0,
  }
}

const countColumns = `credit_calls bigint not null, overage_calls bigint not null, voided_calls bigint not null`
const termsDdl = `plan text not null, monthly_limit bigint not null, monthly_fee text not null,
  overage_unit_price text not null`

export const usage: Projection = {
  name: 'usage',
  version: 1,
  tables: {
    usage_months: `create table usage_months (
      customer_id uuid not null,
      year_month text not null,
      ${termsDdl},
      hard_cap boolean not null,
      ${countColumns},
      last_sequence bigint not null,
      first_detection_at timestamptz,
      last_detection_at timestamptz,
      revision bigint not null,
      primary key (customer_id, year_month)
    ) with (fillfactor = 70)`,
    usage_prices: `create table usage_prices (
      customer_id uuid not null,
      year_month text not null,
      plan text not null,
      overage_unit_price text not null,
      ${countColumns},
      primary key (customer_id, year_month, plan, overage_unit_price)
    ) with (fillfactor = 70)`,
    usage_days: `create table usage_days (
      customer_id uuid not null,
      day text not null,
      ${countColumns},
      primary key (customer_id, day)
    ) with (fillfactor = 70)`,
    terms: `create table terms (
      customer_id uuid not null,
      revision bigint not null,
      year_month text not null,
      ${termsDdl},
      primary key (customer_id, revision)
    )`,
  },
  fold(batch) {
    const prices = new Map<string, PriceRow>()
    const days = new Map<string, DayRow>()
    let price: PriceRow | undefined
    let date: DayRow | undefined
    const terms: Record<string, unknown>[] = []
    const voids: Record<string, unknown>[] = []
    for (const folded of batch) {
      const { customerId, revision, event, before, after } = folded
      if (event.type === 'DetectionSucceeded') {
        const { yearMonth, plan, overageUnitPrice, occurredAt, funding } = event.data
        const day = occurredAt.slice(0, 10)
        // Neighbours mostly count in the same rows.
        if (
          price?.customer_id !== customerId ||
          price.year_month !== yearMonth ||
          price.plan !== plan ||
          price.overage_unit_price !== overageUnitPrice
        ) {
          price = getOrAdd(prices, `${customerId} ${yearMonth} ${plan} ${overageUnitPrice}`, () => ({
            customer_id: customerId,
            year_month: yearMonth,
            plan,
            overage_unit_price: overageUnitPrice,
            ...none,
          }))
        }
        if (date?.customer_id !== customerId || date.day !== day) {
          date = getOrAdd(days, customerId + day, () => ({ customer_id: customerId, day, ...none }))
        }
        count(price, funding)
        count(date, funding)
      } else if (event.type === 'DetectionVoided') {
        voids.push(voidRow(revision, event.data))
      }
      if (after.terms !== before.terms) {
        terms.push({
          customer_id: customerId,
          revision: revision.toString(),
          year_month: monthOf(event.data.occurredAt),
          ...termsRow(folded),
        })
      }
    }
    return [
      ...upsertMonths(monthRows(batch)),
      ...upsertPrices([...prices.values()]),
      ...upsertDays([...days.values()]),
      ...insertTerms(terms),
      ...statement('usage_months.void', voidMonths, voids),
      ...statement('usage_prices.void', voidPrices, voids),
      ...statement('usage_days.void', voidDays, voids),
    ]
  },
}
