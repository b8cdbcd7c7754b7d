/** Anchors as files of a folder: named after their tick's time, written whole or not at all. */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeWhole } from '../write-whole.ts'
import { type Anchor, anchorFault, anchorSchema, type PublicKeys } from './anchor.ts'
import { readBounded } from './bounded-file.ts'

export interface AnchorFile {
  /** ISO 8601 UTC, from the file's name. */
  readonly through: string
  readonly path: string
}

/** A file that is no anchor, or none that these keys signed. */
export class BadAnchor extends Error {
  override name = 'BadAnchor'
  readonly path: string
  readonly fault: string
  constructor(path: string, fault: string, options?: ErrorOptions) {
    super(`the anchor ${path} cannot be trusted: ${fault}`, options)
    this.path = path
    this.fault = fault
  }
}

/** ISO 8601's basic format, so that names sort by time and hold no colon. */
export const anchorName = (through: string): string => `anchor-${through.replaceAll(/[-:]/g, '')}.json`
const namePattern = /^anchor-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3}Z)\.json$/

/** The folder's anchors, the oldest first; none where there is no such folder. */
export async function listAnchors(dir: string): Promise<AnchorFile[]> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.toSorted().flatMap((name) => {
    const [, year, month, day, hour, minute, second] = namePattern.exec(name) ?? []
    if (year === undefined) return []
    return [{ through: `${year}-${month}-${day}T${hour}:${minute}:${second}`, path: join(dir, name) }]
  })
}

/** Reads an anchor and verifies its signature and root. @throws BadAnchor, UnreadableFile, TooLarge */
export async function readAnchor(path: string, keys: PublicKeys): Promise<Anchor> {
  const text = (await readBounded(path, 'anchor')).toString('utf8')
  let anchor: Anchor
  try {
    anchor = anchorSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new BadAnchor(path, 'it is damaged, or no anchor at all', { cause })
  }
  const fault = anchorFault(anchor, keys)
  if (fault !== null) throw new BadAnchor(path, fault)
  return anchor
}

/** The newest anchor that can be trusted, or null. `onBad` is told of each newer one that cannot. */
export async function newestAnchor(
  dir: string,
  keys: PublicKeys,
  onBad: (error: BadAnchor) => void,
): Promise<Anchor | null> {
  for (const { path } of (await listAnchors(dir)).reverse()) {
    try {
      return await readAnchor(path, keys)
    } catch (error) {
      if (!(error instanceof BadAnchor)) throw error
      onBad(error)
    }
  }
  return null
}

/** Writes an anchor under its name and returns the path. */
export async function keepAnchor(dir: string, anchor: Anchor): Promise<string> {
  await mkdir(dir, { recursive: true })
  const path = join(dir, anchorName(anchor.through))
  await writeWhole(path, [Buffer.from(`${JSON.stringify(anchor)}\n`)])
  return path
}
