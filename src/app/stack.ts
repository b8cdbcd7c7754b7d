/** The two servers everything stands on: Postgres and the event store, ours or somebody else's. */
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { lockDataDir } from '../data-dir.ts'
import { startEmbeddedEventStore } from '../eventstore/embedded/start.ts'
import { startEmbeddedPostgres } from '../postgres/embedded.ts'
import { ensureDatabase } from '../postgres/migrate.ts'

export interface Stack {
  readonly databaseUrl: string
  readonly eventStoreUrl: string
  /** Whether anything of it runs here, for as long as this process. */
  readonly embedded: boolean
  /** Where the embedded Postgres really keeps its files; undefined without one. */
  readonly postgresDir: string | undefined
  /** Stops what was started here, the event store before its Postgres, and frees the data directory. */
  stop(): Promise<void>
}

/**
 * Takes the data directory and starts what the settings do not name by address.
 * @throws DataDirInUse
 */
export async function startStack(config: Config, log: Logger): Promise<Stack> {
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
    return { databaseUrl, eventStoreUrl, embedded: true, postgresDir, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
