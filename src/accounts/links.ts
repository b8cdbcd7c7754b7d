/** Links that the operator sends: the first way into an account, and the way back in without an authenticator. */
import type pg from 'pg'
import { activationLetter, authenticatorLetter, type Text } from './letters.ts'
import { subjects } from './lockout.ts'
import { endSessions } from './sessions.ts'
import { hashToken, makeToken } from './tokens.ts'

type Queryable = Pick<pg.Pool, 'query'>

const linkDays = 7

export type Purpose = 'activation' | 'authenticator'

/** A link that can be opened. */
export interface Link {
  readonly purpose: Purpose
  readonly accountId: string
  readonly email: string
}

/** A link just made: where it leads, and the letter that carries it. The token in it is kept nowhere else. */
export interface MadeLink {
  readonly email: string
  readonly url: string
  readonly letter: Text
}

/** There is no such account, or it is not in a state for this. The message is for the operator. */
export class AccountError extends Error {
  override name = 'AccountError'
}

/**
 * Makes a link for activation; an earlier one, and an enrolment begun with it, end. Run it in a transaction.
 * @throws AccountError
 */
export async function makeActivationLink(db: Queryable, publicUrl: string, customerId: string): Promise<MadeLink> {
  const { accountId, email, activated } = await lockedAccount(db, customerId)
  if (activated) throw new AccountError('This account is activated already; `customer reset-totp` lets them in again.')
  const url = await makeLink(db, publicUrl, accountId, 'activation')
  return { email, url, letter: activationLetter(url) }
}

/**
 * Takes the authenticator and the recovery codes away, ends all sessions, and makes a link for a new authenticator; it
 * asks for the password. Run it in a transaction. @throws AccountError
 */
export async function resetAuthenticator(db: Queryable, publicUrl: string, customerId: string): Promise<MadeLink> {
  const { accountId, email, activated } = await lockedAccount(db, customerId)
  if (!activated)
    throw new AccountError('This account is not activated yet; `customer send-activation` sends the link.')
  await db.query('update accounts set totp_secret = null, totp_last_step = null where account_id = $1', [accountId])
  await db.query('delete from recovery_codes where account_id = $1', [accountId])
  const url = await makeLink(db, publicUrl, accountId, 'authenticator')
  return { email, url, letter: authenticatorLetter(url) }
}

/** Lifts the waits after failed attempts. @throws AccountError */
export async function unlock(db: Queryable, customerId: string): Promise<void> {
  const { accountId, email } = await lockedAccount(db, customerId)
  const cleared = [subjects.signIn(email), subjects.reset(email), subjects.letter(email), subjects.own(accountId)]
  await db.query('delete from failed_attempts where subject = any ($1)', [cleared])
}

/** The link of a token, or null when it was used, replaced or has expired. */
export async function findLink(db: Queryable, token: string): Promise<Link | null> {
  const { rows } = await db.query<Link>(
    `select l.purpose, l.account_id as "accountId", a.email from account_links l join accounts a using (account_id)
      where l.token_hash = $1 and l.expires_at > clock_timestamp()`,
    [hashToken(token)],
  )
  return rows[0] ?? null
}

async function makeLink(db: Queryable, publicUrl: string, accountId: string, purpose: Purpose): Promise<string> {
  const { token, hash } = makeToken()
  await db.query(
    `insert into account_links (account_id, token_hash, purpose, expires_at)
     values ($1, $2, $3, clock_timestamp() + $4 * interval '1 day')
     on conflict (account_id) do update set
       token_hash = excluded.token_hash, purpose = excluded.purpose, expires_at = excluded.expires_at`,
    [accountId, hash, purpose, linkDays],
  )
  await endSessions(db, accountId)
  return `${publicUrl}/console/activate/${token}`
}

async function lockedAccount(db: Queryable, customerId: string) {
  const { rows } = await db.query<{ accountId: string; email: string; activated: boolean }>(
    `select account_id as "accountId", email, activated_at is not null as activated
       from accounts where customer_id = $1 for update`,
    [customerId],
  )
  const [account] = rows
  if (account === undefined) throw new AccountError(`Customer ${customerId} has no account for the console.`)
  return account
}
