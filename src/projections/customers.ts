/** Read model `customers`: one row per customer, the newest state in columns. Its revision is what readers wait for. */
import { type Projection, upsert } from './projection.ts'

const columns = {
  customer_id: 'uuid',
  plan: 'text',
  monthly_limit: 'bigint',
  monthly_fee: 'text',
  overage_unit_price: 'text',
  hard_cap: 'boolean',
  month: 'text',
  licence: 'jsonb',
  scheduled: 'jsonb',
  ended: 'jsonb',
  deactivated: 'boolean',
  registered_at: 'timestamptz',
  last_event_at: 'timestamptz',
  revision: 'bigint',
  head_hash: 'text',
}

// The first event of a stream is its registration: the row's first insert holds that instant, and it stays; what later
// upserts propose there is never taken.
const upsertCustomers = upsert('customers', ['customer_id'], columns, { registered_at: null })

export const customers: Projection = {
  name: 'customers',
  version: 1,
  tables: {
    customers: `create table customers (
      customer_id uuid primary key,
      plan text not null,
      monthly_limit bigint not null,
      monthly_fee text not null,
      overage_unit_price text not null,
      hard_cap boolean not null,
      month text not null,
      licence jsonb not null,
      scheduled jsonb,
      ended jsonb,
      deactivated boolean not null,
      registered_at timestamptz not null,
      last_event_at timestamptz not null,
      revision bigint not null,
      head_hash text not null
    ) with (fillfactor = 70)`,
  },
  fold(batch, last) {
    const registeredAt = new Map<string, string>()
    for (const { customerId, revision, event } of batch) {
      if (revision === 0n) registeredAt.set(customerId, event.data.occurredAt)
    }
    return upsertCustomers(
      last.map(({ customerId, revision, hash, after }) => ({
        customer_id: customerId,
        plan: after.terms.plan,
        monthly_limit: after.terms.monthlyLimit,
        monthly_fee: after.terms.monthlyFee,
        overage_unit_price: after.terms.overageUnitPrice,
        hard_cap: after.hardCap,
        month: after.yearMonth,
        licence: after.licence,
        scheduled: after.scheduled ?? null,
        ended: after.ended ?? null,
        deactivated: after.deactivated,
        registered_at: registeredAt.get(customerId) ?? after.lastOccurredAt,
        last_event_at: after.lastOccurredAt,
        revision: revision.toString(),
        head_hash: hash,
      })),
    )
  },
}
