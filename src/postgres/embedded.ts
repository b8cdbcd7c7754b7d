import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { lockDataDir } from '../data-dir.ts'
import { findBinaries } from './binaries.ts'
import { ensureCluster, SUPERUSER } from './cluster.ts'
import { findHome } from './home.ts'
import { clearTheWay } from './orphan.ts'
import { halt, launch, type Server, untilReady } from './server.ts'

export interface EmbeddedPostgresOptions {
  readonly dataDir: string
  /** Called with each line the server or its supervisor has to say. */
  readonly log?: (line: string) => void
  /** Called when the server ended without being asked to, before it is started again. */
  readonly onExit?: (how: string) => void
  /** False only in tests, for speed: no fsync. */
  readonly durable?: boolean
}

export interface EmbeddedPostgres {
  /** Address of the maintenance database, password included. Stays the same however often the server is restarted. */
  readonly url: string
  /** The server's process now. */
  readonly pid: number
  /** Where the data really lie; not below the given data directory when the server's user cannot get there. */
  readonly dataDir: string
  stop(): Promise<void>
}

const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 5_000
/** A server that held this long is taken for sound, and its next end for a new mishap. */
const SOUND_AFTER_MS = 30_000

/**
 * Starts a real PostgreSQL on 127.0.0.1 and keeps it running until `stop`: when its process dies it is started again
 * on the same port, with growing pauses, for as long as it takes.
 *
 * @throws DataDirInUse when another process supervises a server on this data directory
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log = () => {}, onExit = () => {}, durable = true } = options
  const home = await findHome(options.dataDir)
  // The folder has a lock of its own: a copied data directory may point at the same one.
  const lock = await lockDataDir(home.path)
  try {
    const binaries = await findBinaries(home.path, home.user)
    const password = await ensureCluster(home, binaries)
    const start = async (port: number) => {
      await clearTheWay(home.pgdata, log)
      const url = `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`
      const server = await launch({ ...home, postgres: binaries.postgres, port, durable, log })
      await untilReady(server, url).catch(async (error: unknown) => {
        await halt(server)
        throw error
      })
      return { server, url }
    }
    const port = await freePort()
    const first = await start(port).catch(async (error: Error) => {
      // Somebody took the port since, or a server that an earlier run had just started is only now visible.
      if (!/could not bind|already in use|already exists/.test(error.message)) throw error
      return start(await freePort())
    })
    const supervised = supervise(first.server, () => start(Number(new URL(first.url).port)), log, onExit)
    return {
      url: first.url,
      dataDir: home.pgdata,
      get pid() {
        return supervised.pid()
      },
      stop: async () => {
        await supervised.stop()
        await lock.release()
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

function supervise(
  first: Server,
  start: () => Promise<{ server: Server }>,
  log: (line: string) => void,
  onExit: (how: string) => void,
): { pid: () => number; stop: () => Promise<void> } {
  let server = first
  const stopping = new AbortController()
  // Neither an uncaught exception nor process.exit() leaves the server behind; only SIGKILL does, until the next start.
  const atExit = () => server.child.kill('SIGINT')
  process.once('exit', atExit)

  const loop = async () => {
    let backoff = FIRST_BACKOFF_MS
    while (!stopping.signal.aborted) {
      const since = Date.now()
      const how = await Promise.race([server.ended, once(stopping.signal, 'abort').then(() => null)])
      if (how === null) return
      log(`Postgres (process ${server.pid}) ${how.split('\n')[0]}; starting it again`)
      onExit(how)
      if (Date.now() - since > SOUND_AFTER_MS) backoff = FIRST_BACKOFF_MS
      for (let running = false; !running && !stopping.signal.aborted; ) {
        try {
          server = (await start()).server
          running = true
          log(`Postgres is back as process ${server.pid}`)
        } catch (error) {
          log(`Postgres does not start: ${error instanceof Error ? error.message : error}`)
          await delay(backoff, undefined, { signal: stopping.signal }).catch(() => {})
          backoff = Math.min(backoff * 2, LONGEST_BACKOFF_MS)
        }
      }
    }
  }
  const done = loop()
  return {
    pid: () => server.pid,
    stop: async () => {
      stopping.abort()
      await done
      await halt(server)
      process.off('exit', atExit)
    },
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}
