import { type Curve, detChart, histogramChart } from './charts.ts'
import type { Frame } from './folder.ts'
import type { Judged } from './judge.ts'
import { frames, type Report, scoresOf } from './report.ts'
import { detCurve } from './statistics.ts'

const NAMES = { whole: 'whole frames', tight: 'tight crops' }
const COLOURS = { whole: ['#2b7bba', '#7a4ba0', '#1f8a5b', '#b8860b', '#c8552b'], tight: ['#888888'] }

/** The DET curves of whole frames, of each kind of attack among them, and of tight crops; histograms of both. */
export function chartsOf(report: Report, judged: readonly Judged[]): { det: string; histogram: string } {
  const of = (frame: Frame, label: Judged['label'], attack?: string) =>
    scoresOf(judged.filter((one) => one.frame === frame && one.label === label && (!attack || one.attack === attack)))
  const curve = (frame: Frame, index: number, attack?: string): Curve => {
    const { bpcer } = report.frames[frame].pooled
    const apcer = attack ? report.frames[frame].attacks[attack]?.rate : report.frames[frame].pooled.apcer.rate
    return {
      name: attack ? `${NAMES[frame]}, ${attack}` : NAMES[frame],
      colour: COLOURS[frame][index % COLOURS[frame].length] as string,
      ...(attack ? { dashes: '6 3' } : {}),
      points: detCurve(of(frame, 'live'), of(frame, 'spoof', attack)),
      operating: apcer == null || bpcer.rate === null ? null : { apcer, bpcer: bpcer.rate },
    }
  }
  const kinds = Object.keys(report.frames.whole.attacks)
  const curves = [
    curve('whole', 0),
    ...(kinds.length > 1 ? kinds.map((kind, i) => curve('whole', i + 1, kind)) : []),
    curve('tight', 0),
  ].filter(({ points }) => points.length > 0)
  const title = `Model set ${report.set.name} ${report.set.version}`
  const panels = frames
    .map((frame) => ({ name: NAMES[frame], live: of(frame, 'live'), spoof: of(frame, 'spoof') }))
    .filter(({ live, spoof }) => live.length + spoof.length > 0)
  return {
    det: detChart(`${title}: detection error trade-off`, curves, report.threshold),
    histogram: histogramChart(`${title}: likelihood of spoofing`, panels, report.threshold),
  }
}
