/**
 * Attempts whose outcome is unknown, in Postgres. A row is written before its callers are told 503, and any instance
 * settles it: from then on the attempt is fenced, or what it billed is voided. No read model: it is never dropped.
 */
import type pg from 'pg'
import { queryWithin, requestQueryMs } from '../postgres/pool.ts'

export interface Doubt {
  readonly firstEventId: string
  readonly customerId: string
  /** The attempt aimed at the revision after this one. */
  readonly expectedRevision: bigint
  readonly detectionIds: readonly string[]
}

export interface Doubts {
  record(doubt: Doubt): Promise<void>
  remove(firstEventId: string): Promise<void>
  /** The doubts of one customer, oldest first; or of everybody. */
  standing(customerId?: string): Promise<Doubt[]>
}

export function postgresDoubts(pool: pg.Pool): Doubts {
  return {
    async record({ firstEventId, customerId, expectedRevision, detectionIds }) {
      await queryWithin(pool, requestQueryMs, {
        text: `insert into attempts_in_doubt (first_event_id, customer_id, expected_revision, detection_ids)
               values ($1, $2, $3, $4) on conflict (first_event_id) do nothing`,
        values: [firstEventId, customerId, expectedRevision, detectionIds],
      })
    },
    async remove(firstEventId) {
      const text = 'delete from attempts_in_doubt where first_event_id = $1'
      await queryWithin(pool, requestQueryMs, { text, values: [firstEventId] })
    },
    async standing(customerId) {
      const { rows } = await queryWithin<{
        first_event_id: string
        customer_id: string
        expected_revision: string | bigint
        detection_ids: string[]
      }>(pool, requestQueryMs, {
        text: `select first_event_id, customer_id, expected_revision, detection_ids from attempts_in_doubt
               where $1::uuid is null or customer_id = $1 order by recorded_at`,
        values: [customerId ?? null],
      })
      return rows.map((row) => ({
        firstEventId: row.first_event_id,
        customerId: row.customer_id,
        expectedRevision: BigInt(row.expected_revision),
        detectionIds: row.detection_ids,
      }))
    },
  }
}

/** How many attempts stand in doubt, and for how many seconds the oldest has (0 where there is none). */
export async function countDoubts(pool: pg.Pool): Promise<{ standing: number; oldestSeconds: number }> {
  const { rows } = await pool.query<{ standing: number; oldest: number }>(
    `select count(*)::float8 as standing,
            coalesce(extract(epoch from now() - min(recorded_at)), 0)::float8 as oldest
     from attempts_in_doubt`,
  )
  return { standing: rows[0]?.standing ?? 0, oldestSeconds: Math.max(0, rows[0]?.oldest ?? 0) }
}
