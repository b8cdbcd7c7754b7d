import { execFileSync, spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { userInfo } from 'node:os'

/** The operating system user Postgres runs as. `ids` are spawn options: empty when it is the user we are anyway. */
export interface ServerUser {
  readonly name: string
  readonly ids: { readonly uid?: number; readonly gid?: number }
}

export const isRoot = (): boolean => process.getuid?.() === 0

/**
 * initdb and postgres refuse to run as root. As root, the owner of an existing data directory is taken, else the first
 * unprivileged user of the system that fits; initdb wants one with an entry in the user database.
 *
 * @param pgdata the Postgres data directory, which need not exist yet
 */
export function chooseServerUser(pgdata: string): ServerUser {
  if (!isRoot()) return { name: userInfo().username, ids: {} }
  const owner = statSync(pgdata, { throwIfNoEntry: false })
  if (owner !== undefined && owner.uid !== 0) {
    return { name: `uid ${owner.uid}`, ids: { uid: owner.uid, gid: owner.gid } }
  }
  for (const name of ['postgres', 'nobody']) {
    const ids = idsOf(name)
    if (ids !== null) return { name, ids }
  }
  throw new Error('Postgres refuses to run as root, and this system has neither a user postgres nor a user nobody.')
}

/** Whether that user can reach the directory: every folder above it must let the user through. */
export function canEnter(user: ServerUser, directory: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', directory], { ...user.ids, cwd: '/' }).status === 0
}

function idsOf(name: string): { uid: number; gid: number } | null {
  try {
    const id = (flag: string) =>
      Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
    return { uid: id('-u'), gid: id('-g') }
  } catch {
    return null
  }
}
