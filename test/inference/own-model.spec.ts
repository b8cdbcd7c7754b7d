/** The classifier trained here: the file, its manifest entry, its figures and its model card belong together. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { InferenceSession } from 'onnxruntime-node'
import { expect, test } from 'vitest'
import { loadManifest } from '../../src/inference/manifest.ts'
import { createClassifier } from '../../src/inference/spoof.ts'

const at = (path: string) => new URL(`../../${path}`, import.meta.url)
const model = (await loadManifest()).models.own_liveness
if (model?.kind !== 'classifier') throw new Error('The manifest lacks the classifier own_liveness')
const weights = readFileSync(at(`models/${model.file}`))

test('the weights are those of the manifest', () => {
  expect(createHash('sha256').update(weights).digest('hex')).toBe(model.sha256)
  expect(weights.length).toBe(model.bytes)
})

test('the graph takes the inputs and gives the output that the manifest names', async () => {
  const session = await InferenceSession.create(weights)
  expect(session.inputNames).toEqual(model.inputs.map(({ name }) => name))
  expect(session.outputNames).toEqual([model.output])
})

test('a verdict depends on the picture', async () => {
  const judge = await createClassifier(weights, model)
  const picture = (value: (i: number) => number) => ({
    width: 200,
    height: 150,
    data: Uint8Array.from({ length: 200 * 150 * 3 }, (_, i) => value(i)),
  })
  const face = { x: 70, y: 40, width: 50, height: 60 }
  const values: Array<(i: number) => number> = [
    () => 0,
    () => 128,
    () => 255,
    (i) => i % 200,
    (i) => (i * i * 7) % 251,
    // Skin, and a green wall.
    (i) => [220, 170, 140][i % 3] ?? 0,
    (i) => [40, 120, 60][i % 3] ?? 0,
  ]
  const logits: number[] = []
  for (const value of values) logits.push(await judge(picture(value), face))
  expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(0.5)
})

test('the model card shows the figures that lie beside the training, at the operating point of the set', async () => {
  const figures = JSON.parse(readFileSync(at('models/training/figures.json'), 'utf8'))
  const card = readFileSync(at('models/README.md'), 'utf8')
  const { whole } = figures.heldOut.blazeface
  expect(card).toContain(`${whole.sources} sources: mean AUC | ${whole.auc.toFixed(3)} (`)
  for (const { auc } of Object.values<{ auc: number }>(figures.seeds)) expect(card).toContain(auc.toFixed(4))
  const own = (await loadManifest()).sets.own
  if (own) expect(own.calibration[1]).toEqual([figures.threshold.probability, 0.15])
})
