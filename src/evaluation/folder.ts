import type { Dirent } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { z } from 'zod'

/** The folder cannot be evaluated. The message is a sentence for whoever named it. */
export class BadFolder extends Error {
  override readonly name = 'BadFolder'
}

export type Label = 'live' | 'spoof'

/** Whether the picture shows the scene about the face, or ends at it. */
export type Frame = 'whole' | 'tight'

/** One labelled picture, before it is judged. */
export interface Sample {
  /** From the folder, with forward slashes. */
  path: string
  label: Label
  source: string
  /** What kind of attack a spoof is (print, screen, mask …); null for live faces. */
  attack: string | null
  /** Null: told by the detected face. */
  frame: Frame | null
}

const annotations = z.record(
  z.string(),
  z.object({ attack: z.string().nullish(), frame: z.string().nullish() }).loose(),
)
type Annotations = z.infer<typeof annotations>

/** Names looked for in the folder when no annotations file is given. */
const ANNOTATION_FILES = ['annotations.json', 'boxes.json']

/** An attack whose kind nobody states. */
const UNSTATED = 'unstated'

/**
 * Finds the labelled pictures of a folder laid out as [GROUP/]live/SOURCE/NAME and [GROUP/]spoof/SOURCE/[ATTACK/]NAME;
 * docs/evaluation.md has the rules.
 *
 * @param annotationsFile maps paths, told from its own folder, to { attack, frame }
 * @throws BadFolder
 */
export async function readSamples(folder: string, annotationsFile?: string): Promise<Sample[]> {
  const names = await picturesIn(folder)
  const told = await readAnnotations(folder, annotationsFile)
  const samples = names.flatMap((name) => {
    const path = name.split(sep).join('/')
    const sample = sampleOf(path, told.of(join(folder, name)))
    return sample ? [sample] : []
  })
  if (samples.length === 0) {
    const what = names.length === 0 ? 'holds no JPEG or PNG files' : 'has neither a folder live/ nor a folder spoof/'
    throw new BadFolder(
      `${folder} ${what}. Lay the pictures out as live/SOURCE/NAME.jpg and spoof/SOURCE/NAME.jpg (docs/evaluation.md).`,
    )
  }
  return samples.sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** What a path says. Null when no part of it is live or spoof. */
function sampleOf(path: string, told: Annotations[string] | undefined): Sample | null {
  const parts = path.split('/').slice(0, -1)
  const at = parts.findIndex((part) => part === 'live' || part === 'spoof')
  if (at < 0) return null
  const label = parts[at] as Label
  const [source = 'unnamed', kind] = parts.slice(at + 1)
  return {
    path,
    label,
    source,
    attack: label === 'spoof' ? (told?.attack ?? kind ?? UNSTATED) : null,
    frame: told?.frame ? (told.frame === 'full' || told.frame === 'whole' ? 'whole' : 'tight') : null,
  }
}

async function picturesIn(folder: string): Promise<string[]> {
  let entries: Dirent[]
  try {
    if (!(await stat(folder)).isDirectory()) throw new BadFolder(`${folder} is a file. Name a folder with pictures.`)
    entries = await readdir(folder, { recursive: true, withFileTypes: true })
  } catch (error) {
    if (error instanceof BadFolder) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new BadFolder(
      code === 'ENOENT' ? `There is no folder ${folder}.` : `${folder} cannot be read: ${(error as Error).message}`,
      { cause: error },
    )
  }
  return entries
    .filter((entry) => (entry.isFile() || entry.isSymbolicLink()) && /\.(jpe?g|png)$/i.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
}

async function readAnnotations(folder: string, file?: string) {
  for (const path of file === undefined ? ANNOTATION_FILES.map((name) => join(folder, name)) : [file]) {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' && file === undefined) return undefined
      throw new BadFolder(`The annotations ${path} cannot be read: ${error.message}`, { cause: error })
    })
    if (text === undefined) continue
    const parsed = annotations.safeParse(jsonOf(text))
    if (!parsed.success) {
      throw new BadFolder(
        `The annotations ${path} are not a JSON object from paths to { "attack", "frame" } (docs/evaluation.md).`,
      )
    }
    const from = dirname(path)
    return { of: (picture: string) => parsed.data[relative(from, picture).split(sep).join('/')] }
  }
  return { of: () => undefined }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
