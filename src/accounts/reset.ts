/** A forgotten password: a code by mail, then a new password. Neither step tells whether the address has an account. */
import { timingSafeEqual } from 'node:crypto'
import { transaction } from '../postgres/pool.ts'
import { passwordChangedLetter, resetLetter } from './letters.ts'
import { fromAddress, guesses, letters, subjects } from './lockout.ts'
import { mac } from './seal.ts'
import { endSessions, lockAccount } from './sessions.ts'
import { hashEmail, makeMailCode } from './tokens.ts'
import { codeDigits } from './totp.ts'
import { type Locked, locked, type Parts, type Weak, type Wrong, wrong } from './types.ts'

const codeMinutes = 15
const attemptsOfACode = 5

/** Sends a code, if there is an account; all of it after the answer, so that the answer takes the same time. */
export async function requestReset(parts: Parts, email: string, from: string): Promise<{ kind: 'ok' } | Locked> {
  const { lockout, later } = parts
  const seconds = await lockout.attempt(subjects.address(from), fromAddress)
  if (seconds > 0) return locked(seconds)
  later(async () => {
    if ((await lockout.attempt(subjects.letter(email), letters)) > 0) return
    await sendCode(parts, email)
  })
  return { kind: 'ok' }
}

async function sendCode({ pool, codeKeys, post }: Parts, email: string): Promise<void> {
  const code = makeMailCode()
  const emailHash = hashEmail(email)
  const [codeKey] = codeKeys()
  if (codeKey === undefined) throw new Error('there is no key for codes')
  const { rows } = await pool.query<{ accountId: string; email: string }>(
    `select account_id as "accountId", email from accounts
      where lower(email) = lower($1) and activated_at is not null`,
    [email],
  )
  const [account] = rows
  await pool.query('delete from password_resets where expires_at < clock_timestamp()')
  await pool.query(
    `insert into password_resets (email_hash, account_id, code_hmac, expires_at)
     values ($1, $2, $3, clock_timestamp() + $4 * interval '1 minute')
     on conflict (email_hash) do update set account_id = excluded.account_id, code_hmac = excluded.code_hmac,
       attempts = 0, expires_at = excluded.expires_at`,
    [emailHash, account?.accountId ?? null, mac(codeKey, emailHash, code), codeMinutes],
  )
  if (account !== undefined) post(account.email, resetLetter(code))
}

export interface NewPassword {
  readonly email: string
  readonly code: string
  readonly password: string
  /** Network address of the client. */
  readonly from: string
}

/** Sets the password and ends all sessions. The second factor stays as it is. */
export async function reset(
  { pool, passwords, lockout, codeKeys, post, publicUrl }: Parts,
  { email, code, password, from }: NewPassword,
): Promise<{ kind: 'ok' } | Wrong | Locked | Weak> {
  const address = subjects.address(from)
  const seconds = (await lockout.wait(address)) || (await lockout.attempt(subjects.reset(email), guesses))
  if (seconds > 0) return locked(seconds)

  const emailHash = hashEmail(email)
  const { rows } = await pool.query<{ accountId: string | null; hmac: Buffer }>(
    `update password_resets set attempts = attempts + 1
      where email_hash = $1 and expires_at > clock_timestamp() and attempts < $2
      returning account_id as "accountId", code_hmac as hmac`,
    [emailHash, attemptsOfACode],
  )
  const [found] = rows
  const entered = codeKeys().map((key) => mac(key, emailHash, codeDigits(code) ?? ''))
  const isRight = found !== undefined && entered.some((hmac) => timingSafeEqual(found.hmac, hmac))
  const accountId = isRight ? found.accountId : null
  if (found === undefined || accountId === null) {
    await lockout.attempt(address, fromAddress)
    return wrong
  }
  const fault = await passwords.fault(password, email)
  if (fault !== null) {
    await pool.query('update password_resets set attempts = attempts - 1 where email_hash = $1', [emailHash])
    await lockout.clear(subjects.reset(email))
    return { kind: 'weak', fault }
  }
  const hash = await passwords.hash(password)
  const done = await transaction(pool, async (client) => {
    await lockAccount(client, accountId)
    const { rowCount } = await client.query('delete from password_resets where email_hash = $1 and code_hmac = $2', [
      emailHash,
      found.hmac,
    ])
    if (rowCount === 0) return false
    // The address may have changed hands since the code was sent.
    const { rowCount: changed } = await client.query(
      'update accounts set password_hash = $2 where account_id = $1 and lower(email) = lower($3)',
      [accountId, hash, email],
    )
    await client.query('delete from email_changes where account_id = $1', [accountId])
    await endSessions(client, accountId)
    return changed === 1
  })
  if (!done) return wrong
  await lockout.clear(subjects.reset(email))
  post(email, passwordChangedLetter(publicUrl))
  return { kind: 'ok' }
}
