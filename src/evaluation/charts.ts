import type { OperatingPoint } from './statistics.ts'

/** Curves and histograms as SVG: text and lines only, no fonts or scripts of their own, readable on paper and screen. */

const INK = '#222222'
const GRID = '#dddddd'
const FONT = 'font-family="system-ui, sans-serif" font-size="13"'

export interface Curve {
  name: string
  colour: string
  dashes?: string
  points: readonly OperatingPoint[]
  /** Where the curve is at the set's threshold. */
  operating: { apcer: number; bpcer: number } | null
}

/** Both axes are logarithmic from this share on; smaller ones, 0 too, lie on the edge. */
const SMALLEST = 0.001
const TICKS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]

/**
 * Detection error trade-off: APCER to the right, BPCER upwards, both on logarithmic axes.
 * @param threshold of the curves' operating points
 */
export function detChart(title: string, curves: readonly Curve[], threshold: number): string {
  const [left, top, side] = [70, 50, 480]
  const at = (share: number) => Math.log(Math.max(share, SMALLEST) / SMALLEST) / Math.log(1 / SMALLEST)
  const x = (share: number) => round(left + at(share) * side)
  const y = (share: number) => round(top + (1 - at(share)) * side)
  const grid = TICKS.flatMap((share) => [
    line(x(share), top, x(share), top + side, GRID),
    line(left, y(share), left + side, y(share), GRID),
    text(x(share), top + side + 18, percent(share), 'middle'),
    text(left - 6, y(share) + 4, percent(share), 'end'),
  ])
  const drawn = curves.flatMap(({ name, colour, dashes, points, operating }, i) => {
    const path = points
      .map(({ apcer, bpcer }, at) => `${at === 0 ? 'M' : 'L'}${x(apcer)} ${y(bpcer)}`)
      .filter((step, at, all) => at === 0 || step.slice(1) !== all[at - 1]?.slice(1))
      .join('')
    const row = top + 20 + i * 20
    const stroke = `stroke="${colour}" stroke-width="2"${dashes ? ` stroke-dasharray="${dashes}"` : ''}`
    return [
      `<path d="${path}" fill="none" ${stroke}/>`,
      operating ? `<circle cx="${x(operating.apcer)}" cy="${y(operating.bpcer)}" r="5" fill="${colour}"/>` : '',
      `<path d="M${left + side + 20} ${row}h28" ${stroke}/>`,
      text(left + side + 54, row + 4, name, 'start'),
    ]
  })
  return svg(left + side + 270, top + side + 60, title, [
    ...grid,
    ...drawn,
    text(left + side / 2, top + side + 44, 'attacks taken for live (APCER)', 'middle'),
    text(20, top + side / 2, 'live faces refused (BPCER)', 'middle', `transform="rotate(-90 20 ${top + side / 2})"`),
    text(left + side + 20, top + 20 + curves.length * 20 + 8, `dots: at the threshold ${threshold}`, 'start'),
  ])
}

export interface HistogramPanel {
  name: string
  live: readonly number[]
  spoof: readonly number[]
}

const BINS = 25

/** Likelihoods of live faces (upwards) and of attacks (downwards), each as a share of its kind; the threshold as a line. */
export function histogramChart(title: string, panels: readonly HistogramPanel[], threshold: number): string {
  const [left, top, width, half] = [70, 60, 600, 90]
  const height = 2 * half + 60
  const x = (likelihood: number) => round(left + likelihood * width)
  const drawn = panels.flatMap(({ name, live, spoof }, i) => {
    const base = top + i * height + half
    const bars = (values: readonly number[], colour: string, up: boolean) =>
      sharesByBin(values).map((share, bin) => {
        const tall = round(share * half)
        const box = `x="${x(bin / BINS)}" y="${up ? base - tall : base}" width="${round(width / BINS - 1)}" height="${tall}"`
        return tall > 0 ? `<rect ${box} fill="${colour}"/>` : ''
      })
    return [
      ...bars(live, '#2b7bba', true),
      ...bars(spoof, '#c8552b', false),
      line(left, base, left + width, base, INK),
      `<path d="M${x(threshold)} ${base - half}v${2 * half}" stroke="${INK}" stroke-dasharray="4 3"/>`,
      text(left, base - half - 8, `${name}: ${live.length} live above, ${spoof.length} attacks below`, 'start'),
      text(left - 6, base - half + 10, '100 %', 'end'),
      text(left - 6, base + half, '100 %', 'end'),
      ...[0, 0.25, 0.5, 0.75, 1].map((value) => text(x(value), base + half + 18, `${value}`, 'middle')),
      text(x(threshold) + 4, base - half + 10, `threshold ${threshold}`, 'start'),
    ]
  })
  return svg(left + width + 40, top + panels.length * height, title, [
    ...drawn,
    text(left + width, top - 28, 'isFakeLikelihood', 'end'),
  ])
}

/** The share of the values in each of the equal bins of 0 to 1; 1 itself is in the last one. */
export function sharesByBin(values: readonly number[]): number[] {
  const counts = new Array<number>(BINS).fill(0)
  for (const value of values) {
    const bin = Math.min(BINS - 1, Math.floor(value * BINS))
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  return counts.map((count) => (values.length === 0 ? 0 : count / values.length))
}

const round = (value: number): number => Math.round(value * 10) / 10
const percent = (share: number): string => `${Number((share * 100).toPrecision(2))} %`
const escaped = (words: string): string => words.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<path d="M${x1} ${y1}L${x2} ${y2}" stroke="${colour}"/>`
}

function text(x: number, y: number, words: string, anchor: 'start' | 'middle' | 'end', more = ''): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${INK}"${more === '' ? '' : ` ${more}`}>${escaped(words)}</text>`
}

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" ${FONT}>`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="20" y="26" fill="${INK}" font-size="16">${escaped(title)}</text>`,
    ...parts.filter((part) => part !== ''),
    '</svg>',
    '',
  ].join('\n')
}
