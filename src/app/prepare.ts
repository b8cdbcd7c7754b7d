/** Brings a database to where this program can work with it: tables, and the first read models. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { migrate } from '../postgres/migrate.ts'
import { connect, isUnavailable } from '../postgres/pool.ts'
import { ensureReadModels } from '../projections/generations.ts'

/** Safe to repeat, and for several instances at once. */
export async function prepareDatabase(databaseUrl: string): Promise<void> {
  await migrate(databaseUrl)
  const pool = connect(databaseUrl, { max: 1, applicationName: 'liveness setup' })
  try {
    await ensureReadModels(pool)
  } finally {
    await pool.end()
  }
}

const firstPauseMs = 250
const longestPauseMs = 5_000
/** How often it is said that Postgres is still away. */
const sayEveryMs = 30_000

/**
 * The same as soon as Postgres can be reached, however long that takes: servers that start together need no order, and
 * whoever starts while Postgres is away does not end in a loop of restarts.
 * @throws the signal's reason when it aborts first, and everything that waiting does not cure (a wrong password)
 */
export async function prepareDatabaseWhenThere(databaseUrl: string, log: Logger, signal: AbortSignal): Promise<void> {
  let saidAt = Number.NEGATIVE_INFINITY
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    signal.throwIfAborted()
    try {
      return await prepareDatabase(databaseUrl)
    } catch (error) {
      if (!isUnavailable(error)) throw error
      if (performance.now() - saidAt > sayEveryMs) {
        saidAt = performance.now()
        const { host } = new URL(databaseUrl)
        log.warn({ err: error }, `Postgres at ${host} cannot be reached yet: waiting for it`)
      }
    }
    await pause(pauseMs, undefined, { signal })
  }
}
