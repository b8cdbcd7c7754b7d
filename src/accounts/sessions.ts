/** Sessions in Postgres: any instance serves any of them, and none outlives its end in another. */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { hashToken, makeToken } from './tokens.ts'
import type { Session, StartedSession } from './types.ts'

type Queryable = Pick<pg.Pool, 'query'>

/** Without a request for so long a session ends; in minutes. */
const idleMinutes = 30
/** It ends after so long whatever happens; in minutes. */
const absoluteMinutes = { full: 12 * 60, enrolling: 60 }
/** Requests within so many seconds of the last note are not noted: a page is several requests. */
const noteSeconds = 30

export interface Sessions {
  /**
   * The session of a token; null when there is none or it has ended. It counts as used now, unless nobody is there: a
   * page that asks for itself again must not keep its session from ending.
   */
  find(token: string, options?: { readonly attended: boolean }): Promise<Session | null>
  end(token: string): Promise<void>
  endAll(accountId: string): Promise<void>
}

const columns = `s.session_id as "sessionId", s.account_id as "accountId", a.customer_id as "customerId", a.email, s.stage`

export function createSessions(pool: pg.Pool): Sessions {
  return {
    async find(token, { attended } = { attended: true }) {
      const { rows } = await pool.query<Session & { stale: boolean }>(
        `select ${columns}, s.seen_at < clock_timestamp() - $2 * interval '1 second' as stale
           from console_sessions s join accounts a using (account_id)
          where s.token_hash = $1 and s.expires_at > clock_timestamp()
            and s.seen_at > clock_timestamp() - $3 * interval '1 minute'`,
        [hashToken(token), noteSeconds, idleMinutes],
      )
      const [row] = rows
      if (row === undefined) return null
      const { stale, ...session } = row
      if (stale && attended) {
        await pool.query('update console_sessions set seen_at = clock_timestamp() where session_id = $1', [
          session.sessionId,
        ])
      }
      return session
    },
    async end(token) {
      await pool.query('delete from console_sessions where token_hash = $1', [hashToken(token)])
    },
    endAll: (accountId) => endSessions(pool, accountId),
  }
}

/**
 * Every transaction that changes several rows of an account begins with this: they take turns, and never wait for each
 * other in a circle.
 */
export async function lockAccount(db: Queryable, accountId: string): Promise<void> {
  await db.query('select from accounts where account_id = $1 for update', [accountId])
}

export async function endSessions(db: Queryable, accountId: string): Promise<void> {
  await db.query('delete from console_sessions where account_id = $1', [accountId])
}

/** Makes a session with a token of its own: what stood in a browser before never becomes a signed-in session. */
export async function startSession(
  db: Queryable,
  accountId: string,
  stage: Session['stage'],
  pendingSecret: string | null = null,
): Promise<StartedSession> {
  const { token, hash } = makeToken()
  const { rows } = await db.query<Session>(
    `with s as (
       insert into console_sessions (session_id, token_hash, account_id, stage, pending_secret, expires_at)
       values ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 minute') returning *
     ) select ${columns} from s join accounts a using (account_id)`,
    [randomUUID(), hash, accountId, stage, pendingSecret, absoluteMinutes[stage]],
  )
  const [session] = rows
  if (session === undefined) throw new Error(`there is no account ${accountId}`)
  return { kind: 'ok', token, session }
}

/** Drops the rows of sessions that have ended. */
export async function tidySessions(db: Queryable): Promise<void> {
  await db.query(
    `delete from console_sessions where session_id in (
       select session_id from console_sessions
        where expires_at < clock_timestamp() or seen_at < clock_timestamp() - $1 * interval '1 minute'
          for update skip locked)`,
    [idleMinutes],
  )
}
