/**
 * A backup of the embedded stack, running or not: the cluster with both databases, log and tables, as it was at one
 * instant, and what else lies in the data directory. No order has to be kept: one write-ahead log holds both, and what a
 * read model has folded was committed to the log before.
 */
import { mkdir, readdir } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { copyCluster } from '../postgres/base-backup.ts'
import { version } from '../version.ts'
import { type BackedUpFile, BadBackup, copyFile, foldersOf, type Manifest, syncAll, writeManifest } from './manifest.ts'

export interface BackupOptions {
  readonly dataDir: string
  /** Where the embedded Postgres keeps its files and its password. */
  readonly home: { readonly path: string; readonly pgdata: string }
  /** Address of a database of the running cluster. */
  readonly url: string
  readonly countEvents: () => Promise<number>
  /** Made when absent; must be empty. */
  readonly into: string
}

/** What belongs to a running process, or is copied with the cluster. */
const notCopied = /^(lock\.\d+.*|runtime\.json.*|postgres|postgres-location|audit-verify\.state|.*\.part)$/

/** @throws BadBackup when the folder is not empty or lies in the data directory */
export async function backup({ dataDir, home, url, countEvents, into }: BackupOptions): Promise<Manifest> {
  const inside = relative(resolve(dataDir), resolve(into))
  if (!inside.startsWith('..')) throw new BadBackup(`${into} lies in the data directory: take another folder.`)
  await mkdir(into, { recursive: true, mode: 0o700 })
  if ((await readdir(into)).length > 0) throw new BadBackup(`${into} is not empty: take a new folder for each backup.`)
  const events = await countEvents()
  const files: BackedUpFile[] = []
  const copy = async (from: string, to: string) => {
    const copied = await copyFile(from, to, relative(into, to))
    if (copied !== null) files.push(copied)
    return copied !== null
  }
  const cluster = join(into, 'postgres')
  await mkdir(cluster, { mode: 0o700 })
  await copyCluster({
    url,
    pgdata: home.pgdata,
    into: cluster,
    copy,
    // An anchor must not be newer than the log beside it.
    meanwhile: () => copyDataDir(dataDir, join(into, 'data'), copy),
  })
  await copy(join(home.path, 'password'), join(into, 'password'))
  await syncAll(files.map(({ path }) => join(into, path)))
  const manifest: Manifest = {
    format: 'liveness-backup/1',
    version,
    takenAt: new Date().toISOString(),
    events,
    folders: await foldersOf(into),
    files: files.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
  }
  await writeManifest(into, manifest)
  return manifest
}

async function copyDataDir(
  from: string,
  to: string,
  copy: (from: string, to: string) => Promise<boolean>,
): Promise<void> {
  await mkdir(to, { mode: 0o700 })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (notCopied.test(entry.name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await copyDataDir(source, target, copy)
    else if (entry.isFile()) await copy(source, target)
  }
}
