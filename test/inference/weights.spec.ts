import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startInference } from '../../src/inference/inference.ts'
import {
  loadManifest,
  modelsOf,
  type ResolvedSet,
  resolveSet,
  type YunetDetector,
} from '../../src/inference/manifest.ts'
import {
  inspectWeights,
  loadWeights,
  packagedModels,
  sha256Of,
  WeightsCorrupt,
  WeightsMissing,
  WeightsUnreadable,
} from '../../src/inference/weights.ts'
import { modelsDir, withoutWeights } from './support.ts'

const shipped = resolveSet(await loadManifest(), 'ensemble')
if (shipped.detector.kind !== 'yunet') throw new Error('these tests are written for YuNet')
const shippedDetector = shipped.detector
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weights-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** A set whose weights are the given texts, and exist nowhere but where the test puts them. */
function setOf(detector: string, classifier: string): ResolvedSet & { detector: YunetDetector } {
  const weights = (name: string, text: string) => ({
    file: `test-only-${name}.onnx`,
    sha256: sha256Of(Buffer.from(text)),
  })
  const [first] = shipped.classifiers
  if (!first) throw new Error('no classifier')
  const detectorModel = { ...shippedDetector.model, ...weights('detector', detector) }
  const { url: _, ...withoutUrl } = { ...first.model, ...weights('classifier', classifier) }
  return {
    ...shipped,
    detector: { ...shippedDetector, model: detectorModel },
    classifiers: [{ name: 'c', model: { ...withoutUrl, conversion: 'Made by hand.' }, weight: 1 }],
  }
}

test('weights whose checksums are right are loaded', async () => {
  const set = setOf('one', 'two')
  for (const [i, { file }] of modelsOf(set).entries()) await writeFile(join(folder, file), ['one', 'two'][i] ?? '')
  const loaded = await loadWeights(set, folder)
  expect(Object.values(loaded).map((bytes) => Buffer.from(bytes).toString())).toEqual(['one', 'two'])
  const [detector] = modelsOf(set)
  expect(detector && (await inspectWeights(detector, folder))).toMatchObject({ state: 'present' })
})

test('a missing file is named, with the places looked at and the remedy', async () => {
  const set = setOf('one', 'two')
  const error = await loadWeights(set, folder).catch((reason: Error) => reason)
  expect(error).toBeInstanceOf(WeightsMissing)
  const { message } = error as Error
  for (const part of [
    'test-only-detector.onnx',
    folder,
    packagedModels,
    'liveness models download',
    `put it into ${folder}`,
  ]) {
    expect(message).toContain(part)
  }
  expect(await inspectWeights(set.detector.model, folder)).toEqual({ state: 'missing' })
})

test('of a missing file that cannot be downloaded the message says why and where it comes from', async () => {
  const set = setOf('one', 'two')
  await writeFile(join(folder, set.detector.model.file), 'one')
  await expect(loadWeights(set, folder)).rejects.toThrow(
    /test-only-classifier\.onnx.*cannot be downloaded.*Made by hand.*Source: https:.*put it into .*weights-/,
  )
})

test('a file with a wrong checksum is named with both sums', async () => {
  const set = setOf('one', 'two')
  await writeFile(join(folder, set.detector.model.file), 'onf')
  await writeFile(join(folder, set.classifiers[0]?.model.file ?? ''), 'two')
  const error = await loadWeights(set, folder).catch((reason: Error) => reason)
  expect(error).toBeInstanceOf(WeightsCorrupt)
  const { message } = error as Error
  for (const part of [
    join(folder, 'test-only-detector.onnx'),
    sha256Of(Buffer.from('onf')),
    sha256Of(Buffer.from('one')),
  ]) {
    expect(message).toContain(part)
  }
  expect(await inspectWeights(set.detector.model, folder)).toMatchObject({ state: 'corrupt' })
})

test('a file that cannot be read is named, with the reason and what to do', async () => {
  const set = setOf('one', 'two')
  await mkdir(join(folder, set.detector.model.file))
  const error = await loadWeights(set, folder).catch((reason: Error) => reason)
  expect(error).toBeInstanceOf(WeightsUnreadable)
  expect((error as Error).message).toMatch(/test-only-detector\.onnx cannot be read: it is a folder\. Make it readable/)
  expect(await inspectWeights(set.detector.model, folder)).toMatchObject({ state: 'unreadable' })
})

test.skipIf(withoutWeights)('inference does not start with a damaged weights file', async () => {
  // What ships with the repository is found without being copied.
  const elsewhere = modelsOf(shipped).filter(({ upstream }) => 'repository' in upstream)
  for (const { file } of elsewhere) await cp(join(modelsDir, file), join(folder, file))
  const damaged = join(folder, 'minifas_se_128.onnx')
  const bytes = await readFile(damaged)
  bytes[1000] = (bytes[1000] ?? 0) ^ 1
  await rm(damaged)
  await writeFile(damaged, bytes)
  await expect(startInference({ modelsDir: folder, set: shipped, spoofThreshold: 0.15 })).rejects.toBeInstanceOf(
    WeightsCorrupt,
  )
})
