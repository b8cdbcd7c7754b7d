import { createDetector } from './detector.ts'
import { decodeImage } from './image.ts'
import { type ImageFormat, InvalidImage } from './image-format.ts'
import type { ResolvedSet } from './manifest.ts'
import { measureQuality } from './quality.ts'
import { measureRoll } from './roll.ts'
import { createClassifier, likelihoodMillionths, sigmoid } from './spoof.ts'
import { type Diagnostics, type Verdict, verdict } from './verdict.ts'

export interface Answer {
  verdict: Verdict
  diagnostics: Diagnostics
}

/** Detectors miss many faces that lie on their side or upside down. */
const NO_FACE = 'No face was detected: send the picture the right way up, with the whole face in it.'

/** Judges one picture. @throws InvalidImage when it cannot be decoded or shows no face */
export type CheckImage = (bytes: Uint8Array, format: ImageFormat) => Promise<Answer>

/**
 * Loads a set's models into this thread.
 *
 * @param read gives the weights of a file of the set
 * @param threads computing threads per picture. One is right in a pool with a worker per core: two pictures on one
 *   thread each are done sooner than one after the other on two threads each (bench/inference.ts compares both)
 */
export async function createCheck(
  set: ResolvedSet,
  spoofThreshold: number,
  read: (file: string) => Promise<Uint8Array>,
  threads = 1,
): Promise<CheckImage> {
  const detector = await createDetector(set.detector, read, threads)
  const classifiers = await Promise.all(
    set.classifiers.map(async ({ name, model, weight }) => ({
      name,
      weight,
      judge: await createClassifier(await read(model.file), model, threads),
    })),
  )

  return async (bytes, format) => {
    const start = performance.now()
    const picture = await decodeImage(bytes, format)
    const decoded = performance.now()
    const [first, ...others] = await detector.detect(picture)
    if (!first) throw new InvalidImage(NO_FACE)
    const roll = await measureRoll(picture, first.box, detector.look)
    const detected = performance.now()
    const opinions = []
    for (const { name, weight, judge } of classifiers) {
      opinions.push({ name, weight, logit: await judge(picture, first.box) })
    }
    const quality = measureQuality(picture, first.box, roll)
    const end = performance.now()
    const likelihood = likelihoodMillionths(opinions, set.calibration)
    const findings = {
      picture: { width: picture.width, height: picture.height },
      faces: [first, ...others] as const,
      likelihoodMillionths: likelihood,
      quality,
      latencyMs: end - start,
    }
    return {
      verdict: verdict(findings, spoofThreshold, set.validity),
      diagnostics: {
        rawScores: Object.fromEntries(opinions.map(({ name, logit }) => [name, sigmoid(logit)])),
        faces: [first, ...others],
        quality,
        stages: { decode: decoded - start, detect: detected - decoded, classify: end - detected },
      },
    }
  }
}
