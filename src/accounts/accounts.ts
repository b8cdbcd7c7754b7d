/** Accounts over Postgres: the way in, the second factor, sessions, and what an account's owner may change. */
import type { Verified } from './types.ts'

export interface Accounts {
  /** A code of the account's authenticator, for a change that needs one. A code is never accepted twice. */
  verifyTotp(accountId: string, code: string): Promise<Verified>
}
