/** Signing in: e-mail address, password and code in one step, so that no answer tells which of them was right. */
import { transaction } from '../postgres/pool.ts'
import { fromAddress, guesses, subjects } from './lockout.ts'
import { useCode } from './second-factor.ts'
import { startSession, tidySessions } from './sessions.ts'
import { hashToken } from './tokens.ts'
import { type Locked, locked, type Parts, type StartedSession, type Wrong, wrong } from './types.ts'

export interface Credentials {
  readonly email: string
  readonly password: string
  /** Of the authenticator, or a recovery code. */
  readonly code: string
  /** Network address of the client. */
  readonly from: string
  /** Token of the session that the browser had until now; it ends. */
  readonly before: string | null
}

/** An address without an account costs the same queries and the same hash as one with a wrong password. */
export async function signIn(parts: Parts, credentials: Credentials): Promise<StartedSession | Wrong | Locked> {
  const { pool, passwords, lockout } = parts
  const { email, password, code, from, before } = credentials
  const address = subjects.address(from)
  const seconds = (await lockout.wait(address)) || (await lockout.attempt(subjects.signIn(email), guesses))
  if (seconds > 0) return locked(seconds)

  const { rows } = await pool.query<{ accountId: string; hash: string }>(
    `select account_id as "accountId", password_hash as hash from accounts
      where lower(email) = lower($1) and activated_at is not null and totp_secret is not null`,
    [email],
  )
  const [account] = rows
  const known = await passwords.verify(password, account?.hash ?? null)
  if (account === undefined || !known || !(await useCode(parts, account.accountId, code))) {
    await lockout.attempt(address, fromAddress)
    return wrong
  }
  await lockout.clear(subjects.signIn(email))
  await lockout.tidy()
  await tidySessions(pool)
  return transaction(pool, async (client) => {
    // A reset that was made meanwhile ends all sessions: it must not miss this one.
    const { rowCount } = await client.query(
      `select from accounts where account_id = $1 and password_hash = $2 and totp_secret is not null for update`,
      [account.accountId, account.hash],
    )
    if (rowCount === 0) return wrong
    if (before !== null) {
      await client.query('delete from console_sessions where token_hash = $1', [hashToken(before)])
    }
    return startSession(client, account.accountId, 'full')
  })
}
