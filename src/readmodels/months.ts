/** A customer's months: their totals, and where each stands in the log. */
import type pg from 'pg'
import { monthEnd } from '../commands/plans.ts'
import type { PlanName } from '../events/catalogue.ts'

export interface MonthTotals {
  /** `YYYY-MM`, UTC. */
  readonly month: string
  /** The terms after the month's last event. */
  readonly plan: PlanName
  readonly monthlyLimit: number
  readonly creditCalls: number
  readonly overageCalls: number
  readonly voidedCalls: number
  /** What the overage consists of; several prices when plan or price changed within the month. USD, decimal strings. */
  readonly prices: readonly { readonly overageUnitPrice: string; readonly overageCalls: number }[]
}

/** Months in which the customer's stream has events, the newest first. */
export async function monthsOf(pool: pg.Pool, customerId: string): Promise<MonthTotals[]> {
  const { rows } = await pool.query<{
    month: string
    plan: PlanName
    monthly_limit: bigint
    credit_calls: bigint
    overage_calls: bigint
    voided_calls: bigint
    prices: MonthTotals['prices']
  }>(
    `select m.year_month as month, m.plan, m.monthly_limit, m.credit_calls, m.overage_calls, m.voided_calls,
       (select coalesce(json_agg(json_build_object('overageUnitPrice', p.overage_unit_price,
                                                   'overageCalls', p.overage_calls)
                                 order by p.overage_unit_price, p.plan), '[]')
        from readmodel.usage_prices p
        where p.customer_id = m.customer_id and p.year_month = m.year_month and p.overage_calls > 0) as prices
     from readmodel.usage_months m where m.customer_id = $1 order by m.year_month desc`,
    [customerId],
  )
  return rows.map((row) => ({
    month: row.month,
    plan: row.plan,
    monthlyLimit: Number(row.monthly_limit),
    creditCalls: Number(row.credit_calls),
    overageCalls: Number(row.overage_calls),
    voidedCalls: Number(row.voided_calls),
    prices: row.prices,
  }))
}

/** Where a month stands in the customer's stream. */
export interface MonthSpan {
  /** Revision of its first event. */
  readonly from: bigint
  /** Revision of the event after its last one; null while the month is the newest. */
  readonly end: bigint | null
  /** Revisions of later events that void a call of this month. */
  readonly lateVoids: readonly bigint[]
}

/**
 * Null for a month without events. Terms are noted at each opener, so the first note of a month is its first event, and
 * the first note of a later month the first event after it.
 */
export async function monthSpan(pool: pg.Pool, customerId: string, month: string): Promise<MonthSpan | null> {
  const { rows } = await pool.query<{ from: bigint | null; end: bigint | null; late: string[] }>(
    `select (select min(revision) from readmodel.terms where customer_id = $1 and year_month = $2) as "from",
       (select min(revision) from readmodel.terms where customer_id = $1 and year_month > $2) as "end",
       (select coalesce(json_agg(revision::text order by revision), '[]') from readmodel.activity
        where customer_id = $1 and type = 'DetectionVoided' and data->>'yearMonth' = $2 and occurred_at >= $3) as late`,
    [customerId, month, monthEnd(month)],
  )
  const [row] = rows
  if (row === undefined || row.from === null) return null
  return { from: BigInt(row.from), end: row.end === null ? null : BigInt(row.end), lateVoids: row.late.map(BigInt) }
}
