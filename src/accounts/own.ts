/** What somebody who is signed in sees and changes of their own account. */
import { transaction } from '../postgres/pool.ts'
import { passwordChangedLetter, recoveryCodesChangedLetter } from './letters.ts'
import { type ProofRefused, prove, renewRecoveryCodes } from './second-factor.ts'
import { endSessions, lockAccount, startSession } from './sessions.ts'
import type { Parts, Session, StartedSession, Weak } from './types.ts'

export interface Account {
  readonly email: string
  readonly alertsEnabled: boolean
  /** Not used yet. */
  readonly recoveryCodes: number
  /** Both keys were issued at the end of the activation. */
  readonly hasFirstKeys: boolean
  /** The address of a change that waits for its confirmations. */
  readonly pendingEmail: string | null
}

export async function account({ pool }: Pick<Parts, 'pool'>, accountId: string): Promise<Account> {
  const { rows } = await pool.query<Account>(
    `select email, alerts_enabled as "alertsEnabled", first_keys_at is not null as "hasFirstKeys",
            (select count(*)::integer from recovery_codes r where r.account_id = a.account_id) as "recoveryCodes",
            (select new_email from email_changes c
              where c.account_id = a.account_id and c.expires_at > clock_timestamp()) as "pendingEmail"
       from accounts a where account_id = $1`,
    [accountId],
  )
  const [row] = rows
  if (row === undefined) throw new Error(`there is no account ${accountId}`)
  return row
}

/** Sets a new password and ends all sessions; the one who changed it goes on in a new one. */
export async function changePassword(
  parts: Parts,
  { accountId, email }: Pick<Session, 'accountId' | 'email'>,
  present: string,
  next: string,
): Promise<StartedSession | Weak | ProofRefused> {
  const { pool, passwords, post, publicUrl } = parts
  const proved = await prove(parts, accountId, { password: present })
  if (proved.kind !== 'ok') return proved
  const fault = await passwords.fault(next, email)
  if (fault !== null) return { kind: 'weak', fault }
  const hash = await passwords.hash(next)
  const started = await transaction(pool, async (client) => {
    await lockAccount(client, accountId)
    await client.query('update accounts set password_hash = $2 where account_id = $1', [accountId, hash])
    await endSessions(client, accountId)
    return startSession(client, accountId, 'full')
  })
  post(email, passwordChangedLetter(publicUrl))
  return started
}

/** Makes new recovery codes; the old ones no longer work. */
export async function replaceRecoveryCodes(
  parts: Parts,
  { accountId, email }: Pick<Session, 'accountId' | 'email'>,
  code: string,
): Promise<{ readonly kind: 'ok'; readonly recoveryCodes: readonly string[] } | ProofRefused> {
  const { pool, post, publicUrl } = parts
  const proved = await prove(parts, accountId, { code })
  if (proved.kind !== 'ok') return proved
  const recoveryCodes = await transaction(pool, async (client) => {
    await lockAccount(client, accountId)
    return renewRecoveryCodes(client, accountId)
  })
  post(email, recoveryCodesChangedLetter(publicUrl))
  return { kind: 'ok', recoveryCodes }
}

export async function setAlerts({ pool }: Pick<Parts, 'pool'>, accountId: string, enabled: boolean): Promise<void> {
  await pool.query('update accounts set alerts_enabled = $2 where account_id = $1', [accountId, enabled])
}

/**
 * Runs `issue` if this account has not been given its first keys yet, else returns null. The note that it was is
 * committed after it: an `issue` that fails runs again with the next request, which may find that it had taken effect,
 * and two requests at once run it once. The transaction outlasts an append and all tries to show the keys.
 */
export async function issueFirstKeys<T>(
  { pool }: Pick<Parts, 'pool'>,
  accountId: string,
  issue: () => Promise<T>,
): Promise<T | null> {
  return transaction(pool, async (client) => {
    await client.query("set local idle_in_transaction_session_timeout = '1min'")
    const { rowCount } = await client.query(
      'update accounts set first_keys_at = now() where account_id = $1 and first_keys_at is null',
      [accountId],
    )
    return rowCount === 0 ? null : issue()
  })
}
