import type { Frame } from './folder.ts'
import type { Judged } from './judge.ts'
import {
  auc,
  aucInterval,
  detCurve,
  type ErrorsAt,
  equalError,
  errorsAt,
  type Interval,
  mean,
  meanInterval,
  type Rate,
  rateOf,
  thresholdsAround,
} from './statistics.ts'

/** Figures of one group of pictures. ISO/IEC 30107-3's terms; "attack" is a presentation attack, "live" bona fide. */
export interface Figures {
  live: number
  spoof: number
  auc: number | null
  aucInterval: Interval | null
  equalErrorRate: number | null
  /** A threshold at which both error rates meet, or differ least; it may be set as SPOOF_THRESHOLD. */
  equalErrorThreshold: number | null
  /** Attacks taken for live. */
  apcer: Rate
  /** Live faces taken for attacks. */
  bpcer: Rate
  /** Pictures of this group without a verdict; they are in no other figure of it. */
  nonResponse: { live: Rate; spoof: Rate }
}

export interface SourceFigures extends Figures {
  source: string
  /** APCER by kind of attack. */
  attacks: Record<string, Rate>
}

/** A mean over sources, each of them counting once however many pictures it has. */
export interface SourceMean {
  mean: number | null
  interval: Interval | null
  sources: number
}

export interface FrameReport {
  /** Every picture, each counting once. */
  pooled: Figures
  /** Only pictures whose face the product calls valid. */
  valid: Figures
  /** What other thresholds would give, pooled: some around the set one and around the one where both rates meet. */
  operatingPoints: ErrorsAt[]
  /** APCER by kind of attack, pooled. */
  attacks: Record<string, Rate>
  /** The kind of attack with the largest APCER: ISO/IEC 30107-3's figure of a system. */
  worstAttack: string | null
  sources: SourceFigures[]
  overSources: { auc: SourceMean; apcer: SourceMean; bpcer: SourceMean }
}

/** Over all pictures, whatever their frame: of most of these nobody knows it. */
export interface WithoutVerdict {
  live: Rate
  spoof: Rate
  /** The most frequent reason first. */
  reasons: { reason: string; live: number; spoof: number; paths: string[] }[]
}

export interface Report {
  set: { name: string; version: string }
  threshold: number
  pictures: number
  withoutVerdict: WithoutVerdict
  /** Fewest pictures of a kind that a source needs to count in the means over sources. */
  fewest: number
  frames: Record<Frame, FrameReport>
}

/** With fewer pictures of a kind than this, a source's rate is noise and would move the mean over sources. */
const FEWEST = 5

export const frames = ['whole', 'tight'] as const satisfies Frame[]

export function reportOf(judged: readonly Judged[], set: Report['set'], threshold: number): Report {
  const frameReport = (frame: Frame) =>
    reportOfFrame(
      judged.filter((picture) => picture.frame === frame),
      threshold,
    )
  return {
    set,
    threshold,
    pictures: judged.length,
    withoutVerdict: withoutVerdict(judged),
    fewest: FEWEST,
    frames: { whole: frameReport('whole'), tight: frameReport('tight') },
  }
}

function withoutVerdict(judged: readonly Judged[]): WithoutVerdict {
  const count = (pictures: readonly Judged[], label: Judged['label']) =>
    pictures.filter((picture) => picture.label === label).length
  const refused = judged.filter((picture) => picture.refused !== null)
  const reasons = [...groupBy(refused, ({ refused }) => refused ?? '')].map(([reason, own]) => ({
    reason,
    live: count(own, 'live'),
    spoof: count(own, 'spoof'),
    paths: own.map(({ path }) => path),
  }))
  return {
    live: rateOf(count(refused, 'live'), count(judged, 'live')),
    spoof: rateOf(count(refused, 'spoof'), count(judged, 'spoof')),
    reasons: reasons.sort((a, b) => b.paths.length - a.paths.length),
  }
}

function reportOfFrame(pictures: readonly Judged[], threshold: number): FrameReport {
  const sources = [...groupBy(pictures, ({ source }) => source)].map(([source, own]) => ({
    source,
    ...figuresOf(own),
    attacks: attacksOf(own),
  }))
  sources.sort((a, b) => (a.source < b.source ? -1 : 1))
  const attacks = attacksOf(pictures)
  const [worst] = Object.entries(attacks).sort(([, a], [, b]) => (b.rate ?? 0) - (a.rate ?? 0))
  const over = (values: (number | null)[]): SourceMean => {
    const known = values.filter((value) => value !== null)
    return { mean: mean(known), interval: meanInterval(known), sources: known.length }
  }
  const enough = (rate: Rate) => (rate.of >= FEWEST ? rate.rate : null)
  const pooled = figuresOf(pictures)
  return {
    pooled,
    valid: figuresOf(pictures.filter(({ isValid }) => isValid)),
    operatingPoints: operatingPoints(pictures, threshold, pooled.equalErrorThreshold),
    attacks,
    worstAttack: worst?.[0] ?? null,
    sources,
    overSources: {
      auc: over(sources.map(({ auc, apcer, bpcer }) => (apcer.of >= FEWEST && bpcer.of >= FEWEST ? auc : null))),
      apcer: over(sources.map(({ apcer }) => enough(apcer))),
      bpcer: over(sources.map(({ bpcer }) => enough(bpcer))),
    },
  }
}

function operatingPoints(pictures: readonly Judged[], threshold: number, equal: number | null): ErrorsAt[] {
  const scores = (label: Judged['label']) => scoresOf(pictures.filter((picture) => picture.label === label))
  const [lives, spoofs] = [scores('live'), scores('spoof')]
  // The product compares in millionths.
  const set = Math.round(threshold * 1e6) / 1e6
  return thresholdsAround(equal === null ? [set] : [set, equal]).map((one) => errorsAt(lives, spoofs, one))
}

export function figuresOf(pictures: readonly Judged[]): Figures {
  const of = (label: Judged['label']) => pictures.filter((picture) => picture.label === label)
  const [live, spoof] = [of('live'), of('spoof')]
  const [lives, spoofs] = [scoresOf(live), scoresOf(spoof)]
  const equal = equalError(detCurve(lives, spoofs))
  return {
    live: live.length,
    spoof: spoof.length,
    auc: auc(lives, spoofs),
    aucInterval: aucInterval(lives, spoofs),
    equalErrorRate: equal?.rate ?? null,
    equalErrorThreshold: equal?.threshold ?? null,
    apcer: passedAttacks(spoof),
    bpcer: rateOf(live.filter(({ isFake }) => isFake).length, lives.length),
    nonResponse: {
      live: rateOf(live.length - lives.length, live.length),
      spoof: rateOf(spoof.length - spoofs.length, spoof.length),
    },
  }
}

/** Likelihoods of the pictures that have a verdict. */
export function scoresOf(pictures: readonly Judged[]): number[] {
  return pictures.flatMap(({ likelihood }) => (likelihood === null ? [] : [likelihood]))
}

function passedAttacks(spoof: readonly Judged[]): Rate {
  return rateOf(spoof.filter(({ isFake }) => isFake === false).length, scoresOf(spoof).length)
}

function attacksOf(pictures: readonly Judged[]): Record<string, Rate> {
  const spoof = pictures.filter(({ label }) => label === 'spoof')
  const kinds = [...groupBy(spoof, ({ attack }) => attack ?? '')].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(kinds.map(([kind, own]) => [kind, passedAttacks(own)]))
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}
