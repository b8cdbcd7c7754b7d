import { ServerCredentials } from '@grpc/grpc-js'
import { Pool } from 'pg'
import { type FromChild, isToChild, type ToChild } from './messages.ts'
import type { Log } from './model.ts'
import { createService } from './service.ts'
import { openWriter } from './writer.ts'

/**
 * The embedded event store's own process; start.ts starts it. It ends when it is told to, and by itself when its
 * parent is gone, in both cases after what it has accepted is committed.
 */

/** Connections for reads; the writer has its own. */
const READ_CONNECTIONS = 8
/** How long accepted appends may take when the process has been asked to end; then it ends in any case. */
const STOP_MS = 8_000

const log: Log = {
  info: (message) => tell({ type: 'log', level: 'info', message }),
  warn: (message) => tell({ type: 'log', level: 'warn', message }),
  error: (message) => tell({ type: 'log', level: 'error', message }),
}

function tell(message: FromChild): void {
  // The parent may be gone; then there is nobody to tell, and 'disconnect' ends this process.
  if (process.connected) process.send?.(message, () => undefined)
}

if (process.send === undefined) throw new Error('The embedded event store is started by start.ts, with an IPC channel.')

process.once('message', (message: unknown) => {
  if (!isToChild(message) || message.type !== 'start') throw new Error('The first message must say what to start')
  run(message).catch((error: unknown) => {
    log.error(`The event store could not start: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
    if (process.connected) process.disconnect()
    setImmediate(() => process.exit(1))
  })
})

async function run({ databaseUrl, port }: Extract<ToChild, { type: 'start' }>): Promise<void> {
  // A wrong setting is told at once; all other trouble with Postgres may pass.
  if (!/^postgres(ql)?:\/\//.test(databaseUrl))
    throw new Error('the address of its database must begin with postgres://')
  const stopping = new AbortController()
  const stop = (): void => stopping.abort()
  process.once('disconnect', stop)
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  process.on('message', (message: unknown) => {
    if (isToChild(message) && message.type === 'stop') stop()
  })

  const writer = await openWriter(databaseUrl, log, stopping.signal)
  const pool = new Pool({
    connectionString: databaseUrl,
    max: READ_CONNECTIONS,
    application_name: 'embedded event store: reads',
    connectionTimeoutMillis: 5_000,
    // A frozen Postgres must not hold a reader for ever; no page takes this long.
    query_timeout: 30_000,
  })
  pool.on('error', (error) => log.warn(`A connection for reads was lost: ${error.message}`))
  const server = createService({ pool, writer }, log)
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, boundPort) => {
      if (error === null) resolve(boundPort)
      else reject(error)
    })
  })
  tell({ type: 'listening', port: bound })

  if (!stopping.signal.aborted) {
    await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
  }
  setTimeout(() => process.exit(1), STOP_MS).unref()
  await writer.close()
  server.forceShutdown()
  await pool.end().catch(() => undefined)
  process.exit(0)
}
