/**
 * Failed attempts, counted in Postgres so that they hold across instances, and the waits that follow them.
 *
 * An attempt is counted before it is made: however many are made at once, no more of them get through than are free.
 * One that succeeds takes the count back.
 */
import type pg from 'pg'
import { hashEmail } from './tokens.ts'

export interface LockoutPolicy {
  /** Attempts without a wait. */
  readonly free: number
  /** The wait after them in seconds; it doubles with each further one. */
  readonly firstSeconds: number
  readonly maxSeconds: number
  /** After so many seconds without an attempt the count begins anew. */
  readonly forgetSeconds: number
}

const hour = 3_600
/**
 * Ten free guesses, then waits of 1, 2, 4, … minutes up to four hours. Whoever knows a password and guesses the codes
 * of its authenticator has some 6 guesses a day, each right with 3 in a million.
 */
export const guesses: LockoutPolicy = { free: 10, firstSeconds: 60, maxSeconds: 4 * hour, forgetSeconds: 24 * hour }
/** Letters to one address. */
export const letters: LockoutPolicy = { free: 3, firstSeconds: hour, maxSeconds: hour, forgetSeconds: hour }
/** Failures from one network address, whatever they were made on: many people may be behind one. */
export const fromAddress: LockoutPolicy = { free: 100, firstSeconds: 600, maxSeconds: hour, forgetSeconds: hour }

export const subjects = {
  signIn: (email: string) => `sign-in:${hashEmail(email)}`,
  reset: (email: string) => `reset:${hashEmail(email)}`,
  letter: (email: string) => `letter:${hashEmail(email)}`,
  /** Passwords and codes asked of somebody who is signed in. */
  own: (accountId: string) => `own:${accountId}`,
  /** One for a whole IPv6 network of 64 bits: it is one household's, and all of its addresses are free to use. */
  address: (ip: string) => {
    const [, v4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip) ?? []
    if (v4 !== undefined || !ip.includes(':')) return `address:${v4 ?? ip}`
    const [before = [], after = []] = ip.split('::').map((part) => part.split(':').filter((group) => group !== ''))
    const zeros = Array<string>(8 - before.length - after.length).fill('0')
    return `address:${[...before, ...zeros, ...after].slice(0, 4).join(':')}::/64`
  },
}

export interface Lockout {
  /** Counts an attempt that is about to be made: 0, or for how many seconds none may be made. */
  attempt(subject: string, policy: LockoutPolicy): Promise<number>
  /** For how many seconds no attempt may be made; counts nothing. */
  wait(subject: string): Promise<number>
  clear(...subjects: string[]): Promise<void>
  /** Drops counts that no longer mean anything. */
  tidy(): Promise<void>
}

export function createLockout(pool: pg.Pool): Lockout {
  async function wait(subject: string): Promise<number> {
    const { rows } = await pool.query<{ seconds: number }>(
      `select ceil(extract(epoch from blocked_until - clock_timestamp()))::integer as seconds
         from failed_attempts where subject = $1 and blocked_until > clock_timestamp()`,
      [subject],
    )
    return rows[0]?.seconds ?? 0
  }
  return {
    wait,
    async attempt(subject, { free, firstSeconds, maxSeconds, forgetSeconds }) {
      // Postgres's clock: every instance has the same.
      const { rowCount } = await pool.query(
        `insert into failed_attempts as known (subject, failures) values ($1, 1)
         on conflict (subject) do update set
           failures = case when known.last_at < clock_timestamp() - $5 * interval '1 second'
             then 1 else known.failures + 1 end,
           last_at = clock_timestamp(),
           blocked_until = case
             when known.last_at < clock_timestamp() - $5 * interval '1 second' or known.failures + 1 < $2 then null
             else clock_timestamp() + least($4, $3 * 2 ^ least(known.failures + 1 - $2, 30)) * interval '1 second' end
         where known.blocked_until is null or known.blocked_until <= clock_timestamp()`,
        [subject, free, firstSeconds, maxSeconds, forgetSeconds],
      )
      return rowCount === 0 ? Math.max(1, await wait(subject)) : 0
    },
    async clear(...cleared) {
      await pool.query('delete from failed_attempts where subject = any ($1)', [cleared])
    },
    async tidy() {
      await pool.query(
        `delete from failed_attempts where last_at < clock_timestamp() - $1 * interval '1 second'
           and (blocked_until is null or blocked_until < clock_timestamp())`,
        [guesses.forgetSeconds],
      )
    },
  }
}
