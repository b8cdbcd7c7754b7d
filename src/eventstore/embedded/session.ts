import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { Log } from './model.ts'
import { createSchema, headPosition, WRITER_LOCK } from './storage.ts'

const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 1_000
const LOCK_RETRY_MS = 100

/**
 * The one Postgres session that may write. It holds the writer's advisory lock, so that a new session, of this process
 * or of another, begins only after the last statement of the old one has ended; what was then committed is in the
 * table for it to read.
 */
export interface WriterSession {
  readonly client: Client
  /** Where the log ended when the lock was taken: what an earlier session committed untold is before it. */
  readonly head: bigint
  /** Settles, without error, when the session is over. */
  readonly ended: Promise<void>
}

/** Tries until there is a session that holds the lock, or `signal` is aborted (then it throws). */
export async function openWriterSession(databaseUrl: string, log: Log, signal: AbortSignal): Promise<WriterSession> {
  let complaint = ''
  for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX)) {
    signal.throwIfAborted()
    const client = new Client({
      connectionString: databaseUrl,
      application_name: 'embedded event store: writer',
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
    })
    const ended = new Promise<void>((resolve) => {
      client.once('end', resolve)
      client.on('error', () => resolve()) // without a listener a lost connection would end the process
    })
    try {
      await client.connect()
      // Durable before it is answered, whatever the server's own settings say.
      await client.query("set synchronous_commit to 'on'; set statement_timeout to 0; set idle_session_timeout to 0")
      await takeLock(client, log, signal)
      await createSchema(client)
      return { client, head: await headPosition(client), ended }
    } catch (error) {
      await client.end().catch(() => undefined)
      const reason = error instanceof Error ? error.message || error.name : String(error)
      if (reason !== complaint) log.warn(`Postgres cannot be used yet: ${reason}`)
      complaint = reason
    }
    await sleep(pauseMs, undefined, { signal })
  }
}

async function takeLock(client: Client, log: Log, signal: AbortSignal): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const { rows } = await client.query<{ taken: boolean }>(`select pg_try_advisory_lock(${WRITER_LOCK}) as taken`)
    if (rows[0]?.taken === true) return
    if (tries === 20) log.warn('Another event store is writing to this database; waiting for it to end.')
    await sleep(LOCK_RETRY_MS, undefined, { signal })
  }
}
