/** What the parts of accounts share. */
import type pg from 'pg'
import type { Text } from './letters.ts'
import type { Lockout } from './lockout.ts'
import type { Passwords } from './passwords.ts'
import type { Seal } from './seal.ts'

/** `wrong` and `locked` leave open why: nobody learns from an answer which part of what they sent was right. */
export type Verified = 'ok' | 'wrong' | 'locked'

/** Somebody's sign-in, or their way through the enrolment (`enrolling`: nothing but the authenticator's page is theirs). */
export interface Session {
  readonly sessionId: string
  readonly accountId: string
  readonly customerId: string
  readonly email: string
  readonly stage: 'enrolling' | 'full'
}

/** A new session and the token that goes into the cookie. The token is kept nowhere else. */
export interface StartedSession {
  readonly kind: 'ok'
  readonly token: string
  readonly session: Session
}

export interface Wrong {
  readonly kind: 'wrong'
}

/** Too many attempts failed; this one was not made. */
export interface Locked {
  readonly kind: 'locked'
  readonly retryAfterSeconds: number
}

/** A new password that is not good enough. */
export interface Weak {
  readonly kind: 'weak'
  /** What is wrong with it and what is expected, as sentences. */
  readonly fault: string
}

/** What was asked for is not there, or no longer: a link that was used, a session that ended. */
export interface Gone {
  readonly kind: 'gone'
}

export const wrong: Wrong = { kind: 'wrong' }
export const gone: Gone = { kind: 'gone' }
export const locked = (retryAfterSeconds: number): Locked => ({ kind: 'locked', retryAfterSeconds })

/** The parts that the functions of accounts work with. */
export interface Parts {
  readonly pool: pg.Pool
  readonly passwords: Passwords
  readonly seal: Seal
  readonly lockout: Lockout
  /** Keys of the HMACs over codes sent by mail: the first writes, all are accepted. */
  readonly codeKeys: () => readonly Buffer[]
  /** Milliseconds since the epoch: which codes of an authenticator are good. */
  readonly now: () => number
  readonly publicUrl: string
  /** Sends in the background: nobody's answer waits for a mail server, or tells whether there was a letter. */
  readonly post: (to: string, text: Text) => void
  /** Does work after the answer; a failure goes to the log. */
  readonly later: (work: () => Promise<void>) => void
}
