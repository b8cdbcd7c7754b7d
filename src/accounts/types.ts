/** What the rest of the program may ask of accounts. `createAccounts` makes it over Postgres; the console only sees this. */

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
  readonly token: string
  readonly session: Session
}
