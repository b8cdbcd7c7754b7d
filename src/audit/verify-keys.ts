/** What the read models must hold of a customer's API keys, folded from the log. Pure. */
import type { CustomerState } from '../commands/state.ts'
import type { LoggedEvent, Place } from '../statements/month.ts'
import { type AuditedTable, type Rows, rowsOf, type Tables } from './verify-rows.ts'

interface IssuedKey extends Place {
  readonly keyId: string
  readonly slot: string
  readonly prefix: string
  readonly issuedAt: string
  readonly expiresAt: string | undefined
  revoked: { readonly at: string; readonly why: string } | null
}

/** Grows with the keys that were issued, never with the calls made with them. Plain data. */
export interface KeyBook {
  /** Hash of a key → what became of it. */
  readonly issued: Map<string, IssuedKey>
  /** Key id → its first and last call. */
  readonly used: Map<string, { readonly first: string; last: string }>
}

export const newKeyBook = (): KeyBook => ({ issued: new Map(), used: new Map() })

/** @param before the customer's state before the event */
export function foldKeys(
  { issued, used }: KeyBook,
  { event, revision, eventId }: LoggedEvent,
  before: CustomerState,
): void {
  const revoke = (keyHash: string | undefined, why: string) => {
    const key = keyHash === undefined ? undefined : issued.get(keyHash)
    if (key !== undefined) key.revoked ??= { at: event.data.occurredAt, why }
  }
  switch (event.type) {
    case 'ApiKeyIssued':
    case 'ApiKeyRegenerated': {
      const { keyHash, keyId, slot, prefix, expiresAt, occurredAt } = event.data
      revoke(before.keys[slot]?.keyHash, 'regenerated')
      if (issued.has(keyHash)) return
      issued.set(keyHash, { keyId, slot, prefix, issuedAt: occurredAt, expiresAt, revoked: null, revision, eventId })
      return
    }
    case 'ApiKeyDeactivated':
      revoke(before.keys[event.data.slot]?.keyHash, 'deactivated')
      return
    case 'CustomerDeactivated':
      revoke(before.keys.primary?.keyHash, 'customer_deactivated')
      revoke(before.keys.secondary?.keyHash, 'customer_deactivated')
      return
    case 'DetectionSucceeded': {
      const { keyId, occurredAt } = event.data
      const use = used.get(keyId)
      if (use === undefined) used.set(keyId, { first: occurredAt, last: occurredAt })
      else use.last = occurredAt
    }
  }
}

const placeText = ({ revision, eventId }: Place) => ({ revision: `${revision}`, id: eventId })

export const keyTables = {
  api_keys: {
    name: 'api_keys',
    columns: [
      'key_hash',
      'customer_id',
      'key_id',
      'slot',
      'prefix',
      'issued_at',
      'expires_at',
      'revoked_at',
      'revoked_why',
    ],
    key: ['key_hash'],
    monthOf: () => '',
    eventOf: ({ place }) => (place === undefined ? null : placeText(place as Place)),
  },
  api_key_use: {
    name: 'api_key_use',
    columns: ['customer_id', 'key_id', 'first_used_at', 'last_used_at'],
    key: ['key_id'],
    monthOf: () => '',
  },
} as const satisfies Record<string, AuditedTable>

export function keyRows(customerId: string, { issued, used }: KeyBook): Tables {
  const { api_keys, api_key_use } = keyTables
  const keys = [...issued].map(([key_hash, key]) => ({
    key_hash,
    customer_id: customerId,
    key_id: key.keyId,
    slot: key.slot,
    prefix: key.prefix,
    issued_at: key.issuedAt,
    expires_at: key.expiresAt,
    revoked_at: key.revoked?.at,
    revoked_why: key.revoked?.why,
    place: key,
  }))
  const uses = [...used].map(([key_id, { first, last }]) => ({
    customer_id: customerId,
    key_id,
    first_used_at: first,
    last_used_at: last,
  }))
  return new Map<AuditedTable, Rows>([
    [api_keys, rowsOf(api_keys, keys)],
    [api_key_use, rowsOf(api_key_use, uses)],
  ])
}
