/**
 * Read models of what happened besides calls: `activity`, one row per event that a customer would call an occurrence,
 * and `api_key_use`, when each key was first and last used for a billed call.
 */
import type { CustomerEventType } from '../events/catalogue.ts'
import { type Projection, upsert } from './projection.ts'

/** One row per call, or per attempt that came to nothing, would bury everything else. */
const leftOut: ReadonlySet<CustomerEventType> = new Set(['DetectionSucceeded', 'DetectionReplayed', 'AttemptFenced'])

const insertActivity = upsert('activity', ['customer_id', 'revision'], {
  customer_id: 'uuid',
  revision: 'bigint',
  event_id: 'uuid',
  occurred_at: 'timestamptz',
  actor: 'text',
  type: 'text',
  data: 'jsonb',
})

const upsertUse = upsert(
  'api_key_use',
  ['customer_id', 'key_id'],
  { customer_id: 'uuid', key_id: 'uuid', first_used_at: 'timestamptz', last_used_at: 'timestamptz' },
  { first_used_at: null },
)

export const activity: Projection = {
  name: 'activity',
  version: 1,
  tables: {
    activity: `create table activity (
      customer_id uuid not null,
      revision bigint not null,
      event_id uuid not null,
      occurred_at timestamptz not null,
      actor text not null,
      type text not null,
      data jsonb not null,
      primary key (customer_id, revision)
    )`,
    api_key_use: `create table api_key_use (
      customer_id uuid not null,
      key_id uuid not null,
      first_used_at timestamptz not null,
      last_used_at timestamptz not null,
      primary key (customer_id, key_id)
    ) with (fillfactor = 70)`,
  },
  fold(batch) {
    const occurrences: Record<string, unknown>[] = []
    const used = new Map<string, { customer_id: string; key_id: string; first_used_at: string; last_used_at: string }>()
    for (const { customerId, revision, eventId, actor, event } of batch) {
      const { occurredAt } = event.data
      if (event.type === 'DetectionSucceeded') {
        const { keyId } = event.data
        const use = used.get(customerId + keyId)
        if (use !== undefined) use.last_used_at = occurredAt
        else {
          const first = { first_used_at: occurredAt, last_used_at: occurredAt }
          used.set(customerId + keyId, { customer_id: customerId, key_id: keyId, ...first })
        }
      }
      if (leftOut.has(event.type)) continue
      occurrences.push({
        customer_id: customerId,
        revision: revision.toString(),
        event_id: eventId,
        occurred_at: occurredAt,
        actor,
        type: event.type,
        data: event.data,
      })
    }
    return [...insertActivity(occurrences), ...upsertUse([...used.values()])]
  },
}
