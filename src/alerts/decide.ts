/**
 * Decides which letters about usage are to be sent. The usage read model says which; the primary key of `usage_alerts`
 * lets each be decided once, whoever else decides at the same moment.
 */
import type pg from 'pg'
import { type Alert, alertKinds, isReached } from './rule.ts'

export interface DecideOptions {
  readonly months: readonly string[]
  /** Whose usage has changed; `all` when that is not known. */
  readonly customers: ReadonlySet<string> | 'all'
  /** How long a letter waits before it is sent, in milliseconds. */
  readonly settleMs: number
}

interface UsageRow {
  customer_id: string
  year_month: string
  monthly_limit: bigint
  credit_calls: bigint
  overage_calls: bigint
}

/** Returns how many letters were decided. A customer without an account gets none. */
export async function decideAlerts(pool: pg.Pool, options: DecideOptions): Promise<number> {
  const earned = (await usageRows(pool, options)).flatMap((row): Alert[] => {
    const figures = {
      monthlyLimit: Number(row.monthly_limit),
      creditCalls: Number(row.credit_calls),
      overageCalls: Number(row.overage_calls),
    }
    return alertKinds
      .filter((kind) => isReached(kind, figures))
      .map((kind) => ({ customerId: row.customer_id, month: row.year_month, kind }))
  })
  if (earned.length === 0) return 0
  const { rowCount } = await pool.query(
    `insert into usage_alerts (customer_id, year_month, kind, state, next_try_at)
     select a.customer_id, earned.year_month, earned.kind, case when a.alerts_enabled then 'due' else 'silent' end,
            clock_timestamp() + $4 * interval '1 millisecond'
     from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as earned(customer_id, year_month, kind, place)
     join accounts a using (customer_id)
     order by earned.place
     on conflict do nothing`,
    [
      earned.map(({ customerId }) => customerId),
      earned.map(({ month }) => month),
      earned.map(({ kind }) => kind),
      options.settleMs,
    ],
  )
  return rowCount ?? 0
}

/** By primary key, from the accounts: months long gone are not read. */
async function usageRows(pool: pg.Pool, { months, customers }: DecideOptions): Promise<UsageRow[]> {
  if (customers !== 'all' && customers.size === 0) return []
  const { rows } = await pool.query<UsageRow>(
    `select u.customer_id, u.year_month, u.monthly_limit, u.credit_calls, u.overage_calls
     from accounts a join readmodel.usage_months u on u.customer_id = a.customer_id and u.year_month = any($1)
     where $2::uuid[] is null or a.customer_id = any($2)`,
    [months, customers === 'all' ? null : [...customers]],
  )
  return rows
}
