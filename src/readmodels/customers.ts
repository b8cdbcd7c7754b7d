/** Customers as an operator or their console asks for them. */
import type pg from 'pg'
import { monthOf } from '../commands/plans.ts'
import { type CustomerState, foldVersion, hardCapHolds, openMonth } from '../commands/state.ts'
import type { Licence, PlanName } from '../events/catalogue.ts'

export interface Customer {
  readonly customerId: string
  readonly plan: PlanName
  readonly monthlyLimit: number
  /** USD, decimal strings. */
  readonly monthlyFee: string
  readonly overageUnitPrice: string
  /** As it holds: always ON on the free plan. */
  readonly hardCap: boolean
  /** The UTC month, `YYYY-MM`. */
  readonly month: string
  readonly licence: Licence
  readonly scheduled: NonNullable<CustomerState['scheduled']> | null
  readonly ended: NonNullable<CustomerState['ended']> | null
  readonly deactivated: boolean
  readonly registeredAt: string
  readonly lastEventAt: string
  /** Revision of the customer's stream that this row stands at, and the hash of the event there. */
  readonly revision: bigint
  readonly headHash: string
}

interface Row {
  customer_id: string
  registered_at: Date
  revision: bigint
  head_hash: string
  state: CustomerState
}

const select = `select c.customer_id, c.registered_at, c.revision, c.head_hash, s.state
  from readmodel.customers c join readmodel.ledger_snapshots s using (customer_id)`

/** The customer as of `now` (ISO 8601 UTC): in a new month as that month begins, though its opener is not yet written. */
function toCustomer({ customer_id, registered_at, revision, head_hash, state }: Row, now: string): Customer {
  const { terms, yearMonth, licence, scheduled, ended, deactivated } = openMonth(state, now)
  return {
    customerId: customer_id,
    ...terms,
    hardCap: hardCapHolds({ ...state, terms }),
    month: yearMonth,
    licence,
    scheduled: scheduled ?? null,
    ended: ended ?? null,
    deactivated,
    registeredAt: registered_at.toISOString(),
    lastEventAt: state.lastOccurredAt,
    revision,
    headHash: head_hash,
  }
}

/** One customer as of `now`; null when unknown. */
export async function customer(pool: pg.Pool, customerId: string, now: string): Promise<Customer | null> {
  const { rows } = await pool.query<Row>(`${select} where c.customer_id = $1`, [customerId])
  return rows[0] === undefined ? null : toCustomer(rows[0], now)
}

/** All customers as of `now`, the first registered first. */
export async function listCustomers(pool: pg.Pool, now: string): Promise<Customer[]> {
  const { rows } = await pool.query<Row>(`${select} order by c.registered_at, c.customer_id`)
  return rows.map((row) => toCustomer(row, now))
}

/** Ids of customers for whom something begins at `now` that nobody has written: a month, or another licence. */
export async function customersToOpen(pool: pg.Pool, now: string): Promise<string[]> {
  const { rows } = await pool.query<{ customer_id: string }>(
    `select customer_id from readmodel.customers where month < $1
     union
     select customer_id from readmodel.ledger_snapshots
     where fold_version = $3 and state -> 'moving' ->> 'effectiveAt' <= $2
     order by customer_id`,
    [monthOf(now), now, foldVersion],
  )
  return rows.map((row) => row.customer_id)
}
