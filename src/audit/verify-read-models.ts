/** The read models, held against the log at the place where they stand. */
import type pg from 'pg'
import { foldVersion } from '../commands/state.ts'
import type { EventStore } from '../eventstore/store.ts'
import { type CustomerBook, expectedUsage } from './verify-book.ts'
import { checkIdempotencyKeys, idempotencyTable } from './verify-idempotency.ts'
import { keyRows, keyTables } from './verify-keys.ts'
import { type AuditedTable, type RowFault, type Rows, rowsOf, type Tables } from './verify-rows.ts'
import { checkTables } from './verify-tables.ts'
import { usageTables } from './verify-usage.ts'

const customers: AuditedTable = {
  name: 'customers',
  columns: [
    'customer_id',
    'plan',
    'monthly_limit',
    'monthly_fee',
    'overage_unit_price',
    'hard_cap',
    'month',
    'licence',
    'scheduled',
    'ended',
    'deactivated',
    'registered_at',
    'last_event_at',
    'revision',
    'head_hash',
  ],
  key: ['customer_id'],
  monthOf: () => '',
}

/** Ledgers start from these rows: one that is wrong would sell credits twice. */
const snapshots: AuditedTable = {
  name: 'ledger_snapshots',
  columns: ['customer_id', 'revision', 'fold_version', 'last_hash', 'state'],
  key: ['customer_id'],
  monthOf: () => '',
}

function customerRows({ customerId, head, state, registeredAt, keys }: CustomerBook): Tables {
  const { terms, yearMonth, licence, scheduled, ended, deactivated, hardCap, lastOccurredAt } = state
  const values = {
    customer_id: customerId,
    plan: terms.plan,
    monthly_limit: terms.monthlyLimit,
    monthly_fee: terms.monthlyFee,
    overage_unit_price: terms.overageUnitPrice,
    hard_cap: hardCap,
    month: yearMonth,
    licence,
    scheduled,
    ended,
    deactivated,
    registered_at: registeredAt,
    last_event_at: lastOccurredAt,
    revision: head.revision,
    head_hash: head.hash,
  }
  const snapshot = {
    customer_id: customerId,
    revision: head.revision,
    fold_version: foldVersion,
    last_hash: head.hash,
    state,
  }
  const isKnown = head.revision >= 0n
  return new Map<AuditedTable, Rows>([
    [customers, rowsOf(customers, isKnown ? [values] : [])],
    [snapshots, rowsOf(snapshots, isKnown ? [snapshot] : [])],
    ...keyRows(customerId, keys),
  ])
}

const [monthly, single] = [Object.values(usageTables), [customers, snapshots, ...Object.values(keyTables)]]

/** What is compared. A test holds it against the tables of the projections, so that a new one cannot be forgotten. */
export const comparedReadModels: readonly AuditedTable[] = [...monthly, ...single, idempotencyTable]

export interface ReadModelCheck {
  readonly log: Pick<EventStore, 'readBackward'>
  readonly client: pg.ClientBase
  /** Of the live generation. */
  readonly schema: string
  readonly customerIds: Iterable<string>
  readonly strangers: boolean
  readonly bookOf: (customerId: string, full: boolean) => Promise<CustomerBook>
  readonly month: string | undefined
  readonly say: (customerId: string, month: string, fault: RowFault) => void
}

/** Returns how many rows were compared. */
export async function checkReadModels({ schema, ...options }: ReadModelCheck): Promise<number> {
  const check = { ...options, customerIds: [...options.customerIds] }
  const placeOf = ({ name }: AuditedTable) => `${schema}.${name}`
  const rows = await checkTables({
    ...check,
    placeOf,
    monthly: { tables: monthly, expected: expectedUsage },
    single: { tables: single, expected: customerRows },
  })
  return rows + (await checkIdempotencyKeys({ ...check, place: placeOf(idempotencyTable) }))
}
