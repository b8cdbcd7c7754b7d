import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Binaries } from './binaries.ts'
import type { Home } from './home.ts'

/** Postgres's superuser, whom the application connects as. */
export const SUPERUSER = 'postgres'

/**
 * Makes the database cluster when there is none, and returns the superuser's password.
 *
 * initdb works in a folder of its own that becomes `data` by one rename, so that a start killed half-way leaves nothing
 * that looks like a cluster.
 */
export async function ensureCluster(home: Home, binaries: Binaries): Promise<string> {
  const passwordPath = join(home.path, 'password')
  if (existsSync(home.pgdata)) {
    const major = (await readFile(join(home.pgdata, 'PG_VERSION'), 'utf8')).trim()
    if (major !== binaries.major) {
      throw new Error(
        `The database in ${home.pgdata} was made by Postgres ${major}, and Postgres ${binaries.major} cannot open it.`,
      )
    }
    return (await readFile(passwordPath, 'utf8')).trim()
  }
  for (const name of await readdir(home.path)) {
    if (name.startsWith('initdb-')) await rm(join(home.path, name), { recursive: true, force: true })
  }
  const password = randomBytes(24).toString('base64url')
  const workplace = join(home.path, `initdb-${randomBytes(6).toString('hex')}`)
  await mkdir(workplace, { mode: 0o700 })
  await writeFile(join(workplace, 'password'), `${password}\n`, { mode: 0o600 })
  await writeDurably(passwordPath, `${password}\n`)
  if (home.user.ids.uid !== undefined && home.user.ids.gid !== undefined) {
    await chown(workplace, home.user.ids.uid, home.user.ids.gid)
    await chown(join(workplace, 'password'), home.user.ids.uid, home.user.ids.gid)
  }
  const pgdata = join(workplace, 'data')
  const flags = [
    `--pgdata=${pgdata}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${join(workplace, 'password')}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Postgres's own collation: the same order on every machine, whatever its C library.
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
  ]
  await promisify(execFile)(binaries.initdb, flags, { ...home.user.ids, cwd: '/', env: serverEnvironment() })
  await rename(pgdata, home.pgdata)
  await syncDirectory(home.path)
  await rm(workplace, { recursive: true, force: true })
  return password
}

/** Nothing of our environment (secrets, PG* variables) reaches the server. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' }
}

async function writeDurably(path: string, content: string): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await chmod(path, 0o600)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  await directory.sync().finally(() => directory.close())
}
