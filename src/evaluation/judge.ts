import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatOf, InvalidImage } from '../inference/image-format.ts'
import type { Inference } from '../inference/inference.ts'
import type { Frame, Sample } from './folder.ts'

/** A picture and what the product says of it. */
export interface Judged extends Omit<Sample, 'frame'> {
  frame: Frame
  /** Why there is no verdict (no face, not decodable); null when there is one. */
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
  quality: { side: number; margin: number; scene: number; brightness: number; sharpness: number } | null
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
  const bytes = await readFile(join(folder, sample.path))
  try {
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
    if (!(error instanceof InvalidImage)) throw error
    const nothing = { likelihood: null, isFake: null, isValid: null, face: null, quality: null, latencyMs: null }
    return { ...sample, frame: sample.frame ?? 'tight', refused: error.message, msg: '', scores: {}, ...nothing }
  }
}
