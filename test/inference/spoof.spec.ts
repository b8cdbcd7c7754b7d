import fc from 'fast-check'
import { expect, test } from 'vitest'
import { suppressOverlaps } from '../../src/inference/face.ts'
import { calibrate, likelihoodMillionths, sigmoid, spoofLogit } from '../../src/inference/spoof.ts'

const points: [number, number][] = [
  [0, 0],
  [0.54, 0.15],
  [1, 1],
]

/** Of classifiers that count alike. */
const likelihood = (...logits: number[]) =>
  likelihoodMillionths(
    logits.map((logit) => ({ logit, weight: 1 })),
    points,
  )

test('the logit is that of the softmax probability, whatever the order of the classes', () => {
  const softmaxSpoof = (Math.exp(1) + Math.exp(-2)) / (Math.exp(1) + Math.exp(0.5) + Math.exp(-2))
  expect(sigmoid(spoofLogit([1, 0.5, -2], ['spoof', 'live', 'spoof']))).toBeCloseTo(softmaxSpoof, 12)
  expect(spoofLogit([2, -1], ['live', 'spoof'])).toBe(-3)
})

test('the logit stays finite where the probability is 0 or 1 in floating point', () => {
  expect(spoofLogit([1000, -1000], ['live', 'spoof'])).toBe(-2000)
  expect(spoofLogit([1000, -1000, 999], ['spoof', 'live', 'spoof'])).toBeGreaterThan(1999)
})

test('the calibration passes through its points and is straight between them', () => {
  expect(points.map(([x]) => calibrate(x, points))).toEqual([0, 0.15, 1])
  expect(calibrate(0.27, points)).toBeCloseTo(0.075, 12)
  expect(calibrate(0.77, points)).toBeCloseTo(0.575, 12)
})

test('the likelihood is a mean of logits, in millionths', () => {
  expect(likelihood(0, 0, 0)).toBe(Math.round((0.5 / 0.54) * 0.15 * 1e6))
  expect(likelihood(-2, 2)).toBe(likelihood(0))
  expect(likelihood(Number.NEGATIVE_INFINITY)).toBe(0)
  expect(likelihood(800)).toBe(1_000_000)
})

test('a classifier of weight 3 counts as three that agree', () => {
  const weighted = [
    { logit: -2, weight: 1 },
    { logit: 1.5, weight: 3 },
  ]
  expect(likelihoodMillionths(weighted, points)).toBe(likelihood(-2, 1.5, 1.5, 1.5))
})

test('no number from a classifier is an error, never a verdict', () => {
  expect(() => likelihood(Number.NaN, 1)).toThrow('not a number')
})

test('a more suspicious classifier never lowers the likelihood, which stays within 0 and 1,000,000', () => {
  const logit = fc.double({ min: -50, max: 50, noNaN: true })
  fc.assert(
    fc.property(logit, logit, fc.double({ min: 0, max: 20, noNaN: true }), (a, b, more) => {
      const [before, after] = [likelihood(a, b), likelihood(a, b + more)]
      expect(after).toBeGreaterThanOrEqual(before)
      expect(before).toBeGreaterThanOrEqual(0)
      expect(after).toBeLessThanOrEqual(1_000_000)
      expect(Number.isInteger(after)).toBe(true)
    }),
  )
})

test('of overlapping boxes the best score stays; boxes that hardly overlap all stay', () => {
  const box = (x: number) => ({ x, y: 0, width: 10, height: 10 })
  const faces = [
    { score: 0.8, box: box(0) },
    { score: 0.9, box: box(2) },
    { score: 0.75, box: box(8) },
    { score: 0.7, box: box(100) },
  ]
  expect(suppressOverlaps(faces, 0.3).map((face) => face.score)).toEqual([0.9, 0.75, 0.7])
})
