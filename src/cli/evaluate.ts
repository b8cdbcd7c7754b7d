import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { loadConfig } from '../config.ts'
import type { FrameReport, Report } from '../evaluation/report.ts'
import type { Interval, Rate } from '../evaluation/statistics.ts'
import { CommandError, print, printJson, printTable } from './output.ts'
import { openWritable } from './writable-folder.ts'

interface Options {
  set?: string
  annotations?: string
  into: string
  json?: true
}

export function addEvaluateCommand(program: Command): void {
  program
    .command('evaluate')
    .description("error rates of a model set on labelled pictures of yours, through the product's own code")
    .argument('<folder>', 'pictures as live/SOURCE/NAME and spoof/SOURCE/[ATTACK/]NAME; docs/evaluation.md')
    .option('--set <name>', 'a set of models/manifest.json; default: MODEL_SET, else the best one here')
    .option(
      '--annotations <file>',
      'JSON with attack and frame of pictures; default: annotations.json or boxes.json in the folder',
    )
    .option('--into <folder>', 'where evaluation.json, det.svg and histogram.svg go', 'evaluation')
    .option('--json', 'the report as one JSON object instead of tables')
    .action(evaluate)
}

async function evaluate(folder: string, { set: wanted, annotations, into, json }: Options): Promise<void> {
  const { config } = loadConfig()
  // Loaded here: other commands do not need the models' runtime.
  const { refuseUnusableModelsDir } = await import('../app/models-dir.ts')
  const { BadFolder, readSamples } = await import('../evaluation/folder.ts')
  const { judgeAll } = await import('../evaluation/judge.ts')
  const { reportOf } = await import('../evaluation/report.ts')
  const { chartsOf } = await import('../evaluation/charts-of.ts')
  const { bestPresent } = await import('../inference/choose-set.ts')
  const { startInference } = await import('../inference/inference.ts')
  const { loadManifest, resolveSet } = await import('../inference/manifest.ts')

  await refuseUnusableModelsDir(config)
  const samples = await readSamples(folder, annotations).catch((error: unknown) => {
    throw error instanceof BadFolder ? new CommandError(error.message) : error
  })
  // Before pictures are judged: that may take an hour.
  await openWritable(into)
  const name = wanted ?? config.MODEL_SET
  const manifest = await loadManifest()
  const set = name === undefined ? await bestPresent(manifest, config.MODELS_DIR) : resolveSet(manifest, name)
  const threads = availableParallelism()
  const inference = await startInference({
    set,
    modelsDir: config.MODELS_DIR,
    spoofThreshold: config.SPOOF_THRESHOLD,
    threads,
  })
  const bar = new SingleBar({ format: 'pictures [{bar}] {value} of {total}, {eta_formatted} left', noTTYOutput: true })
  bar.start(samples.length, 0)
  const judged = await judgeAll(inference, folder, samples, threads, (done) => bar.update(done)).finally(async () => {
    bar.stop()
    await inference.close()
  })
  const report = reportOf(judged, inference.set, config.SPOOF_THRESHOLD)
  const { det, histogram } = chartsOf(report, judged)
  await writeFile(join(into, 'det.svg'), det)
  await writeFile(join(into, 'histogram.svg'), histogram)
  await writeFile(join(into, 'evaluation.json'), `${JSON.stringify({ ...report, judged }, null, 1)}\n`)
  if (json) return printJson(report)
  printReport(report)
  print(`Curves, histograms and every picture's figures: ${resolve(into)}`)
}

function printReport(report: Report): void {
  const { set, threshold, pictures } = report
  print(
    `${pictures} pictures, model set ${set.name} ${set.version}, threshold ${threshold}; 95 % intervals in brackets`,
  )
  printFrame('Whole frames (room for 1.6 faces and more)', report.frames.whole)
  printOperatingPoints(report.frames.whole, threshold)
  printFrame('Tight crops and close portraits', report.frames.tight)
  printWithoutVerdict(report.withoutVerdict)
}

function printFrame(title: string, frame: FrameReport): void {
  const { pooled, valid, attacks, worstAttack, sources, overSources } = frame
  if (pooled.live + pooled.spoof === 0) return
  print()
  print(`${title}: ${pooled.live} live, ${pooled.spoof} attacks`)
  printTable(
    ['SOURCE', 'LIVE', 'ATTACKS', 'AUC', '', 'APCER', '', 'BPCER', ''],
    [
      ...sources.map((one) => [
        one.source,
        String(one.live),
        String(one.spoof),
        ...area(one.auc, one.aucInterval),
        ...rate(one.apcer),
        ...rate(one.bpcer),
      ]),
      [
        'mean over sources',
        '',
        '',
        ...area(overSources.auc.mean, overSources.auc.interval),
        ...shares(overSources.apcer.mean, overSources.apcer.interval),
        ...shares(overSources.bpcer.mean, overSources.bpcer.interval),
      ],
      ...[['all pictures', pooled] as const, ['valid faces only', valid] as const].map(([name, figures]) => [
        name,
        String(figures.live),
        String(figures.spoof),
        ...area(figures.auc, figures.aucInterval),
        ...rate(figures.apcer),
        ...rate(figures.bpcer),
      ]),
    ],
  )
  print()
  printTable(
    ['ATTACK', 'PICTURES', 'APCER', ''],
    Object.entries(attacks).map(([kind, one]) => [
      `${kind}${kind === worstAttack ? ' (worst)' : ''}`,
      String(one.of),
      ...rate(one),
    ]),
  )
  const { live, spoof } = pooled.nonResponse
  if (live.errors + spoof.errors === 0) return
  print(`Without a verdict: ${live.errors} of these ${live.of} live, ${spoof.errors} of these ${spoof.of} attacks`)
}

/** More names of pictures than this stand in evaluation.json only. */
const NAMED = 5

function printWithoutVerdict({ live, spoof, reasons }: Report['withoutVerdict']): void {
  print()
  print(
    `Without a verdict, of all pictures: ${live.errors} of ${live.of} live, ${spoof.errors} of ${spoof.of} attacks` +
      '; in no rate',
  )
  if (reasons.length === 0) return
  printTable(
    ['REASON', 'LIVE', 'ATTACKS', 'PICTURES'],
    reasons.map((one) => [one.reason, one.live, one.spoof, named(one.paths)]),
  )
}

const named = (paths: readonly string[]): string =>
  paths.slice(0, NAMED).join(', ') + (paths.length > NAMED ? ` and ${paths.length - NAMED} more` : '')

/** How the error rates trade against each other, for whoever chooses SPOOF_THRESHOLD. */
function printOperatingPoints({ operatingPoints, pooled }: FrameReport, threshold: number): void {
  if (pooled.live + pooled.spoof === 0) return
  const remark = (at: number) => [
    ...(Math.abs(at - threshold) < 1e-6 ? ['set'] : []),
    ...(at === pooled.equalErrorThreshold ? ['both meet'] : []),
  ]
  print()
  printTable(
    ['THRESHOLD', '', 'APCER', '', 'BPCER', ''],
    operatingPoints.map((one) => [
      one.threshold,
      remark(one.threshold).join(', '),
      ...rate(one.apcer),
      ...rate(one.bpcer),
    ]),
  )
}

const area = (value: number | null, interval: Interval | null): [string, string] => [
  value === null ? '-' : value.toFixed(4),
  interval === null ? '' : `[${interval.map((end) => end.toFixed(3)).join(', ')}]`,
]

const shares = (value: number | null, interval: Interval | null): [string, string] => [
  value === null ? '-' : `${(value * 100).toFixed(1)} %`,
  interval === null ? '' : `[${interval.map((end) => (end * 100).toFixed(1)).join(', ')}]`,
]

const rate = ({ rate: share, interval }: Rate): [string, string] => shares(share, interval)
