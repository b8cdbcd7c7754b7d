import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { identityOf, whereabouts } from './process-identity.ts'

/** Another process works on this data directory. */
export class DataDirInUse extends Error {
  override name = 'DataDirInUse'
  readonly pid: number

  constructor(dataDir: string, pid: number) {
    super(
      `The data directory ${dataDir} is in use by process ${pid}. Stop that process first, or set DATA_DIR to another folder.`,
    )
    this.pid = pid
  }
}

/** The data directory cannot be one: the message says why, and what is expected. */
export class DataDirUnusable extends Error {
  override name = 'DataDirUnusable'
}

/** What the file system says about a folder that nobody can work in. */
const unusable: Readonly<Record<string, string>> = {
  EEXIST: 'it is a file',
  ENOTDIR: 'it is a file, or lies below one',
  EACCES: 'this user may not write there',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its disk is full',
  EDQUOT: "this user's share of its disk is used up",
}

/** In words where the fault lies with the folder, else the error itself. */
export function dataDirFault(dataDir: string, error: unknown): unknown {
  const reason = error instanceof Error && 'code' in error ? unusable[String(error.code)] : undefined
  if (reason === undefined) return error
  return new DataDirUnusable(
    `The data directory ${dataDir} cannot be used: ${reason}. DATA_DIR must name a folder that this user may write to, ` +
      'or one that can be made, with space left on its disk.',
    { cause: error },
  )
}

const identitySchema = z.object({ pid: z.number(), started: z.string(), host: z.string() })
const runtimeSchema = z.object({
  pid: z.number(),
  postgresUrl: z.string().optional(),
  eventStoreUrl: z.string().optional(),
  httpUrl: z.string().optional(),
})
const runtimeFileSchema = runtimeSchema.extend({ process: identitySchema })

/** Where the parts of a running application listen. The Postgres address holds its password. */
export type Runtime = z.infer<typeof runtimeSchema>

/** How often the holder of a lock touches it, and how long an observer elsewhere waits for that, in milliseconds. */
const HEARTBEAT_MS = 2_000
const SILENCE_MS = 7_000

/**
 * Takes the data directory (made when absent) for this process, until `release` or the process's end, however it ends.
 *
 * The lock is a file that names its holder by pid and start time. A holder that was killed is recognised at once, and
 * one that is frozen or whose event loop is busy keeps its lock; a lock that expires unless it is renewed in time
 * (proper-lockfile's way) gives neither. Only a holder in another container or on another machine, whose pid says
 * nothing here, is judged by whether it still touches the file.
 *
 * Files are numbered and the highest number is the lock. To succeed a dead holder is to create the next number, which
 * the file system grants to one process only; deleting the old file and creating it again would let two in.
 *
 * @throws DataDirInUse, DataDirUnusable
 */
export async function lockDataDir(dataDir: string): Promise<{ release(): Promise<void> }> {
  return takeLock(dataDir).catch((error: unknown) => {
    throw dataDirFault(dataDir, error)
  })
}

async function takeLock(dataDir: string): Promise<{ release(): Promise<void> }> {
  await mkdir(dataDir, { recursive: true })
  for (;;) {
    const newest = await newestLock(dataDir)
    if (newest > 0) await refuseWhileHeld(dataDir, lockPath(dataDir, newest))
    const path = lockPath(dataDir, newest + 1)
    if (!(await createWhole(path, JSON.stringify(identityOf())))) continue
    // A rival may have been two steps ahead and have tidied this number away already.
    if ((await newestLock(dataDir)) !== newest + 1) {
      await rm(path, { force: true })
      continue
    }
    for (const number of await lockNumbers(dataDir)) {
      if (number <= newest) await rm(lockPath(dataDir, number), { force: true })
    }
    const heartbeat = setInterval(() => {
      const now = new Date()
      utimes(path, now, now).catch(() => {}) // the directory was removed: nobody is left to be told
    }, HEARTBEAT_MS)
    heartbeat.unref()
    return {
      // Emptied, not removed: numbers only grow, so no slow rival can be granted one that was already used.
      release: async () => {
        clearInterval(heartbeat)
        await truncate(path)
      },
    }
  }
}

/** Publishes where this process's parts listen, for commands that attach to it. Readable by the owner only. */
export async function writeRuntime(dataDir: string, runtime: Runtime): Promise<void> {
  const identity = identityOf(runtime.pid)
  if (identity === null) throw new Error(`process ${runtime.pid} is not running`)
  const path = runtimePath(dataDir)
  const part = `${path}.${randomUUID()}`
  await writeFile(part, JSON.stringify({ ...runtime, process: identity }), { mode: 0o600 })
  await rename(part, path)
}

/**
 * What the running application published; null when there is none, or the one that published it is gone.
 * @throws DataDirUnusable
 */
export async function readRuntime(dataDir: string): Promise<Runtime | null> {
  const text = await readFile(runtimePath(dataDir), 'utf8')
    .catch(ignoreMissing)
    .catch((error: unknown) => {
      throw dataDirFault(dataDir, error)
    })
  if (text === undefined) return null
  const { process: identity, ...runtime } = runtimeFileSchema.parse(JSON.parse(text))
  return whereabouts(identity) === 'running' ? runtime : null
}

/** Withdraws what `writeRuntime` published; part of an orderly end. */
export async function clearRuntime(dataDir: string): Promise<void> {
  await rm(runtimePath(dataDir), { force: true })
}

const runtimePath = (dataDir: string) => join(dataDir, 'runtime.json')
const lockPath = (dataDir: string, number: number) => join(dataDir, `lock.${number}`)

async function lockNumbers(dataDir: string): Promise<number[]> {
  return (await readdir(dataDir)).flatMap((name) => {
    const match = /^lock\.(\d+)$/.exec(name)
    return match === null ? [] : [Number(match[1])]
  })
}

async function newestLock(dataDir: string): Promise<number> {
  return Math.max(0, ...(await lockNumbers(dataDir)))
}

async function refuseWhileHeld(dataDir: string, path: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(ignoreMissing)
  if (text === undefined || text === '') return
  const holder = identitySchema.parse(JSON.parse(text))
  const place = whereabouts(holder)
  if (place === 'running' || (place === 'elsewhere' && (await isTouched(path)))) {
    throw new DataDirInUse(dataDir, holder.pid)
  }
}

/** Whether somebody touches the file within the time a living holder would. */
async function isTouched(path: string): Promise<boolean> {
  const modified = async () => (await stat(path).catch(ignoreMissing))?.mtimeMs
  const before = await modified()
  if (before === undefined || Date.now() - before > SILENCE_MS) return false
  for (const deadline = Date.now() + SILENCE_MS; Date.now() < deadline; await delay(250)) {
    if ((await modified()) !== before) return true
  }
  return false
}

/** Creates a file that never exists without its whole content. False when the name is taken. */
async function createWhole(path: string, content: string): Promise<boolean> {
  const part = `${path}.${randomUUID()}`
  await writeFile(part, content, { mode: 0o644 })
  try {
    await link(part, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    await rm(part, { force: true })
  }
}

async function truncate(path: string): Promise<void> {
  const file = await open(path, 'r+').catch(ignoreMissing)
  await file?.truncate(0).finally(() => file.close())
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
