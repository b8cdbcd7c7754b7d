import { cropFace } from './crop.ts'
import type { Calibration, ClassifierModel } from './manifest.ts'
import type { Pixels, Rect } from './pixels.ts'
import { createSession, floats, toTensor } from './session.ts'

/** ln(p / (1 − p)) of the probability p that the face is a spoof. */
export type SpoofLogit = (picture: Pixels, face: Rect) => Promise<number>

export async function createClassifier(weights: Uint8Array, model: ClassifierModel, threads = 1): Promise<SpoofLogit> {
  const session = await createSession(weights, threads)
  return async (picture, face) => {
    const feeds = model.inputs.map(({ name, crop, size, ...layout }) => [
      name,
      toTensor(cropFace(picture, face, crop, size), layout, size, size),
    ])
    const outputs = await session.run(Object.fromEntries(feeds))
    return spoofLogit(floats(outputs, model.output), model.classes)
  }
}

/**
 * The logit of the spoof probability under a softmax: log-sum-exp of the spoof classes less that of the live classes.
 * Taken from the logits themselves it stays finite where the probability rounds to 0 or 1.
 */
export function spoofLogit(logits: ArrayLike<number>, classes: ClassifierModel['classes']): number {
  const of = (wanted: 'live' | 'spoof') =>
    logSumExp(classes.flatMap((name, i) => (name === wanted ? [logits[i] ?? Number.NEGATIVE_INFINITY] : [])))
  return of('spoof') - of('live')
}

function logSumExp(values: number[]): number {
  const max = Math.max(...values)
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0))
}

export const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit))

/** A classifier's logit, and how much it counts: by itself and because classifiers differ in how far their logits go. */
export interface Opinion {
  readonly logit: number
  readonly weight: number
}

/**
 * Weighted mean of the classifiers' logits → probability → calibration.
 *
 * The mean of logits is the geometric mean of the odds: a classifier that is sure outweighs two that are not, which a
 * mean of probabilities does not allow. Calibration moves the set's operating point to the contract's threshold of 0.15
 * without changing the order of scores.
 *
 * @returns the likelihood of a spoof in millionths, 0 to 1,000,000
 */
export function likelihoodMillionths(opinions: readonly Opinion[], calibration: Calibration): number {
  const total = opinions.reduce((sum, { weight }) => sum + weight, 0)
  const mean = opinions.reduce((sum, { logit, weight }) => sum + logit * weight, 0) / total
  if (Number.isNaN(mean)) throw new Error('A classifier answered with something that is not a number')
  return Math.round(calibrate(sigmoid(mean), calibration) * 1_000_000)
}

/** Straight pieces through the given points. */
export function calibrate(value: number, points: Calibration): number {
  const above = Math.max(
    1,
    points.findIndex(([x]) => value <= x),
  )
  const [x0, y0] = points[above - 1] ?? [0, 0]
  const [x1, y1] = points[above] ?? [1, 1]
  return y0 + ((value - x0) / (x1 - x0)) * (y1 - y0)
}
