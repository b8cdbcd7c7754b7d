import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { canEnter, chooseServerUser, isRoot, type ServerUser } from './server-user.ts'

/** The folder of one embedded server: its data (`data`), its password, and its binaries where they had to be copied. */
export interface Home {
  readonly path: string
  readonly pgdata: string
  readonly user: ServerUser
}

/** Where data lie that cannot lie in the data directory. Survives a reboot, unlike the folder for temporary files. */
export const ELSEWHERE = '/var/lib/liveness'

const pointerIn = (dataDir: string) => join(resolve(dataDir), 'postgres-location')

/** Whether an embedded server's data lie in this data directory, or belong to it. Makes nothing. */
export const hasHome = (dataDir: string): boolean =>
  existsSync(join(resolve(dataDir), 'postgres', 'data')) || existsSync(pointerIn(dataDir))

/**
 * Finds the server's folder, and makes it when there is none yet: `postgres` in the data directory, or, when the user
 * the server must run as cannot get there (root's own folders), one below /var/lib/liveness. That choice is made once
 * and written down beside the data directory's other files: permissions change, and data must not seem to vanish.
 */
export async function findHome(dataDir: string): Promise<Home> {
  const inside = join(resolve(dataDir), 'postgres')
  const pointer = pointerIn(dataDir)
  if (existsSync(pointer)) {
    const path = (await readFile(pointer, 'utf8')).trim()
    if (!existsSync(path)) {
      throw new Error(
        `The database of ${dataDir} belongs in ${path}, as the file ${pointer} says, but it is not there.`,
      )
    }
    return openHome(path)
  }
  await makeHome(inside)
  const home = openHome(inside)
  if (canEnter(home.user, inside)) return home
  if (existsSync(home.pgdata)) {
    throw new Error(
      `The database in ${inside} must be served by ${home.user.name}, who cannot get there. Let that user pass through every folder above it (chmod o+x).`,
    )
  }
  const digest = createHash('sha256').update(inside).digest('hex').slice(0, 12)
  const outside = join(ELSEWHERE, `${basename(resolve(dataDir))}-${digest}`)
  await mkdir(ELSEWHERE, { recursive: true })
  await chmod(ELSEWHERE, 0o755)
  await makeHome(outside)
  const moved = openHome(outside)
  if (!canEnter(moved.user, outside)) {
    throw new Error(`Neither ${inside} nor ${outside} is open to ${moved.user.name}, who must serve the database.`)
  }
  await writeFile(pointer, `${outside}\n`)
  await rmdir(inside)
  return moved
}

/** Deletes a data directory and its database, wherever that lies; the server has stopped. */
export async function removeDataDir(dataDir: string): Promise<void> {
  const pointer = pointerIn(dataDir)
  if (existsSync(pointer)) await rm((await readFile(pointer, 'utf8')).trim(), { recursive: true, force: true })
  await rm(dataDir, { recursive: true, force: true })
}

function openHome(path: string): Home {
  const pgdata = join(path, 'data')
  return { path, pgdata, user: chooseServerUser(pgdata) }
}

/** As root the folder lets the server's user pass through; its files keep their own modes. */
async function makeHome(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
  await chmod(path, isRoot() ? 0o711 : 0o700)
}
