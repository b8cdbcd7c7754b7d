/** A customer's usage of a UTC month, and what a statement of it consists of. */
import type pg from 'pg'
import { monthStart } from '../commands/plans.ts'
import {
  type Counters,
  type CustomerState,
  counters,
  hardCapHolds,
  initialState,
  openMonth,
} from '../commands/state.ts'
import type { PlanName } from '../events/catalogue.ts'
import { queryWithin, requestQueryMs } from '../postgres/pool.ts'

export interface Usage extends Counters {
  readonly customerId: string
  /** `YYYY-MM`, UTC. */
  readonly month: string
  /** The terms after the month's last event. */
  readonly plan: PlanName
  readonly monthlyLimit: number
  /** USD, decimal strings. */
  readonly monthlyFee: string
  readonly overageUnitPrice: string
  /** As it holds: always ON on the free plan. */
  readonly hardCap: boolean
  /** Calls that were not voided, by what paid for them. */
  readonly creditCalls: number
  readonly overageCalls: number
  readonly voidedCalls: number
  /** Number of the month's last call, voided ones included. */
  readonly lastSequence: number
  readonly firstDetectionAt: string | null
  readonly lastDetectionAt: string | null
  /** Revision of the customer's stream that all of this stands at. */
  readonly throughRevision: bigint
}

interface MonthRow {
  plan: PlanName | null
  monthly_limit: bigint
  monthly_fee: string
  overage_unit_price: string
  hard_cap: boolean
  credit_calls: bigint
  overage_calls: bigint
  voided_calls: bigint
  last_sequence: bigint
  first_detection_at: Date | null
  last_detection_at: Date | null
  through_revision: bigint
  state: CustomerState
}

const monthColumns = `u.plan, u.monthly_limit, u.monthly_fee, u.overage_unit_price, u.hard_cap, u.credit_calls,
  u.overage_calls, u.voided_calls, u.last_sequence, u.first_detection_at, u.last_detection_at,
  s.revision as through_revision, s.state`
const monthTables = `readmodel.ledger_snapshots s
  left join readmodel.usage_months u on u.customer_id = s.customer_id and u.year_month = $2`

/**
 * Usage of a month. A month after the newest opened one comes out as it would open; null for an unknown customer and
 * for a month in which the customer's stream has no event (before registration, or idle while nobody wrote openers).
 */
export async function usageOf(pool: pg.Pool, customerId: string, month: string): Promise<Usage | null> {
  const { rows } = await queryWithin<MonthRow>(pool, requestQueryMs, {
    name: 'usage-of',
    text: `select ${monthColumns} from ${monthTables} where s.customer_id = $1`,
    values: [customerId, month],
  })
  return rows[0] === undefined ? null : toUsage(customerId, month, rows[0])
}

function toUsage(customerId: string, month: string, row: MonthRow): Usage | null {
  const { state, through_revision: throughRevision } = row
  if (row.plan !== null) {
    const terms = {
      plan: row.plan,
      monthlyLimit: Number(row.monthly_limit),
      monthlyFee: row.monthly_fee,
      overageUnitPrice: row.overage_unit_price,
    }
    const creditCalls = Number(row.credit_calls)
    const overageCalls = Number(row.overage_calls)
    return {
      ...figures(customerId, month, { ...initialState, terms, hardCap: row.hard_cap, creditCalls, overageCalls }),
      voidedCalls: Number(row.voided_calls),
      lastSequence: Number(row.last_sequence),
      firstDetectionAt: row.first_detection_at?.toISOString() ?? null,
      lastDetectionAt: row.last_detection_at?.toISOString() ?? null,
      throughRevision,
    }
  }
  if (month <= state.yearMonth) return null
  const opened = openMonth(state, monthStart(month))
  return {
    ...figures(customerId, month, opened),
    voidedCalls: 0,
    lastSequence: 0,
    firstDetectionAt: null,
    lastDetectionAt: null,
    throughRevision,
  }
}

function figures(customerId: string, month: string, state: CustomerState) {
  const { terms, creditCalls, overageCalls } = state
  return {
    customerId,
    month,
    ...terms,
    hardCap: hardCapHolds(state),
    creditCalls,
    overageCalls,
    ...counters(state),
  }
}

/** Calls of a month at one price. A month has several lines when plan or price changed within it. */
export interface StatementLine {
  readonly plan: PlanName
  /** USD a call past the limit, decimal string. */
  readonly overageUnitPrice: string
  readonly creditCalls: number
  readonly overageCalls: number
  readonly voidedCalls: number
}

/** The terms that held from a revision on. */
export interface TermsChange {
  readonly revision: bigint
  readonly plan: PlanName
  readonly monthlyLimit: number
  readonly monthlyFee: string
  readonly overageUnitPrice: string
}

export interface Statement {
  readonly usage: Usage
  readonly lines: readonly StatementLine[]
  /** In order; the first is the month's opener (or the registration before it). */
  readonly terms: readonly TermsChange[]
  /** Days with calls only, `YYYY-MM-DD`, UTC. */
  readonly days: readonly DayCalls[]
}

export interface DayCalls {
  readonly day: string
  readonly creditCalls: number
  readonly overageCalls: number
  readonly voidedCalls: number
}

interface StatementRow extends MonthRow {
  lines: StatementLine[]
  days: DayCalls[]
  terms: (Omit<TermsChange, 'revision'> & { revision: string })[]
}

const calls = `'creditCalls', credit_calls, 'overageCalls', overage_calls, 'voidedCalls', voided_calls`

/** The rows of a month's statement; null where usageOf is null. One SQL statement, so that the figures add up. */
export async function statementOf(pool: pg.Pool, customerId: string, month: string): Promise<Statement | null> {
  const { rows } = await pool.query<StatementRow>(
    `select ${monthColumns},
       (select coalesce(json_agg(json_build_object('plan', plan, 'overageUnitPrice', overage_unit_price, ${calls})
                                 order by plan, overage_unit_price), '[]')
        from readmodel.usage_prices where customer_id = $1 and year_month = $2) as lines,
       (select coalesce(json_agg(json_build_object('day', day, ${calls}) order by day), '[]')
        from readmodel.usage_days where customer_id = $1 and day like $2 || '-%') as days,
       (select coalesce(json_agg(json_build_object('revision', revision::text, 'plan', plan, 'monthlyLimit',
                                   monthly_limit, 'monthlyFee', monthly_fee, 'overageUnitPrice', overage_unit_price)
                                 order by terms.revision), '[]')
        from readmodel.terms where customer_id = $1 and year_month = $2) as terms
     from ${monthTables} where s.customer_id = $1`,
    [customerId, month],
  )
  const [row] = rows
  const usage = row === undefined ? null : toUsage(customerId, month, row)
  if (row === undefined || usage === null) return null
  const { lines, days } = row
  return { usage, lines, days, terms: row.terms.map((held) => ({ ...held, revision: BigInt(held.revision) })) }
}
