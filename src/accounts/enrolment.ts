/** From a link to a working second factor: password, a secret for the authenticator, and a code that confirms it. */
import { transaction } from '../postgres/pool.ts'
import { authenticatorChangedLetter } from './letters.ts'
import { findLink } from './links.ts'
import { type ProofRefused, prove, renewRecoveryCodes } from './second-factor.ts'
import { endSessions, lockAccount, startSession } from './sessions.ts'
import { codeDigits, makeTotpSecret, matchTotp, totpUri } from './totp.ts'
import {
  type Gone,
  gone,
  type Parts,
  type Session,
  type StartedSession,
  type Weak,
  type Wrong,
  wrong,
} from './types.ts'

/** The secret of an authenticator that is being set up. */
export interface Pending {
  /** Base32, to be typed. */
  readonly secret: string
  /** `otpauth://`, to be scanned. */
  readonly uri: string
}

export interface Enrolled extends StartedSession {
  /** Shown once, kept nowhere. */
  readonly recoveryCodes: readonly string[]
  /** Whether this activated the account. */
  readonly first: boolean
}

/**
 * Opens a link with a password: a new one to activate the account, the present one to get a new authenticator. The
 * link stays good until a code has confirmed the authenticator: who is interrupted opens it again.
 */
export async function openLink(
  parts: Parts,
  token: string,
  password: string,
): Promise<StartedSession | Gone | Weak | ProofRefused> {
  const { pool, passwords, seal } = parts
  const link = await findLink(pool, token)
  if (link === null) return gone
  const { accountId, email, purpose } = link
  let hash: string | null = null
  if (purpose === 'activation') {
    const fault = await passwords.fault(password, email)
    if (fault !== null) return { kind: 'weak', fault }
    hash = await passwords.hash(password)
  } else {
    const proved = await prove(parts, accountId, { password })
    if (proved.kind !== 'ok') return proved
  }
  return transaction(pool, async (client) => {
    await lockAccount(client, accountId)
    // Another link may have been sent, or this one used up, meanwhile.
    if ((await findLink(client, token)) === null) return gone
    if (hash !== null) {
      await client.query('update accounts set password_hash = $2 where account_id = $1', [accountId, hash])
    }
    await endSessions(client, accountId)
    return startSession(client, accountId, 'enrolling', seal.seal(makeTotpSecret(), accountId))
  })
}

/** Begins the change of a working authenticator, which stays in force until the new one is confirmed. */
export async function beginAuthenticatorChange(
  parts: Parts,
  { accountId, sessionId }: Pick<Session, 'accountId' | 'sessionId'>,
  proof: { readonly password: string; readonly code: string },
): Promise<{ readonly kind: 'ok' } | ProofRefused> {
  const proved = await prove(parts, accountId, proof)
  if (proved.kind !== 'ok') return proved
  await parts.pool.query('update console_sessions set pending_secret = $2 where session_id = $1', [
    sessionId,
    parts.seal.seal(makeTotpSecret(), accountId),
  ])
  return proved
}

/** What is to be scanned in this session; null when nothing is being set up. */
export async function pendingAuthenticator({ pool, seal }: Parts, session: Session): Promise<Pending | null> {
  const { rows } = await pool.query<{ sealed: string | null }>(
    'select pending_secret as sealed from console_sessions where session_id = $1',
    [session.sessionId],
  )
  const sealed = rows[0]?.sealed ?? null
  if (sealed === null) return null
  const secret = seal.unseal(sealed, session.accountId)
  return { secret, uri: totpUri(secret, session.email) }
}

/** Puts the authenticator into force once one of its codes is right. Uses up the link, and ends all other sessions. */
export async function confirmAuthenticator(
  { pool, seal, now, post, publicUrl }: Parts,
  session: Session,
  typed: string,
): Promise<Enrolled | Wrong | Gone> {
  const { accountId, sessionId, stage, email } = session
  const outcome = await transaction(pool, async (client) => {
    await lockAccount(client, accountId)
    const { rows } = await client.query<{ sealed: string | null }>(
      'select pending_secret as sealed from console_sessions where session_id = $1',
      [sessionId],
    )
    const sealed = rows[0]?.sealed ?? null
    if (sealed === null) return gone
    const digits = codeDigits(typed)
    const step = digits === null ? null : matchTotp(seal.unseal(sealed, accountId), digits, now())
    if (step === null) return wrong
    if (stage === 'enrolling') {
      const { rowCount } = await client.query('delete from account_links where account_id = $1', [accountId])
      if (rowCount === 0) return gone
    }
    const { rows: accounts } = await client.query<{ first: boolean }>(
      `update accounts a set totp_secret = $2, totp_last_step = $3, activated_at = coalesce(a.activated_at, now())
         from accounts before where a.account_id = $1 and before.account_id = $1
       returning before.activated_at is null as first`,
      [accountId, sealed, step],
    )
    const recoveryCodes = await renewRecoveryCodes(client, accountId)
    await endSessions(client, accountId)
    const started = await startSession(client, accountId, 'full')
    return { ...started, recoveryCodes, first: accounts[0]?.first === true }
  })
  if (outcome.kind === 'ok' && !outcome.first) post(email, authenticatorChangedLetter(publicUrl))
  return outcome
}
