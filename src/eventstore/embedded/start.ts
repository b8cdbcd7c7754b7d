import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { builtModule } from '../../built.ts'
import { isFromChild, type ToChild } from './messages.ts'
import type { Log } from './model.ts'

/** A start waits for Postgres and for a predecessor that still holds the writer's lock; no longer than this. */
const START_MS = 30_000
const RESTART_MS_MIN = 100
const RESTART_MS_MAX = 5_000
/** A process that ran this long was healthy; its death starts the back-off anew. */
const HEALTHY_MS = 10_000
const STOP_MS = 10_000

export interface EmbeddedEventStore {
  /** Connection string for @eventstore/db-client; it stays the same when the process is started again. */
  readonly url: string
  /** The process that runs now; undefined while it is being started again. */
  readonly pid: number | undefined
  /** Lets the process finish what it has accepted, and resolves when it is gone. */
  stop(): Promise<void>
}

/**
 * Starts the event store as a process of its own and keeps it running.
 *
 * The process is in a process group of its own, so that Ctrl-C in a terminal reaches the application first, and it ends
 * by itself when this process is gone, however it went. When it dies it is started again on the same port.
 *
 * @throws Error when it does not listen within 30 s, with what it said last
 */
export async function startEmbeddedEventStore(options: {
  readonly databaseUrl: string
  /** 0 (the default): any free port. */
  readonly port?: number
  readonly log?: Log
}): Promise<EmbeddedEventStore> {
  const { databaseUrl, log } = options
  let port = options.port ?? 0
  let child: ChildProcess | undefined
  let stopped = false
  let restart: NodeJS.Timeout | undefined
  let restartMs = RESTART_MS_MIN
  let lastWords = ''

  /** Resolves when the process listens; rejects when it ends before that. */
  function launch(): Promise<void> {
    const launched = spawn(process.execPath, [fileURLToPath(builtModule(import.meta.url, './server.js'))], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    child = launched
    const startedAt = performance.now()
    launched.on('error', (error) => log?.error(`The event store's process: ${error.message}`))
    launched.stderr?.setEncoding('utf8').on('data', (text: string) => {
      lastWords = text.trim()
      log?.error(`The event store's process wrote: ${lastWords}`)
    })
    send(launched, { type: 'start', databaseUrl, port })

    const listening = new Promise<void>((resolve, reject) => {
      launched.on('message', (message: unknown) => {
        if (!isFromChild(message)) return
        if (message.type === 'log') {
          lastWords = message.message
          log?.[message.level](`Event store: ${message.message}`)
        } else {
          port = message.port
          resolve()
        }
      })
      launched.once('exit', (code, signal) =>
        reject(new Error(`The event store ended (${signal ?? `exit code ${code}`}) before it listened. ${lastWords}`)),
      )
    })
    launched.once('exit', (code, signal) => {
      if (child === launched) child = undefined
      if (stopped) return
      if (performance.now() - startedAt > HEALTHY_MS) restartMs = RESTART_MS_MIN
      log?.warn(`The event store ended (${signal ?? `exit code ${code}`}); starting it again in ${restartMs} ms.`)
      restart = setTimeout(() => {
        // An unsuccessful launch ends in 'exit', which schedules the next.
        launch().catch(() => undefined)
      }, restartMs)
      restartMs = Math.min(restartMs * 2, RESTART_MS_MAX)
    })
    return listening
  }

  async function stop(): Promise<void> {
    stopped = true
    clearTimeout(restart)
    const running = child
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
    const gone = once(running, 'exit')
    send(running, { type: 'stop' })
    const hurry = setTimeout(() => running.kill('SIGKILL'), STOP_MS)
    await gone
    clearTimeout(hurry)
  }

  const tooLate = new AbortController()
  const timer = setTimeout(() => tooLate.abort(), START_MS)
  try {
    await Promise.race([
      launch(),
      once(tooLate.signal, 'abort').then(() => {
        throw new Error(`The event store did not start within ${START_MS / 1000} s. ${lastWords}`)
      }),
    ])
  } catch (error) {
    await stop()
    throw error
  } finally {
    clearTimeout(timer)
  }
  return {
    url: `esdb://127.0.0.1:${port}?tls=false`,
    get pid() {
      return child?.pid
    },
    stop,
  }
}

function send(child: ChildProcess, message: ToChild): void {
  // A channel that is closed already belongs to a process that is ending; 'exit' tells of it.
  if (child.connected) child.send(message, () => undefined)
}
