/**
 * Read model `ledger_snapshots`: the folded state of each customer at a revision, with the hash of the event there.
 * Ledgers start from it when cold, and the runner itself folds on from it.
 */
import { foldVersion } from '../commands/state.ts'
import { type Projection, upsert } from './projection.ts'

const upsertSnapshots = upsert('ledger_snapshots', ['customer_id'], {
  customer_id: 'uuid',
  revision: 'bigint',
  fold_version: 'integer',
  last_hash: 'text',
  state: 'jsonb',
})

export const snapshots: Projection = {
  name: 'ledger_snapshots',
  // The rows are evolve()'s own result: whatever changes its meaning changes them.
  version: foldVersion,
  tables: {
    ledger_snapshots: `create table ledger_snapshots (
      customer_id uuid primary key,
      revision bigint not null,
      fold_version integer not null,
      last_hash text not null,
      state jsonb not null
    ) with (fillfactor = 50)`,
  },
  fold: (_, last) =>
    upsertSnapshots(
      last.map(({ customerId, revision, hash, after }) => ({
        customer_id: customerId,
        revision: revision.toString(),
        fold_version: foldVersion,
        last_hash: hash,
        state: after,
      })),
    ),
}
