/** Accounts over Postgres: the way in, the second factor, sessions, and what an account's owner may change. */
import type pg from 'pg'
import type { Mail } from '../mail/mail.ts'
import { beginEmailChange, confirmEmailChange, findEmailChange } from './email-change.ts'
import { beginAuthenticatorChange, confirmAuthenticator, openLink, pendingAuthenticator } from './enrolment.ts'
import { findLink } from './links.ts'
import { createLockout } from './lockout.ts'
import { account, changePassword, issueFirstKeys, replaceRecoveryCodes, setAlerts } from './own.ts'
import type { Passwords } from './passwords.ts'
import { type NewPassword, requestReset, reset } from './reset.ts'
import { createSeal, deriveKeys, type SecretsKeys } from './seal.ts'
import { verifyTotp } from './second-factor.ts'
import { createSessions } from './sessions.ts'
import { type Credentials, signIn } from './sign-in.ts'
import type { Parts, Session } from './types.ts'

export interface AccountsOptions {
  readonly pool: pg.Pool
  readonly passwords: Passwords
  readonly mail: Pick<Mail, 'send'>
  readonly secretsKeys: SecretsKeys
  /** Address the outside world uses, without a slash at its end: links in letters begin with it. */
  readonly publicUrl: string
  readonly log: { warn(facts: { readonly err: unknown }, message: string): void }
  /** Milliseconds since the epoch; default this machine's clock. */
  readonly now?: () => number
}

export type Accounts = ReturnType<typeof createAccounts>

/** The functions throw PasswordsBusy, and what Postgres throws; every other end is in what they return. */
export function createAccounts({
  pool,
  passwords,
  mail,
  secretsKeys,
  publicUrl,
  log,
  now = Date.now,
}: AccountsOptions) {
  const underWay = new Set<Promise<void>>()
  function later(work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => log.warn({ err: error }, 'work for an account failed'))
      .finally(() => underWay.delete(running))
    underWay.add(running)
  }
  const parts: Parts = {
    pool,
    passwords,
    seal: createSeal(secretsKeys),
    lockout: createLockout(pool),
    codeKeys: () => deriveKeys(secretsKeys, 'codes sent by mail'),
    now,
    publicUrl,
    later,
    post: (to, text) => later(() => mail.send({ to, ...text })),
  }
  const sessions = createSessions(pool)
  return {
    findSession: sessions.find,
    endSession: sessions.end,
    /** Signs out everywhere. */
    endAllSessions: sessions.endAll,
    signIn: (credentials: Credentials) => signIn(parts, credentials),

    findLink: (token: string) => findLink(pool, token),
    openLink: (token: string, password: string) => openLink(parts, token, password),
    pendingAuthenticator: (session: Session) => pendingAuthenticator(parts, session),
    confirmAuthenticator: (session: Session, code: string) => confirmAuthenticator(parts, session, code),
    issueFirstKeys: <T>(accountId: string, issue: () => Promise<T>) => issueFirstKeys(parts, accountId, issue),

    requestReset: (email: string, from: string) => requestReset(parts, email, from),
    reset: (request: NewPassword) => reset(parts, request),

    /** A code of the account's authenticator, or a recovery code, for a change that needs one. Never accepted twice. */
    verifyTotp: (accountId: string, code: string) => verifyTotp(parts, accountId, code),

    account: (accountId: string) => account(parts, accountId),
    changePassword: (session: Pick<Session, 'accountId' | 'email'>, present: string, next: string) =>
      changePassword(parts, session, present, next),
    beginAuthenticatorChange: (
      session: Pick<Session, 'accountId' | 'sessionId'>,
      proof: { readonly password: string; readonly code: string },
    ) => beginAuthenticatorChange(parts, session, proof),
    replaceRecoveryCodes: (session: Pick<Session, 'accountId' | 'email'>, code: string) =>
      replaceRecoveryCodes(parts, session, code),
    beginEmailChange: (
      accountId: string,
      newEmail: string,
      proof: { readonly password: string; readonly code: string },
    ) => beginEmailChange(parts, accountId, newEmail, proof),
    findEmailChange: (token: string) => findEmailChange(parts, token),
    confirmEmailChange: (token: string) => confirmEmailChange(parts, token),
    setAlerts: (accountId: string, enabled: boolean) => setAlerts(parts, accountId, enabled),

    /** Waits for letters and other work after answers. Call it when no request comes any more. */
    async drained(): Promise<void> {
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}
