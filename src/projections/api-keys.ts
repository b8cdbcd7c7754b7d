/** Read model `api_keys`: every key that was ever issued. Revoked ones stay, so that a revoked key is known as revoked. */
import { type FoldedEvent, type Projection, recordset, statement, upsert } from './projection.ts'

const keyColumns = {
  key_hash: 'text',
  customer_id: 'uuid',
  key_id: 'uuid',
  slot: 'text',
  prefix: 'text',
  issued_at: 'timestamptz',
  expires_at: 'timestamptz',
}
// A hash belongs for ever to whom it was issued first.
const insertKeys = upsert(
  'api_keys',
  ['key_hash'],
  keyColumns,
  Object.fromEntries(Object.keys(keyColumns).map((column) => [column, null])),
)

const revoke = `update api_keys t set revoked_at = r.revoked_at, revoked_why = r.revoked_why
  from ${recordset('r', { key_hash: 'text', customer_id: 'uuid', revoked_at: 'timestamptz', revoked_why: 'text' })}
  where t.key_hash = r.key_hash and t.customer_id = r.customer_id and t.revoked_at is null`

export const apiKeys: Projection = {
  name: 'api_keys',
  version: 1,
  tables: {
    api_keys: `create table api_keys (
      key_hash text primary key,
      customer_id uuid not null,
      key_id uuid not null,
      slot text not null,
      prefix text not null,
      issued_at timestamptz not null,
      expires_at timestamptz,
      revoked_at timestamptz,
      revoked_why text check (revoked_why in ('regenerated', 'deactivated', 'customer_deactivated'))
    );
    create index on api_keys (customer_id)`,
  },
  fold(batch) {
    const issued = new Map<string, Record<string, unknown>>()
    const revoked = new Map<string, Record<string, unknown>>()
    const revokeKey = ({ customerId, event }: FoldedEvent, keyHash: string | undefined, why: string) => {
      if (keyHash === undefined || revoked.has(keyHash)) return
      const { occurredAt } = event.data
      revoked.set(keyHash, { key_hash: keyHash, customer_id: customerId, revoked_at: occurredAt, revoked_why: why })
    }
    for (const folded of batch) {
      const { event, before, customerId } = folded
      switch (event.type) {
        case 'ApiKeyIssued':
        case 'ApiKeyRegenerated': {
          const { keyHash, keyId, slot, prefix, expiresAt, occurredAt } = event.data
          revokeKey(folded, before.keys[slot]?.keyHash, 'regenerated')
          if (issued.has(keyHash)) break
          issued.set(keyHash, {
            key_hash: keyHash,
            customer_id: customerId,
            key_id: keyId,
            slot,
            prefix,
            issued_at: occurredAt,
            expires_at: expiresAt ?? null,
          })
          break
        }
        case 'ApiKeyDeactivated':
          revokeKey(folded, before.keys[event.data.slot]?.keyHash, 'deactivated')
          break
        case 'CustomerDeactivated':
          revokeKey(folded, before.keys.primary?.keyHash, 'customer_deactivated')
          revokeKey(folded, before.keys.secondary?.keyHash, 'customer_deactivated')
          break
      }
    }
    return [...insertKeys([...issued.values()]), ...statement('api_keys.revoke', revoke, [...revoked.values()])]
  },
}
