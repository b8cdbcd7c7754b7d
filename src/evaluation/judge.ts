import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatOf, InvalidImage } from '../inference/image-format.ts'
import type { Inference } from '../inference/inference.ts'
import type { Quality } from '../inference/quality.ts'
import type { Frame, Sample } from './folder.ts'

/** A picture and what the product says of it. */
export interface Judged extends Omit<Sample, 'frame'> {
  /** Null where nobody says and no face could: the picture is neither, and only in the total of those without a verdict. */
  frame: Frame | null
  /** Why there is no verdict (no face, not decodable, not readable); null when there is one. */
  refused: string | null
  /** isFakeLikelihood; null when refused. */
  likelihood: number | null
  isFake: boolean | null
  isValid: boolean | null
  msg: string
  /** Each classifier's own spoof probability. */
  scores: Record<string, number>
  /** Largest face as detected: x, y, width, height. */
  face: [number, number, number, number] | null
  quality: Quality | null
  latencyMs: number | null
}

/** From here on a picture counts as a whole frame when nobody says: room for the face 1.6 times in both directions. */
const WHOLE_SCENE = 1.6

/**
 * Judges every picture as POST /v1/check/liveness does, so many at once as there are threads.
 *
 * @param onProgress number of pictures done
 */
export async function judgeAll(
  inference: Pick<Inference, 'check'>,
  folder: string,
  samples: readonly Sample[],
  threads: number,
  onProgress: (done: number) => void,
): Promise<Judged[]> {
  const judged: Judged[] = []
  let [next, done] = [0, 0]
  // One more than threads, so that no thread waits for the next file to be read.
  const hands = Array.from({ length: threads + 1 }, async () => {
    for (let i = next++; i < samples.length; i = next++) {
      judged[i] = await judge(inference, folder, samples[i] as Sample)
      onProgress(++done)
    }
  })
  await Promise.all(hands)
  return judged
}

async function judge(inference: Pick<Inference, 'check'>, folder: string, sample: Sample): Promise<Judged> {
  try {
    const bytes = await readFile(join(folder, sample.path)).catch(unreadable)
    const { verdict, diagnostics } = await inference.check(bytes, formatOf(bytes) ?? 'jpeg')
    const { quality, faces, rawScores } = diagnostics
    const box = faces[0]?.box
    return {
      ...sample,
      frame: sample.frame ?? (quality.scene >= WHOLE_SCENE ? 'whole' : 'tight'),
      refused: null,
      likelihood: verdict.likelihoodMillionths / 1e6,
      isFake: verdict.isFakeFace,
      isValid: verdict.isValidFace,
      msg: verdict.msg,
      scores: rawScores,
      face: box ? [box.x, box.y, box.width, box.height] : null,
      quality,
      latencyMs: verdict.latencyMs,
    }
  } catch (error) {
    if (!(error instanceof InvalidImage) && !(error instanceof Unreadable)) throw error
    const nothing = { likelihood: null, isFake: null, isValid: null, face: null, quality: null, latencyMs: null }
    return { ...sample, refused: error.message, msg: '', scores: {}, ...nothing }
  }
}

/** A picture's file cannot be read. The message is a sentence for whoever evaluates. */
class Unreadable extends Error {}

/** Faults of one file. Any other, such as too many open files, would be one of the run. */
const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'it is gone, or its link leads nowhere',
  ENOTDIR: 'its link leads nowhere',
  ELOOP: 'its link leads back to itself',
  EISDIR: 'its link leads to a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EIO: 'its disk reports an error',
}

function unreadable(error: NodeJS.ErrnoException): never {
  const reason = UNREADABLE[error.code ?? '']
  throw reason === undefined ? error : new Unreadable(`The file cannot be read: ${reason}`, { cause: error })
}
