/**
 * A copy of a running cluster, by Postgres's own low-level way (documentation, 25.3.4): files copied between
 * pg_backup_start and pg_backup_stop, and the write-ahead log of that time, which the copy's first start replays. So all
 * databases of the cluster come back as they were at one instant, that of pg_backup_stop.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { clientConfig } from './client-config.ts'

export interface ClusterCopyOptions {
  /** Address of any database of the cluster. */
  readonly url: string
  readonly pgdata: string
  /** Folder to write; it must exist and be empty. */
  readonly into: string
  /** Copies one file; `false` when it is gone, which files of a running server may be. */
  readonly copy: (from: string, to: string) => Promise<boolean>
  /** Anything that must not be newer than the copy: done before its instant. */
  readonly meanwhile?: (() => Promise<void>) | undefined
}

/** Folders whose content the server makes anew at each start. */
const emptied = new Set([
  'pg_wal',
  'pg_replslot',
  'pg_dynshmem',
  'pg_notify',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
])
const left = /^(postmaster\.(pid|opts)|backup_label.*|tablespace_map.*|pg_internal\.init.*|pgsql_tmp.*)$/
const controlFile = 'global/pg_control'

export async function copyCluster(options: ClusterCopyOptions): Promise<void> {
  const { url, pgdata, into, copy, meanwhile } = options
  // The backup lives as long as this session; the slot, which keeps the log from being recycled, too.
  const client = new pg.Client(clientConfig(url, 'liveness backup', 0))
  await client.connect()
  client.on('error', () => {}) // the next query says it
  try {
    await client.query("select pg_create_physical_replication_slot('liveness_backup_' || pg_backend_pid(), true, true)")
    const started = await client.query<{ file: string }>(
      "select pg_walfile_name(pg_backup_start('liveness backup', true)) as file",
    )
    await copyFolder(options, '')
    await copy(join(pgdata, controlFile), join(into, controlFile))
    await meanwhile?.()
    const stopped = await client.query<{ file: string; label: string }>(
      'select pg_walfile_name(lsn) as file, labelfile as label from pg_backup_stop(false)',
    )
    await writeFile(join(into, 'backup_label'), stopped.rows[0]?.label ?? '', { mode: 0o600 })
    const [first = '', last = ''] = [started.rows[0]?.file, stopped.rows[0]?.file]
    for (const name of (await readdir(join(pgdata, 'pg_wal'))).toSorted()) {
      const needed = /^[0-9A-F]{24}$/.test(name) ? name >= first && name <= last : name.endsWith('.history')
      if (needed && !(await copy(join(pgdata, 'pg_wal', name), join(into, 'pg_wal', name)))) {
        throw new Error(`The write-ahead log ${name} was gone before it could be copied.`)
      }
    }
  } finally {
    await client.end().catch(() => {})
  }
}

async function copyFolder(options: ClusterCopyOptions, folder: string): Promise<void> {
  const entries = await readdir(join(options.pgdata, folder), { withFileTypes: true })
  for (const entry of entries) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (left.test(entry.name) || path === controlFile) continue
    if (entry.isDirectory()) {
      await mkdir(join(options.into, path), { mode: 0o700 })
      if (!emptied.has(path)) await copyFolder(options, path)
    } else if (entry.isFile()) {
      await options.copy(join(options.pgdata, path), join(options.into, path))
    } else {
      throw new Error(`${path} of the cluster is neither a file nor a folder: such a cluster was not made here.`)
    }
  }
}
