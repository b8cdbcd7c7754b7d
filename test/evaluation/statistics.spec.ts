import { expect, test } from 'vitest'
import {
  auc,
  aucInterval,
  detCurve,
  equalError,
  errorsAt,
  mean,
  meanInterval,
  rateOf,
  thresholdsAround,
  wilson,
} from '../../src/evaluation/statistics.ts'

test('the area under the curve is the share of pairs in the right order, equal ones half', () => {
  expect(auc([1, 2], [3, 4])).toBe(1)
  expect(auc([3, 4], [1, 2])).toBe(0)
  expect(auc([1, 1], [1, 1])).toBe(0.5)
  // Pairs of live 1, 2, 3 with spoof 2, 4: 2 > 1, 2 = 2, 2 < 3, and 4 > all: 1 + ½ + 0 + 3 of 6.
  expect(auc([3, 1, 2], [4, 2])).toBe(0.75)
  expect(auc([], [1])).toBeNull()
  expect(auc([1], [])).toBeNull()
})

test("DeLong's interval is the one computed by hand", () => {
  // Live 1, 3; spoof 2, 4. Spoof's placements: 2 beats 1 of 2, 4 beats both: ½, 1. Live's: 1 beats none, 3 beats one of
  // two: 0, ½. Each variance is 2 · ¼² = 1/8. Deviation √(1/16 + 1/16) = 0.353553; area ¾.
  const [low, high] = aucInterval([1, 3], [2, 4]) ?? []
  expect(low).toBeCloseTo(0.75 - 1.959964 * 0.3535534, 5)
  expect(high).toBe(1) // 1.443, clipped
  // Live 1 … 4, spoof 2.5 … 5.5: placements of spoof ½, ¾, 1, 1 (variance 0.0572917), of live 0, 0, ¼, ½ (the same).
  const [lower, upper] = aucInterval([1, 2, 3, 4], [2.5, 3.5, 4.5, 5.5]) ?? []
  const half = 1.959964 * Math.sqrt((2 * 0.0572917) / 4)
  expect(lower).toBeCloseTo(0.8125 - half, 5)
  expect(upper).toBe(Math.min(1, 0.8125 + half))
})

test('where scores do not overlap, or are too few, the area has no interval', () => {
  expect(aucInterval([1, 2], [3, 4])).toBeNull()
  expect(aucInterval([1], [0, 2])).toBeNull()
})

test("Wilson's interval is the published one", () => {
  // Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29.
  const cases: [number, number, number, number][] = [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ]
  for (const [errors, of, low, high] of cases) {
    const [a, b] = wilson(errors, of) ?? []
    expect(a).toBeCloseTo(low, 4)
    expect(b).toBeCloseTo(high, 4)
  }
  expect(wilson(20, 20)?.[1]).toBe(1)
  expect(wilson(0, 0)).toBeNull()
  expect(rateOf(0, 0)).toEqual({ errors: 0, of: 0, rate: null, interval: null })
  expect(rateOf(1, 4).rate).toBe(0.25)
})

test('a mean over sources and its interval: the same figures give the same one, equal ones none', () => {
  expect(mean([0.1, 0.2, 0.6])).toBeCloseTo(0.3, 12)
  expect(mean([])).toBeNull()
  expect(meanInterval([0.4])).toBeNull()
  for (const share of [0, 2 / 3]) expect(meanInterval([share, share])).toBeNull()
  const values = Array.from({ length: 40 }, (_, i) => i / 39)
  const [low, high] = meanInterval(values) ?? [0, 0]
  expect(meanInterval(values)).toEqual([low, high])
  // Deviation of the mean of 40 values spread evenly over 0 to 1: 0.2961 / √40 (n in the denominator) = 0.0468.
  expect(low).toBeCloseTo(0.5 - 1.96 * 0.0468, 1)
  expect(high).toBeCloseTo(0.5 + 1.96 * 0.0468, 1)
  expect(high - low).toBeGreaterThan(0.15)
  expect(high - low).toBeLessThan(0.22)
})

test('the curve goes from all refused to all pass; attacks at the threshold pass, live faces above it are refused', () => {
  const curve = detCurve([0.1, 0.4], [0.4, 0.9])
  expect(curve).toEqual([
    { threshold: Number.NEGATIVE_INFINITY, apcer: 0, bpcer: 1 },
    { threshold: 0.1, apcer: 0, bpcer: 0.5 },
    { threshold: 0.4, apcer: 0.5, bpcer: 0 },
    { threshold: 0.9, apcer: 1, bpcer: 0 },
  ])
  expect(equalError(curve)).toEqual({ rate: 0.25, threshold: 0.1 }) // between (0, ½) and (½, 0)
  expect(equalError(detCurve([0, 0.1], [0.8, 0.9]))).toEqual({ rate: 0, threshold: 0.1 })
  expect(detCurve([], [1])).toEqual([])
  expect(equalError(detCurve([0.5], [0.5]))).toEqual({ rate: 0.5, threshold: null })
  expect(equalError([])).toBeNull()
})

test('the errors at a threshold are those of the curve, and stay rates where one kind is missing', () => {
  const [live, spoof] = [
    [0.1, 0.4],
    [0.4, 0.9],
  ]
  for (const { threshold, apcer, bpcer } of detCurve(live, spoof)) {
    expect(errorsAt(live, spoof, threshold)).toMatchObject({ apcer: { rate: apcer }, bpcer: { rate: bpcer } })
  }
  expect(errorsAt(live, [], 0.3)).toMatchObject({ apcer: { of: 0, rate: null }, bpcer: { errors: 1, of: 2 } })
})

test('thresholds around given ones: two round ones on each side, once each, ascending', () => {
  expect(thresholdsAround([0.15])).toEqual([0.05, 0.1, 0.15, 0.2, 0.3])
  expect(thresholdsAround([0.15, 0.234567])).toEqual([0.05, 0.1, 0.15, 0.2, 0.234567, 0.3, 0.4])
  expect(thresholdsAround([0.001, 1])).toEqual([0.001, 0.01, 0.02, 0.98, 0.99, 1])
})
