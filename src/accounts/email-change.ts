/** A change of the e-mail address: made once links that went to the old and to the new address were both confirmed. */
import pg from 'pg'
import { transaction } from '../postgres/pool.ts'
import { addressTakenLetter, confirmNewLetter, confirmOldLetter, emailChangedLetter } from './letters.ts'
import { letters, subjects } from './lockout.ts'
import { type ProofRefused, prove } from './second-factor.ts'
import { endSessions, lockAccount } from './sessions.ts'
import { hashToken, makeToken } from './tokens.ts'
import { type Gone, gone, type Locked, locked, type Parts } from './types.ts'

const linkHours = 24

/** Begins a change. The answer is the same where the new address has an account: only its owner is told. */
export async function beginEmailChange(
  parts: Parts,
  accountId: string,
  newEmail: string,
  proof: { readonly password: string; readonly code: string },
): Promise<{ readonly kind: 'ok' } | ProofRefused | Locked> {
  const { pool, lockout, post, publicUrl } = parts
  const proved = await prove(parts, accountId, proof)
  if (proved.kind !== 'ok') return proved
  const seconds = await lockout.attempt(subjects.letter(newEmail), letters)
  if (seconds > 0) return locked(seconds)
  const old = makeToken()
  const next = makeToken()
  const { email, taken } = await transaction(pool, async (client) => {
    await lockAccount(client, accountId)
    await client.query(
      `insert into email_changes (account_id, new_email, old_token_hash, new_token_hash, expires_at)
       values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 hour')
       on conflict (account_id) do update set new_email = excluded.new_email,
         old_token_hash = excluded.old_token_hash, new_token_hash = excluded.new_token_hash,
         old_confirmed = false, new_confirmed = false, expires_at = excluded.expires_at`,
      [accountId, newEmail, old.hash, next.hash, linkHours],
    )
    const { rows } = await client.query<{ email: string; taken: boolean }>(
      `select email, exists (select from accounts where lower(email) = lower($2) and account_id <> $1) as taken
         from accounts where account_id = $1`,
      [accountId, newEmail],
    )
    const [account] = rows
    if (account === undefined) throw new Error(`there is no account ${accountId}`)
    return account
  })
  post(email, confirmOldLetter(`${publicUrl}/console/email/${old.token}`, publicUrl))
  post(newEmail, taken ? addressTakenLetter() : confirmNewLetter(`${publicUrl}/console/email/${next.token}`))
  return proved
}

/** The address that a link speaks of; null when it was used, replaced or has expired. */
export async function findEmailChange({ pool }: Pick<Parts, 'pool'>, token: string): Promise<string | null> {
  const { rows } = await pool.query<{ newEmail: string }>(
    `select new_email as "newEmail" from email_changes
      where (old_token_hash = $1 or new_token_hash = $1) and expires_at > clock_timestamp()`,
    [hashToken(token)],
  )
  return rows[0]?.newEmail ?? null
}

/** `waiting`: for the other address. `changed`: the new address is in force, and all sessions have ended. */
export type EmailConfirmed = { readonly kind: 'waiting' | 'changed' | 'taken' } | Gone

export async function confirmEmailChange({ pool, post, publicUrl }: Parts, token: string): Promise<EmailConfirmed> {
  const hash = hashToken(token)
  let oldEmail = ''
  const outcome = await transaction(pool, async (client): Promise<EmailConfirmed> => {
    const { rows: found } = await client.query<{ accountId: string }>(
      'select account_id as "accountId" from email_changes where old_token_hash = $1 or new_token_hash = $1',
      [hash],
    )
    const accountId = found[0]?.accountId
    if (accountId === undefined) return gone
    await lockAccount(client, accountId)
    const { rows } = await client.query<{ newEmail: string; both: boolean }>(
      `update email_changes set old_confirmed = old_confirmed or old_token_hash = $2,
              new_confirmed = new_confirmed or new_token_hash = $2
        where account_id = $1 and (old_token_hash = $2 or new_token_hash = $2) and expires_at > clock_timestamp()
        returning new_email as "newEmail", old_confirmed and new_confirmed as both`,
      [accountId, hash],
    )
    const [change] = rows
    if (change === undefined) return gone
    if (!change.both) return { kind: 'waiting' }
    const { rows: changed } = await client.query<{ email: string }>(
      `update accounts a set email = $2 from accounts before
        where a.account_id = $1 and before.account_id = $1 returning before.email`,
      [accountId, change.newEmail],
    )
    oldEmail = changed[0]?.email ?? ''
    await client.query('delete from email_changes where account_id = $1', [accountId])
    await endSessions(client, accountId)
    return { kind: 'changed' }
  }).catch((error: unknown): EmailConfirmed => {
    if (error instanceof pg.DatabaseError && error.constraint === 'accounts_email') return { kind: 'taken' }
    throw error
  })
  if (outcome.kind === 'changed') post(oldEmail, emailChangedLetter(publicUrl))
  return outcome
}
