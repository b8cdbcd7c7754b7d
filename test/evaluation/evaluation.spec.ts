import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import sharp from 'sharp'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addEvaluateCommand } from '../../src/cli/evaluate.ts'
import { detChart, histogramChart, sharesByBin } from '../../src/evaluation/charts.ts'
import { chartsOf } from '../../src/evaluation/charts-of.ts'
import { BadFolder, readSamples } from '../../src/evaluation/folder.ts'
import { type Judged, judgeAll } from '../../src/evaluation/judge.ts'
import { reportOf } from '../../src/evaluation/report.ts'
import { rateOf } from '../../src/evaluation/statistics.ts'
import { InvalidImage } from '../../src/inference/image-format.ts'
import type { Inference } from '../../src/inference/inference.ts'
import { commandsHere } from '../support/here.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evaluation-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function put(path: string, content: string | Buffer = 'x'): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), content)
}

test('label, source and attack come from the folders, below groups too; other files are left alone', async () => {
  await put('live/anna/1.jpg')
  await put('val/spoof/room/2.JPEG')
  await put('val/spoof/room/mask/3.png')
  await put('val/live/4.jpg')
  await put('notes.txt')
  await put('elsewhere/5.jpg')
  expect(await readSamples(folder)).toEqual([
    { path: 'live/anna/1.jpg', label: 'live', source: 'anna', attack: null, frame: null },
    { path: 'val/live/4.jpg', label: 'live', source: 'unnamed', attack: null, frame: null },
    { path: 'val/spoof/room/2.JPEG', label: 'spoof', source: 'room', attack: 'unstated', frame: null },
    { path: 'val/spoof/room/mask/3.png', label: 'spoof', source: 'room', attack: 'mask', frame: null },
  ])
})

test('an annotations file tells attack and frame, beside the pictures or named', async () => {
  await put('spoof/room/1.jpg')
  await put('live/room/2.jpg')
  await put('annotations.json', JSON.stringify({ 'spoof/room/1.jpg': { attack: 'print', frame: 'full' } }))
  expect(await readSamples(folder)).toMatchObject([
    { path: 'live/room/2.jpg', frame: null },
    { path: 'spoof/room/1.jpg', attack: 'print', frame: 'whole' },
  ])
  const told = { 'live/room/2.jpg': { attack: null, frame: 'crop', person: 'p' } }
  await put('other.json', JSON.stringify(told))
  expect((await readSamples(folder, join(folder, 'other.json')))[0]).toMatchObject({ frame: 'tight' })
  // Paths are told from the annotations' own folder.
  await put('above.json', JSON.stringify({ 'spoof/room/1.jpg': { attack: 'screen' } }))
  expect(await readSamples(join(folder, 'spoof', '..'), join(folder, 'above.json'))).toHaveLength(2)
})

test.each([
  ['that does not exist', async () => join(folder, 'none'), /There is no folder .*none\./],
  [
    'that is a file',
    async () => {
      await put('file.jpg')
      return join(folder, 'file.jpg')
    },
    /is a file\. Name a folder/,
  ],
  ['that is empty', async () => folder, /holds no JPEG or PNG files\. Lay the pictures out as live\/SOURCE/],
  [
    'without labels',
    async () => {
      await put('photos/1.jpg')
      return folder
    },
    /has neither a folder live\/ nor a folder spoof\//,
  ],
  [
    'with annotations that are none',
    async () => {
      await put('live/a/1.jpg')
      await put('annotations.json', '[1')
      return folder
    },
    /annotations .* are not a JSON object/,
  ],
])('a folder %s is refused in a sentence', async (_, make, sentence) => {
  const error = await readSamples(await make()).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(BadFolder)
  expect((error as Error).message).toMatch(sentence)
})

const nothing = { refused: null, isValid: true, msg: '', scores: {}, face: null, quality: null, latencyMs: 1 } as const
const judged = (
  source: string,
  label: Judged['label'],
  likelihoods: number[],
  attack: string | null = null,
  frame: Judged['frame'] = 'whole',
): Judged[] =>
  likelihoods.map((likelihood, i) => ({
    ...nothing,
    path: `${label}/${source}/${i}.jpg`,
    source,
    label,
    attack,
    frame,
    likelihood,
    isFake: likelihood > 0.15,
  }))
const noFace: Judged = {
  ...(judged('a', 'live', [0])[0] as Judged),
  refused: 'No face was detected',
  likelihood: null,
  isFake: null,
  isValid: null,
}

test('rates by source, by attack and as the mean over sources, whole frames apart from tight crops', () => {
  const report = reportOf(
    [
      ...judged('a', 'live', [0, 0, 0, 0, 0.2]),
      noFace,
      ...judged('a', 'spoof', [0.9, 0.9, 0.9, 0.1], 'print'),
      ...judged('a', 'spoof', [1], 'mask'),
      ...judged('b', 'live', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      ...judged('b', 'spoof', [0, 1, 1, 1, 1], 'screen'),
      ...judged('few', 'live', [0.9]),
      ...judged('tight', 'live', [0.9], null, 'tight'),
    ],
    { name: 's', version: '1' },
    0.15,
  )
  const { whole, tight } = report.frames
  expect(whole.pooled).toMatchObject({
    live: 17,
    spoof: 10,
    apcer: { errors: 2, of: 10 },
    bpcer: { errors: 2, of: 16 },
    nonResponse: { live: { errors: 1, of: 17 }, spoof: { errors: 0, of: 10 } },
  })
  expect(whole.valid.live).toBe(16)
  // Live: 14 at 0, 0.2 and 0.9. Attacks: 0, 0.1, three at 0.9, five at 1. At 0.1 two of each err, 2/10 and 2/16.
  const points = whole.operatingPoints.map(({ threshold, apcer, bpcer }) => [threshold, apcer.errors, bpcer.errors])
  expect(points).toEqual([
    [0, 1, 2],
    [0.01, 1, 2],
    [0.02, 1, 2],
    [0.05, 1, 2],
    [0.1, 2, 2],
    [0.15, 2, 2],
    [0.2, 2, 1],
    [0.3, 2, 1],
  ])
  expect(whole.pooled).toMatchObject({ equalErrorThreshold: 0, equalErrorRate: (1 / 10 + 2 / 16) / 2 })
  expect(tight.operatingPoints).toContainEqual({ threshold: 0.15, apcer: rateOf(0, 0), bpcer: rateOf(1, 1) })
  expect(Object.entries(whole.attacks).map(([kind, { rate }]) => [kind, rate])).toEqual([
    ['mask', 0],
    ['print', 0.25],
    ['screen', 0.2],
  ])
  expect(whole.worstAttack).toBe('print')
  const [a, b] = whole.sources
  // Pairs of source a: 0.9, 0.9, 0.9 and 1 beat all five; 0.1 beats four of them: 24 of 25. Source b: (4 · 10 + 5) / 50.
  expect(a).toMatchObject({ source: 'a', auc: 0.96, apcer: { rate: 0.2 }, bpcer: { rate: 0.2 } })
  expect(b).toMatchObject({ source: 'b', auc: 0.9, attacks: { screen: { errors: 1, of: 5 } } })
  // The source with a single picture is in none of the means.
  expect(whole.overSources.auc.mean).toBeCloseTo(0.93, 12)
  expect(whole.overSources.auc.sources).toBe(2)
  expect(whole.overSources.bpcer.mean).toBeCloseTo(0.1, 12)
  expect(tight.pooled).toMatchObject({ live: 1, spoof: 0, auc: null, bpcer: { errors: 1, of: 1 } })
})

test('pictures without a verdict are told once, over all, by reason and name; without a frame they are in neither', () => {
  const broken = { ...noFace, frame: null, refused: 'The image is not a JPEG file' }
  const { withoutVerdict, frames } = reportOf(
    [
      ...judged('a', 'live', [0, 0]),
      noFace,
      { ...broken, path: 'live/a/x.jpg' },
      { ...broken, path: 'spoof/a/y.jpg', label: 'spoof' },
    ],
    { name: 's', version: '1' },
    0.15,
  )
  expect(withoutVerdict).toEqual({
    live: rateOf(2, 4),
    spoof: rateOf(1, 1),
    reasons: [
      { reason: 'The image is not a JPEG file', live: 1, spoof: 1, paths: ['live/a/x.jpg', 'spoof/a/y.jpg'] },
      { reason: 'No face was detected', live: 1, spoof: 0, paths: ['live/a/0.jpg'] },
    ],
  })
  expect([frames.tight.pooled.live, frames.tight.pooled.spoof]).toEqual([0, 0])
  expect(frames.whole.pooled).toMatchObject({ live: 3, spoof: 0, nonResponse: { live: { errors: 1, of: 3 } } })
})

test('every picture goes through the check once, in order, and a refusal is a figure and no failure', async () => {
  const jpeg = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#888' } })
    .jpeg()
    .toBuffer()
  for (const name of ['1', '2', '3']) await put(`live/a/${name}.jpg`, jpeg)
  await put('spoof/a/4.jpg', 'not a picture')
  await symlink(join(folder, 'none'), join(folder, 'spoof/a/5.jpg'))
  await symlink(folder, join(folder, 'spoof/a/6.jpg'))
  await put('annotations.json', JSON.stringify({ 'spoof/a/6.jpg': { frame: 'full' } }))
  const face = { box: { x: 1, y: 2, width: 3, height: 4 }, score: 1 }
  const quality = { side: 3, margin: 0.1, scene: 2, brightness: 100, sharpness: 100 }
  let calls = 0
  const check: Inference['check'] = async (bytes) => {
    const call = ++calls
    if (bytes.length !== jpeg.length) throw new InvalidImage('The image is not a JPEG file')
    return {
      verdict: { isFakeFace: false, likelihoodMillionths: call, isValidFace: true, msg: '', latencyMs: 5 },
      diagnostics: { faces: [face], quality, rawScores: { one: 0.5 } },
    } as unknown as Awaited<ReturnType<Inference['check']>>
  }
  const steps: number[] = []
  const results = await judgeAll({ check }, folder, await readSamples(folder), 2, (done) => steps.push(done))
  expect(results.map(({ path, refused, frame }) => [path, refused, frame])).toEqual([
    ['live/a/1.jpg', null, 'whole'],
    ['live/a/2.jpg', null, 'whole'],
    ['live/a/3.jpg', null, 'whole'],
    ['spoof/a/4.jpg', 'The image is not a JPEG file', null],
    ['spoof/a/5.jpg', 'The file cannot be read: it is gone, or its link leads nowhere', null],
    ['spoof/a/6.jpg', 'The file cannot be read: its link leads to a folder', 'whole'],
  ])
  expect([calls, steps]).toEqual([4, [1, 2, 3, 4, 5, 6]])
})

test('another failure than a refused picture ends the evaluation', async () => {
  await put('live/a/1.jpg')
  const check = () => Promise.reject(new Error('out of memory'))
  await expect(judgeAll({ check }, folder, await readSamples(folder), 1, () => {})).rejects.toThrow('out of memory')
})

test('results that cannot be written are refused before a picture is judged', async () => {
  await put('pictures/live/a/1.jpg')
  await put('file')
  const [pictures, file] = [join(folder, 'pictures'), join(folder, 'file')]
  const here = commandsHere(addEvaluateCommand)
  // No set of this name: the models are not even looked for.
  const into = (path: string) => here({}, 'evaluate', pictures, '--set', 'none', '--into', path)
  expect(await into(file)).toEqual({
    printed: '',
    failure: `Nothing can be written into ${file}: it is a file. Name another folder with --into.`,
  })
  expect((await into(join(file, 'below'))).failure).toContain('it lies below a file.')
})

test('charts are well-formed pictures with a legend, names in them are escaped', async () => {
  const all = [...judged('a', 'live', [0, 0.1, 0.2]), ...judged('a', 'spoof', [0.1, 0.9, 1], 'print <A4> & more')]
  const { det, histogram } = chartsOf(reportOf(all, { name: 'own', version: '1.0.0' }, 0.15), all)
  for (const chart of [det, histogram, detChart('empty', [], 0.15), histogramChart('empty', [], 0.15)]) {
    const { width = 0, format } = await sharp(Buffer.from(chart)).metadata()
    expect(format).toBe('svg')
    expect(width).toBeGreaterThan(500)
    await sharp(Buffer.from(chart)).png().toBuffer()
  }
  expect(det).toContain('whole frames')
  expect(det).toContain('dots: at the threshold 0.15')
  expect(histogram).toContain('3 live above, 3 attacks below')
})

test('histogram bins: 0 in the first, 1 in the last, shares of the whole', () => {
  const shares = sharesByBin([0, 0.01, 0.5, 1])
  expect([shares[0], shares[12], shares.at(-1)]).toEqual([0.5, 0.25, 0.25])
  expect(sharesByBin([]).every((share) => share === 0)).toBe(true)
})
