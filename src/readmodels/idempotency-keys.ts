/** Which detection a customer made lately under an idempotency key. */
import type pg from 'pg'
import type { KeyLookup } from '../commands/idempotency.ts'
import { queryWithin, requestQueryMs } from '../postgres/pool.ts'

/**
 * The newest detection of a customer under any of the HMACs of an idempotency key, and the stream revision up to which the
 * table knows: both in one statement, so that the one is never newer than the other. −1 for an unknown customer.
 */
export async function findIdempotencyKey(
  pool: pg.Pool,
  customerId: string,
  keyHmacs: readonly string[],
): Promise<KeyLookup> {
  const { rows } = await queryWithin<{
    through_revision: bigint
    detection_id: string | null
    revision: bigint
    body: string
    occurred_at: Date
    voided: boolean
    replayed: boolean
  }>(pool, requestQueryMs, {
    name: 'find-idempotency-key',
    text: `select c.revision as through_revision, k.detection_id, k.revision, k.body, k.occurred_at, k.voided, k.replayed
           from readmodel.customers c
           left join readmodel.idempotency_keys k on k.customer_id = c.customer_id and k.key = any($2)
           where c.customer_id = $1
           order by k.revision desc limit 1`,
    values: [customerId, keyHmacs],
  })
  const [row] = rows
  if (row === undefined) return { hit: null, throughRevision: -1n }
  const { through_revision: throughRevision, detection_id: detectionId, revision, body, voided, replayed } = row
  if (detectionId === null) return { hit: null, throughRevision }
  const occurredAt = row.occurred_at.toISOString()
  return { hit: { detectionId, revision, body, occurredAt, voided, replayed }, throughRevision }
}
