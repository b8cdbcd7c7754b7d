import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { serverEnvironment } from './cluster.ts'
import type { ServerUser } from './server-user.ts'

export interface ServerOptions {
  readonly postgres: string
  readonly pgdata: string
  readonly user: ServerUser
  readonly port: number
  /** False only in tests: a crash of the machine may then cost the data. A crash of the server does not. */
  readonly durable: boolean
  readonly log: (line: string) => void
}

/** One run of the server process. */
export interface Server {
  readonly pid: number
  readonly child: ChildProcess
  /** Resolves when the process is over, with how it ended and the last lines it wrote. Never rejects. */
  readonly ended: Promise<string>
}

/** How much of the server's output is kept to explain an end. */
const LAST_LINES = 12

/**
 * Starts the server process, in a session of its own: Ctrl-C in a terminal signals the whole process group, and
 * Postgres must not stop before the application has drained.
 */
export async function launch(options: ServerOptions): Promise<Server> {
  const settings = {
    listen_addresses: '127.0.0.1',
    port: options.port,
    unix_socket_directories: '',
    max_connections: 100,
    // A small machine shared with inference; the operating system caches the files besides.
    shared_buffers: '128MB',
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    lc_messages: 'C',
    log_checkpoints: 'off',
    fsync: options.durable ? 'on' : 'off',
    synchronous_commit: options.durable ? 'on' : 'off',
    full_page_writes: options.durable ? 'on' : 'off',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(options.postgres, ['-D', options.pgdata, ...flags], {
    ...options.user.ids,
    cwd: '/',
    env: serverEnvironment(),
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  await once(child, 'spawn')
  const lines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line)
    if (lines.length > LAST_LINES) lines.shift()
    options.log(line)
  })
  const ended = new Promise<string>((resolve) => {
    // 'exit', not 'close': children of a killed server may hold the pipe open a little longer.
    child.once('exit', (code, signal) => resolve([`ended by ${signal ?? `code ${code}`}`, ...lines].join('\n')))
  })
  return { pid: child.pid ?? 0, child, ended }
}

/**
 * Resolves when the server answers, however long its recovery takes.
 *
 * @throws Error when the process ends first, with its last words, or when it refuses us for good
 */
export async function untilReady(server: Server, url: string): Promise<void> {
  let end: string | undefined
  void server.ended.then((words) => {
    end = words
  })
  for (;;) {
    if (end !== undefined) throw new Error(`Postgres ${end}`)
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
    client.on('error', () => {}) // the rejected call below says it
    try {
      await client.connect()
      return
    } catch (error) {
      // Class 28: the password file does not belong to this cluster. Everything else passes, or ends the process.
      if (error instanceof pg.DatabaseError && error.code?.startsWith('28')) throw error
    } finally {
      await client.end().catch(() => {})
    }
    await delay(20)
  }
}

/** Ends connections, writes everything back and stops (SIGINT); after 30 s at once, to recover at the next start. */
export async function halt(server: Server): Promise<void> {
  server.child.kill('SIGINT')
  const late = setTimeout(() => server.child.kill('SIGQUIT'), 30_000)
  await server.ended
  clearTimeout(late)
}
