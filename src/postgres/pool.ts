import pg from 'pg'
import { clientConfig } from './client-config.ts'

export interface ConnectOptions {
  /** Most connections at a time; default 10. */
  readonly max?: number
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string
  /** Longest time a statement may run on the server, in milliseconds; default 15 s, 0 for as long as it takes. */
  readonly statementTimeoutMs?: number
  /** Told of connections that broke while idle. They are replaced without help; default: no one is told. */
  readonly onIdleError?: (error: Error) => void
}

/**
 * A pool of connections. None is opened before the first query.
 *
 * Every statement ends within a known time, also when the server is frozen or the network swallows it: the server's
 * statement_timeout first, then our own.
 */
export function connect(url: string, options: ConnectOptions = {}): pg.Pool {
  const { max = 10, applicationName = 'liveness', statementTimeoutMs = 15_000, onIdleError = () => {} } = options
  const pool = new pg.Pool({
    ...clientConfig(url, applicationName, statementTimeoutMs),
    max,
    idleTimeoutMillis: 60_000,
  })
  pool.on('error', onIdleError) // without a listener the process would end
  // Nor has a connection a listener between its hand-out and its first query; the failing query reports the loss.
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

/**
 * Runs `work` in one transaction: committed when it resolves, rolled back when it rejects.
 *
 * A connection lost during COMMIT leaves open whether it took place; the error then is one of `isUnavailable`.
 */
export async function transaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken = false
  try {
    await client.query('begin')
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    // After a lost connection or an unanswered query nothing more can be said on it; its end rolls back.
    broken = isUnavailable(error)
    if (!broken) {
      await client.query('rollback').catch(() => {
        broken = true
      })
    }
    throw error
  } finally {
    client.release(broken)
  }
}

/** Longest, in milliseconds, that a caller of the API waits for one query: a frozen server must not hold them longer. */
export const requestQueryMs = 4_000

/**
 * One query that somebody waits for: without an answer within `ms` (the wait for a connection not counted) it rejects
 * as unavailable and its connection is given up, long before the pool's own limits. pg knows the option for a query,
 * its types only for a connection.
 */
export function queryWithin<R extends pg.QueryResultRow>(
  pool: pg.Pool | pg.ClientBase,
  ms: number,
  query: pg.QueryConfig,
): Promise<pg.QueryResult<R>> {
  const config: pg.QueryConfig & { readonly query_timeout: number } = { ...query, query_timeout: ms }
  return pool.query<R>(config)
}

/** SQLSTATEs (or classes, by their first two characters) that speak of the server's state and not of the statement. */
const UNAVAILABLE_STATES = new Set([
  '08', // connection exceptions
  '53', // out of connections, memory or disk
  '57P01', // administrator's shutdown
  '57P02', // crash shutdown
  '57P03', // starting up, or in recovery
  '57P05', // idle session ended
  '57014', // statement timeout
  '25P03', // idle transaction ended
  '25006', // read-only: a standby, during a failover
])
const UNAVAILABLE_ERRNOS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])
/** Errors to which pg gives no code. */
const UNAVAILABLE_MESSAGE =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client (has encountered a connection error|was closed) and is not queryable)/

/** Whether a failure means "not now" (callers answer 503 or try later) rather than a fault in the statement. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof AggregateError && error.errors.some(isUnavailable)) return true // one for each address tried
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  return (
    UNAVAILABLE_STATES.has(code) ||
    (code.length === 5 && UNAVAILABLE_STATES.has(code.slice(0, 2))) ||
    UNAVAILABLE_ERRNOS.has(code) ||
    UNAVAILABLE_MESSAGE.test(error.message) ||
    isUnavailable(error.cause)
  )
}

/** An answer that took longer says little about a clock. */
const clockMs = 2_500

/** The database's clock now (not the transaction's start), to the millisecond. */
export async function databaseTime(pool: pg.Pool | pg.ClientBase): Promise<Date> {
  const { rows } = await queryWithin<{ now: Date }>(pool, clockMs, { text: 'select clock_timestamp() as now' })
  const [row] = rows
  if (row === undefined) throw new Error('clock_timestamp() returned no row')
  return row.now
}
