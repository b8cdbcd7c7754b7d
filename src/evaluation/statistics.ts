/** Lower and upper end of a 95 % confidence interval. */
export type Interval = [low: number, high: number]

/** Errors among trials, their share, and its interval; share and interval are null without trials. */
export interface Rate {
  errors: number
  of: number
  rate: number | null
  interval: Interval | null
}

/** 97.5 % quantile of the standard normal distribution. */
const Z = 1.959963984540054

export function rateOf(errors: number, of: number): Rate {
  return { errors, of, rate: of === 0 ? null : errors / of, interval: wilson(errors, of) }
}

/** Wilson's score interval (1927) of a share: it stays inside 0 to 1 and means something at 0 errors too. */
export function wilson(errors: number, of: number): Interval | null {
  if (of === 0) return null
  const share = errors / of
  const squares = Z * Z
  const centre = (share + squares / (2 * of)) / (1 + squares / of)
  const half = (Z / (1 + squares / of)) * Math.sqrt((share * (1 - share)) / of + squares / (4 * of * of))
  // At the ends rounding would leave 1e-17.
  return [errors === 0 ? 0 : centre - half, errors === of ? 1 : centre + half]
}

/**
 * Area under the ROC curve: how likely an attack scores above a live face, equal scores counting half (Mann and
 * Whitney's U over the number of pairs). Null without one of the two.
 */
export function auc(live: readonly number[], spoof: readonly number[]): number | null {
  if (live.length === 0 || spoof.length === 0) return null
  return mean(placements(spoof, live)) as number
}

/**
 * DeLong's interval (1988) of the area, clipped to 0 to 1. Null where it says nothing: fewer than two scores of a kind,
 * or scores that do not overlap at all, whose variance is estimated as 0.
 */
export function aucInterval(live: readonly number[], spoof: readonly number[]): Interval | null {
  if (live.length < 2 || spoof.length < 2) return null
  const ofSpoof = placements(spoof, live)
  const ofLive = placements(live, spoof)
  const deviation = Math.sqrt(variance(ofSpoof) / spoof.length + variance(ofLive) / live.length)
  if (deviation === 0) return null
  const area = mean(ofSpoof) as number
  return [Math.max(0, area - Z * deviation), Math.min(1, area + Z * deviation)]
}

/** For each value the share of the others that lie below it, equal ones counting half. */
function placements(values: readonly number[], others: readonly number[]): number[] {
  const sorted = [...others].sort((a, b) => a - b)
  return values.map((value) => (countBelow(sorted, value) + countUpTo(sorted, value)) / (2 * sorted.length))
}

/** Values of a sorted list below the limit. */
const countBelow = (sorted: readonly number[], limit: number): number => firstIndex(sorted, (value) => value >= limit)
/** Values of a sorted list up to the limit, itself included. */
const countUpTo = (sorted: readonly number[], limit: number): number => firstIndex(sorted, (value) => value > limit)

function firstIndex(sorted: readonly number[], reached: (value: number) => boolean): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (reached(sorted[middle] as number)) high = middle
    else low = middle + 1
  }
  return low
}

export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Sample variance (n − 1). */
function variance(values: readonly number[]): number {
  const centre = mean(values) as number
  return values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1)
}

/** Draws for the interval of a mean; the generator is seeded, so the same figures give the same interval. */
const RESAMPLES = 2_000

/**
 * Percentile bootstrap of a mean. For means over sources: pictures of one source resemble each other, so the sources
 * are what is drawn, and the interval tells how much another choice of sources would have moved the mean. Null where it
 * says nothing: fewer than two sources, or equal ones, which would seem to leave no doubt at all.
 */
export function meanInterval(values: readonly number[]): Interval | null {
  if (new Set(values).size < 2) return null
  const random = seeded(1)
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0
    for (let i = 0; i < values.length; i++) sum += values[Math.floor(random() * values.length)] as number
    return sum / values.length
  }).sort((a, b) => a - b)
  return [means[Math.floor(0.025 * RESAMPLES)] as number, means[Math.ceil(0.975 * RESAMPLES) - 1] as number]
}

/** Mulberry32: 0 up to 1. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Error rates at one threshold: attacks at or below it pass, live faces above it are refused. */
export interface OperatingPoint {
  threshold: number
  apcer: number
  bpcer: number
}

/** Every operating point that differs from the one before, from "all refused" to "all pass"; none without both kinds. */
export function detCurve(live: readonly number[], spoof: readonly number[]): OperatingPoint[] {
  if (live.length === 0 || spoof.length === 0) return []
  const [lives, spoofs] = [[...live].sort((a, b) => a - b), [...spoof].sort((a, b) => a - b)]
  const thresholds = [...new Set([...lives, ...spoofs])].sort((a, b) => a - b)
  const at = (threshold: number) => ({
    threshold,
    apcer: countUpTo(spoofs, threshold) / spoofs.length,
    bpcer: 1 - countUpTo(lives, threshold) / lives.length,
  })
  return [{ threshold: Number.NEGATIVE_INFINITY, apcer: 0, bpcer: 1 }, ...thresholds.map(at)]
}

/** Where both error rates meet: their mean, and the smallest threshold at which they differ least. */
export interface EqualError {
  rate: number
  /** Null when it lies below every score. */
  threshold: number | null
}

/** @returns null without a curve */
export function equalError(curve: readonly OperatingPoint[]): EqualError | null {
  let best: OperatingPoint | undefined
  const gap = ({ apcer, bpcer }: OperatingPoint) => Math.abs(apcer - bpcer)
  for (const point of curve) if (best === undefined || gap(point) < gap(best)) best = point
  if (best === undefined) return null
  const { threshold, apcer, bpcer } = best
  return { rate: (apcer + bpcer) / 2, threshold: Number.isFinite(threshold) ? threshold : null }
}

/** What the errors would be at a threshold, whichever the pictures were judged with. */
export interface ErrorsAt {
  threshold: number
  apcer: Rate
  bpcer: Rate
}

export function errorsAt(live: readonly number[], spoof: readonly number[], threshold: number): ErrorsAt {
  return {
    threshold,
    apcer: rateOf(spoof.filter((score) => score <= threshold).length, spoof.length),
    bpcer: rateOf(live.filter((score) => score > threshold).length, live.length),
  }
}

/** Round thresholds that rows of a table are taken from. */
const LADDER = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99]

/** Each of the thresholds between the two round ones below and the two above it, in ascending order. */
export function thresholdsAround(thresholds: readonly number[]): number[] {
  const rows = thresholds.flatMap((one) => [
    ...LADDER.filter((step) => step < one).slice(-2),
    one,
    ...LADDER.filter((step) => step > one).slice(0, 2),
  ])
  return [...new Set(rows)].sort((a, b) => a - b)
}
