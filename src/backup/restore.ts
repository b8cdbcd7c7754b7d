/** A backup back into a data directory. */

import { existsSync } from 'node:fs'
import { chown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findHome, type Home } from '../postgres/home.ts'
import { BadBackup, copyFile, foldersOf, type Manifest, readManifest, syncAll } from './manifest.ts'

const markPath = (dataDir: string) => join(dataDir, 'restore-unfinished')

/** A data directory into which a backup was restored in part: a start would make an empty database beside it. */
export class RestoreUnfinished extends Error {
  override name = 'RestoreUnfinished'
}

/** @throws RestoreUnfinished */
export function refuseUnfinishedRestore(dataDir: string): void {
  if (!existsSync(markPath(dataDir))) return
  throw new RestoreUnfinished(
    `A \`liveness restore\` into ${dataDir} did not end. Remove that folder and restore again, into the same or another.`,
  )
}

/**
 * Fills a data directory that is absent or empty; call while holding its lock. Each file is held against its digest,
 * and nothing starts on the directory before all of them are there.
 * @throws BadBackup
 */
export async function restore(from: string, dataDir: string): Promise<Manifest> {
  const manifest = await readManifest(from)
  if ((await readdir(dataDir)).some((name) => !/^lock\.\d+$/.test(name))) {
    throw new BadBackup(`DATA_DIR ${dataDir} is not empty: name a new folder, or move the old one away.`)
  }
  await writeFile(markPath(dataDir), `${from}\n`)
  const home = await findHome(dataDir)
  if (existsSync(home.pgdata)) throw new BadBackup(`There is a database in ${home.pgdata} already: move it away.`)
  const cluster = join(home.path, 'restored')
  await rm(cluster, { recursive: true, force: true })
  const targetOf = (path: string): string => {
    const [top, ...below] = path.split('/')
    if (top === 'postgres') return join(cluster, ...below)
    if (top === 'data') return join(dataDir, ...below)
    if (path === 'password') return join(home.path, path)
    throw new BadBackup(`The backup holds ${path}, which this version does not know.`)
  }
  for (const folder of manifest.folders) await mkdir(targetOf(folder), { recursive: true, mode: 0o700 })
  for (const { path, sha256 } of manifest.files) {
    const copied = await copyFile(join(from, path), targetOf(path), path)
    if (copied?.sha256 !== sha256) throw new BadBackup(`${join(from, path)} is not the file that was backed up.`)
  }
  await syncAll(manifest.files.map(({ path }) => targetOf(path)))
  await handOver(cluster, home)
  await rename(cluster, home.pgdata)
  await rm(markPath(dataDir))
  return manifest
}

/** As root, to the user whom the server runs as. */
async function handOver(cluster: string, { user }: Home): Promise<void> {
  const { uid, gid } = user.ids
  if (uid === undefined || gid === undefined) return
  await chown(cluster, uid, gid)
  for (const folder of await foldersOf(cluster)) await chown(join(cluster, folder), uid, gid)
  for (const entry of await readdir(cluster, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await chown(join(entry.parentPath, entry.name), uid, gid)
  }
}
