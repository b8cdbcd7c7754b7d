/** The two servers everything stands on: Postgres and the event store, ours or somebody else's. */
import type { Logger } from 'pino'
import { refuseUnfinishedRestore } from '../backup/restore.ts'
import type { Config } from '../config.ts'
import { lockDataDir } from '../data-dir.ts'
import { startEmbeddedEventStore } from '../eventstore/embedded/start.ts'
import { refuseMoved } from '../move/marker.ts'
import { startEmbeddedPostgres } from '../postgres/embedded.ts'
import { ensureDatabase } from '../postgres/migrate.ts'

export interface Stack {
  readonly databaseUrl: string
  readonly eventStoreUrl: string
  /** The database of the embedded event store's log; undefined without one. */
  readonly logDatabaseUrl?: string
  /** Whether anything of it runs here, for as long as this process. */
  readonly embedded: boolean
  /** Where the embedded Postgres really keeps its files; undefined without one. */
  readonly postgresDir: string | undefined
  /** Stops what was started here, the event store before its Postgres, and frees the data directory. */
  stop(): Promise<void>
}

/**
 * Takes the data directory and starts what the settings do not name by address.
 * @param movedToo also a data directory that `liveness migrate` has marked: for migrate itself, which may have to go on
 * @throws DataDirInUse, MovedAway, RestoreUnfinished
 */
export async function startStack(
  config: Config,
  log: Logger,
  { movedToo }: { readonly movedToo?: boolean } = {},
): Promise<Stack> {
  const { DATABASE_URL, EVENTSTORE_URL, DATA_DIR } = config
  const undo: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  if (DATABASE_URL !== undefined && EVENTSTORE_URL !== undefined) {
    return { databaseUrl: DATABASE_URL, eventStoreUrl: EVENTSTORE_URL, embedded: false, postgresDir: undefined, stop }
  }
  const lock = await lockDataDir(DATA_DIR)
  undo.push(() => lock.release())
  try {
    refuseUnfinishedRestore(DATA_DIR)
    if (movedToo !== true) await refuseMoved(DATA_DIR)
    let databaseUrl = DATABASE_URL
    // A database of its own where the server is ours: emptying the application's must not touch the log.
    let eventDatabaseUrl = DATABASE_URL
    let postgresDir: string | undefined
    if (databaseUrl === undefined || eventDatabaseUrl === undefined) {
      const postgres = await startEmbeddedPostgres({
        dataDir: DATA_DIR,
        log: (line) => log.debug({ part: 'postgres' }, line),
        onExit: (how) => log.error({ part: 'postgres' }, `Postgres ${how}`),
      })
      undo.push(() => postgres.stop())
      databaseUrl = await ensureDatabase(postgres.url, 'liveness')
      eventDatabaseUrl = await ensureDatabase(postgres.url, 'eventstore')
      postgresDir = postgres.dataDir
    }
    let eventStoreUrl = EVENTSTORE_URL
    if (eventStoreUrl === undefined) {
      const part = log.child({ part: 'event store' })
      const eventStore = await startEmbeddedEventStore({
        databaseUrl: eventDatabaseUrl,
        log: {
          info: (message) => part.debug(message),
          warn: (message) => part.warn(message),
          error: (message) => part.error(message),
        },
      })
      undo.push(() => eventStore.stop())
      eventStoreUrl = eventStore.url
    }
    const logDatabaseUrl = EVENTSTORE_URL === undefined ? { logDatabaseUrl: eventDatabaseUrl } : {}
    return { databaseUrl, eventStoreUrl, embedded: true, postgresDir, stop, ...logDatabaseUrl }
  } catch (error) {
    await stop()
    throw error
  }
}
