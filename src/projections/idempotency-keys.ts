/**
 * Read model `idempotency_keys`: the newest detection of each customer under each key, with what became of it.
 *
 * A key is forgotten after 24 h of event time. Rows go when the customer's own stream enters a new UTC day, those that
 * are 24 h old at that event: a function of the stream alone, so a replay keeps the same rows however it is batched.
 * A row may thus stay up to two active days; who asks compares its age (IdempotencyTail.find).
 */
import { rememberedMs } from '../commands/idempotency.ts'
import { type Projection, recordset, statement, upsert } from './projection.ts'

const upsertKeys = upsert('idempotency_keys', ['customer_id', 'key'], {
  customer_id: 'uuid',
  key: 'text',
  body: 'text',
  detection_id: 'uuid',
  revision: 'bigint',
  occurred_at: 'timestamptz',
  voided: 'boolean',
  replayed: 'boolean',
})

const flag = `update idempotency_keys t set voided = t.voided or r.voided, replayed = t.replayed or r.replayed
  from ${recordset('r', { customer_id: 'uuid', detection_id: 'uuid', voided: 'boolean', replayed: 'boolean' })}
  where t.detection_id = r.detection_id and t.customer_id = r.customer_id`

const forget = `delete from idempotency_keys t
  using ${recordset('r', { customer_id: 'uuid', until: 'timestamptz' })}
  where t.customer_id = r.customer_id and t.occurred_at <= r.until`

type Flags = {
  readonly customer_id: string
  readonly detection_id: string
  voided: boolean
  replayed: boolean
}

export const idempotencyKeys: Projection = {
  name: 'idempotency_keys',
  version: 1,
  tables: {
    idempotency_keys: `create table idempotency_keys (
      customer_id uuid not null,
      key text not null,
      body text not null,
      detection_id uuid not null,
      revision bigint not null,
      occurred_at timestamptz not null,
      voided boolean not null,
      replayed boolean not null,
      primary key (customer_id, key)
    );
    create index on idempotency_keys (detection_id)`,
  },
  fold(batch) {
    const keys = new Map<string, Record<string, unknown>>()
    const flags = new Map<string, Flags>()
    const cutoffs = new Map<string, { customer_id: string; until: string }>()
    for (const { customerId, revision, event, before } of batch) {
      const { occurredAt } = event.data
      if (before.lastOccurredAt !== '' && before.lastOccurredAt.slice(0, 10) < occurredAt.slice(0, 10)) {
        const until = new Date(Date.parse(occurredAt) - rememberedMs).toISOString()
        cutoffs.set(customerId, { customer_id: customerId, until })
      }
      if (event.type === 'DetectionSucceeded') {
        const { idempotency, detectionId } = event.data
        if (idempotency === undefined) continue
        keys.set(`${customerId} ${idempotency.key}`, {
          customer_id: customerId,
          key: idempotency.key,
          body: idempotency.body,
          detection_id: detectionId,
          revision: revision.toString(),
          occurred_at: occurredAt,
          voided: false,
          replayed: false,
        })
      } else if (event.type === 'DetectionVoided' || event.type === 'DetectionReplayed') {
        const { detectionId } = event.data
        const flagged = flags.get(detectionId) ?? {
          customer_id: customerId,
          detection_id: detectionId,
          voided: false,
          replayed: false,
        }
        flagged[event.type === 'DetectionVoided' ? 'voided' : 'replayed'] = true
        flags.set(detectionId, flagged)
      }
    }
    return [
      ...upsertKeys([...keys.values()]),
      ...statement('idempotency_keys.flag', flag, [...flags.values()]),
      ...statement('idempotency_keys.forget', forget, [...cutoffs.values()]),
    ]
  },
}
