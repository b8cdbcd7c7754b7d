/** Where a cold ledger starts. */
import type pg from 'pg'
import type { LoadSnapshot } from '../commands/customer-log.ts'
import { type CustomerState, foldVersion } from '../commands/state.ts'
import { queryWithin, requestQueryMs } from '../postgres/pool.ts'

/** Reads snapshots made by this program's fold; those of another fold version are invisible. */
export function loadSnapshot(pool: pg.Pool): LoadSnapshot {
  return async (customerId) => {
    const { rows } = await queryWithin<{ revision: bigint; last_hash: string; state: CustomerState }>(
      pool,
      requestQueryMs,
      {
        name: 'load-snapshot',
        text: `select revision, last_hash, state from readmodel.ledger_snapshots
             where customer_id = $1 and fold_version = $2`,
        values: [customerId, foldVersion],
      },
    )
    const [row] = rows
    return row === undefined ? null : { head: { revision: row.revision, hash: row.last_hash }, state: row.state }
  }
}
