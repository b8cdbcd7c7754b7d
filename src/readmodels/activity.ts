/** What happened to a customer besides calls, as the log has it. */
import type pg from 'pg'
import type { CustomerEvent, CustomerEventType } from '../events/catalogue.ts'

export interface Occurrence {
  /** Where it stands in the log: revision of the customer's stream, and the event's id. */
  readonly revision: bigint
  readonly eventId: string
  /** `key:{keyId}`, `console:{accountId}`, `operator`, `marketplace` or `system`. */
  readonly actor: string
  readonly event: CustomerEvent
}

export interface ActivityQuery {
  readonly limit: number
  /** Only what is older than this revision. */
  readonly before?: bigint | undefined
  /** Only what happened in this UTC month, `YYYY-MM`. */
  readonly month?: string | undefined
  readonly types?: readonly CustomerEventType[] | undefined
}

/** The newest first. */
export async function activityOf(
  pool: pg.Pool,
  customerId: string,
  { limit, before, month, types }: ActivityQuery,
): Promise<Occurrence[]> {
  const { rows } = await pool.query<{ revision: bigint; event_id: string; actor: string; event: CustomerEvent }>({
    name: 'activity-of',
    text: `select revision, event_id, actor, json_build_object('type', type, 'data', data) as event
      from readmodel.activity
      where customer_id = $1
        and ($3::bigint is null or revision < $3)
        and ($4::text is null or to_char(occurred_at at time zone 'UTC', 'YYYY-MM') = $4)
        and ($5::text[] is null or type = any($5))
      order by revision desc limit $2`,
    values: [customerId, limit, before?.toString() ?? null, month ?? null, types ?? null],
  })
  return rows.map(({ revision, event_id: eventId, actor, event }) => ({ revision, eventId, actor, event }))
}
