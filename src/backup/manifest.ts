/** What a backup says of itself, and the copying of its files, each with its digest. */
import { createHash } from 'node:crypto'
import { open, readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { z } from 'zod'
import { writeWhole } from '../write-whole.ts'

const manifestSchema = z.object({
  format: z.literal('liveness-backup/1'),
  /** Of the program that took it. */
  version: z.string(),
  takenAt: z.iso.datetime(),
  /** Events in the log, counted before the copy began: it holds at least these. */
  events: z.int(),
  /** Those that may be empty and must be there. */
  folders: z.array(z.string()),
  files: z.array(z.object({ path: z.string(), bytes: z.int(), sha256: z.string() })),
})

export type Manifest = z.infer<typeof manifestSchema>
export type BackedUpFile = Manifest['files'][number]

/** No backup, or none that is whole. */
export class BadBackup extends Error {
  override name = 'BadBackup'
}

const manifestName = 'backup.json'

/** Written last: without it the folder is no backup. */
export const writeManifest = (folder: string, manifest: Manifest): Promise<void> =>
  writeWhole(join(folder, manifestName), [Buffer.from(`${JSON.stringify(manifest)}\n`)], 0o600)

/** @throws BadBackup */
export async function readManifest(folder: string): Promise<Manifest> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(join(folder, manifestName), 'utf8')))
  } catch (cause) {
    throw new BadBackup(`${folder} holds no complete backup: its ${manifestName} is missing or cannot be read.`, {
      cause,
    })
  }
}

const chunkBytes = 1 << 20

/**
 * Copies a file; `syncAll` brings it to disk. Null when there is none: a running server's files come and go.
 * @param path its name in the manifest
 */
export async function copyFile(from: string, to: string, path: string): Promise<BackedUpFile | null> {
  const source = await open(from, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (source === null) return null
  const target = await open(to, 'wx', 0o600)
  try {
    const digest = createHash('sha256')
    const chunk = Buffer.allocUnsafe(chunkBytes)
    let bytes = 0
    for (;;) {
      const { bytesRead } = await source.read(chunk, 0, chunkBytes, null)
      if (bytesRead === 0) break
      const read = chunk.subarray(0, bytesRead)
      digest.update(read)
      await target.writeFile(read)
      bytes += bytesRead
    }
    return { path, bytes, sha256: digest.digest('hex') }
  } finally {
    await source.close()
    await target.close()
  }
}

/** At once, for a disk takes many in the time of one. */
const syncsAtOnce = 32

/** Resolves when the files are on disk. */
export async function syncAll(paths: readonly string[]): Promise<void> {
  const left = [...paths]
  const sync = async () => {
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      const file = await open(path, 'r')
      await file.sync().finally(() => file.close())
    }
  }
  await Promise.all(Array.from({ length: syncsAtOnce }, sync))
}

/** All folders below one, each behind the one that it lies in. */
export async function foldersOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .toSorted()
}
