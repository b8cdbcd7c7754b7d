/** The second factor: a code of the authenticator, or one of the recovery codes. Neither is accepted twice. */
import type pg from 'pg'
import { guesses, subjects } from './lockout.ts'
import { hashRecoveryCode, makeRecoveryCodes } from './tokens.ts'
import { codeDigits, matchTotp } from './totp.ts'
import { type Locked, locked, type Parts, type Verified, type Wrong, wrong } from './types.ts'

type Queryable = Pick<pg.Pool, 'query'>

/** Whether the code is good; if so it is used up, in every instance. Counts nothing: callers do. */
export async function useCode(
  { pool, seal, now }: Pick<Parts, 'pool' | 'seal' | 'now'>,
  accountId: string,
  typed: string,
): Promise<boolean> {
  const digits = codeDigits(typed)
  if (digits === null) {
    const hash = hashRecoveryCode(typed)
    if (hash === null) return false
    const { rowCount } = await pool.query('delete from recovery_codes where account_id = $1 and code_hash = $2', [
      accountId,
      hash,
    ])
    return rowCount === 1
  }
  const { rows } = await pool.query<{ sealed: string | null }>(
    'select totp_secret as sealed from accounts where account_id = $1',
    [accountId],
  )
  const sealed = rows[0]?.sealed ?? null
  const step = sealed === null ? null : matchTotp(seal.unseal(sealed, accountId), digits, now())
  if (step === null) return false
  // Two instances may be here with the same code: the row decides.
  const { rowCount } = await pool.query(
    `update accounts set totp_last_step = $2
      where account_id = $1 and totp_secret = $3 and (totp_last_step is null or totp_last_step < $2)`,
    [accountId, step, sealed],
  )
  return rowCount === 1
}

/** Replaces an account's recovery codes; what it returns is shown once and kept nowhere. */
export async function renewRecoveryCodes(db: Queryable, accountId: string): Promise<readonly string[]> {
  const codes = makeRecoveryCodes()
  await db.query('delete from recovery_codes where account_id = $1', [accountId])
  await db.query('insert into recovery_codes (account_id, code_hash) select $1, unnest($2::bytea[])', [
    accountId,
    codes.map(hashRecoveryCode),
  ])
  return codes
}

/** What somebody who is signed in proves again before a change. */
export interface Proof {
  readonly password?: string
  readonly code?: string
}

/** Checks all that is given, the password first: a code is not used up by a mistyped password. */
export async function prove(parts: Parts, accountId: string, proof: Proof): Promise<{ kind: 'ok' } | ProofRefused> {
  const subject = subjects.own(accountId)
  const seconds = await parts.lockout.attempt(subject, guesses)
  if (seconds > 0) return locked(seconds)
  if (proof.password !== undefined) {
    const { rows } = await parts.pool.query<{ hash: string | null }>(
      'select password_hash as hash from accounts where account_id = $1',
      [accountId],
    )
    if (!(await parts.passwords.verify(proof.password, rows[0]?.hash ?? null))) return { ...wrong, what: 'password' }
  }
  if (proof.code !== undefined && !(await useCode(parts, accountId, proof.code))) return { ...wrong, what: 'code' }
  await parts.lockout.clear(subject)
  return { kind: 'ok' }
}
/** Somebody who is signed in may know which of the two was wrong. */
export type ProofRefused = Locked | (Wrong & { readonly what: keyof Proof })

export async function verifyTotp(parts: Parts, accountId: string, code: string): Promise<Verified> {
  return (await prove(parts, accountId, { code })).kind
}
