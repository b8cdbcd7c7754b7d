/** What is known of API keys. A key table is behind the log for a moment: the ledger has the last word on a known key. */
import type pg from 'pg'
import type { Slot } from '../events/catalogue.ts'
import { queryWithin, requestQueryMs } from '../postgres/pool.ts'

export interface KnownApiKey {
  readonly customerId: string
  readonly keyId: string
  readonly expiresAt: string | null
  /** For ever: replaced, deactivated, or the customer's account is. */
  readonly revoked: boolean
  /** An attempt of this customer is in doubt: the ledger settles it before it takes the next command. */
  readonly doubtStanding: boolean
}

interface KeyRow {
  customer_id: string
  key_id: string
  slot: Slot
  prefix: string
  issued_at: Date
  expires_at: Date | null
  revoked_at: Date | null
  revoked_why: 'regenerated' | 'deactivated' | 'customer_deactivated' | null
}

/** Whose key this is, by the hex SHA-256 of the key; null when no such key was ever issued. Runs on every request. */
export async function findApiKey(pool: pg.Pool, keyHash: string): Promise<KnownApiKey | null> {
  const { rows } = await queryWithin<KeyRow & { doubt_standing: boolean }>(pool, requestQueryMs, {
    name: 'find-api-key',
    text: `select k.customer_id, k.key_id, k.expires_at, k.revoked_at,
             exists (select from attempts_in_doubt d where d.customer_id = k.customer_id) as doubt_standing
           from readmodel.api_keys k where k.key_hash = $1`,
    values: [keyHash],
  })
  const [row] = rows
  if (row === undefined) return null
  return {
    customerId: row.customer_id,
    keyId: row.key_id,
    expiresAt: row.expires_at?.toISOString() ?? null,
    revoked: row.revoked_at !== null,
    doubtStanding: row.doubt_standing,
  }
}

export interface ListedKey {
  readonly keyId: string
  readonly slot: Slot
  readonly prefix: string
  readonly issuedAt: string
  readonly expiresAt: string | null
  readonly revokedAt: string | null
  readonly revokedWhy: KeyRow['revoked_why']
  /** The last billed call with it; a refused one leaves no trace. */
  readonly lastUsedAt: string | null
}

/** Every key of a customer, revoked ones too, the newest first. */
export async function keysOf(pool: pg.Pool, customerId: string): Promise<ListedKey[]> {
  const { rows } = await pool.query<KeyRow & { last_used_at: Date | null }>(
    `select k.key_id, k.slot, k.prefix, k.issued_at, k.expires_at, k.revoked_at, k.revoked_why, u.last_used_at
     from readmodel.api_keys k left join readmodel.api_key_use u using (customer_id, key_id)
     where k.customer_id = $1 order by k.issued_at desc, k.slot, k.key_id`,
    [customerId],
  )
  return rows.map((row) => ({
    keyId: row.key_id,
    slot: row.slot,
    prefix: row.prefix,
    issuedAt: row.issued_at.toISOString(),
    expiresAt: row.expires_at?.toISOString() ?? null,
    revokedAt: row.revoked_at?.toISOString() ?? null,
    revokedWhy: row.revoked_why,
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
  }))
}

/** When the customer's first billed call was made, ISO 8601 UTC; null while there is none. */
export async function firstCallAt(pool: pg.Pool, customerId: string): Promise<string | null> {
  const { rows } = await pool.query<{ first: Date | null }>(
    'select min(first_used_at) as first from readmodel.api_key_use where customer_id = $1',
    [customerId],
  )
  return rows[0]?.first?.toISOString() ?? null
}
