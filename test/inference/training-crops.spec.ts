/** The classifier is trained on crops cut by Python (models/training/crops.py): the product's must be the same. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { cropFace } from '../../src/inference/crop.ts'
import type { CropRule } from '../../src/inference/manifest.ts'

interface Golden {
  width: number
  height: number
  inputs: Record<string, CropRule & { size: number }>
  cases: { box: [number, number, number, number]; values: Record<string, number[]> }[]
}

const golden: Golden = JSON.parse(readFileSync(new URL('training-crops.json', import.meta.url), 'utf8'))
const { width, height } = golden
const data = Uint8Array.from(
  Array.from({ length: width * height }, (_, i) => [i % width, Math.floor(i / width)] as const).flatMap(([x, y]) => [
    (x * 7 + y * 3) % 256,
    (x * y) % 251,
    (x * x + 5 * y) % 256,
  ]),
)

const cases = golden.cases.flatMap(({ box, values }) =>
  Object.keys(golden.inputs).map((name) => ({ name, box, values })),
)

test.each(cases)('$name of a face at $box is what the training saw', ({ name, box, values }) => {
  const rule = golden.inputs[name] as CropRule & { size: number }
  const [x, y, w, h] = box
  const ours = cropFace({ width, height, data }, { x, y, width: w, height: h }, rule, rule.size).data
  const theirs = values[name] as number[]
  expect(theirs).toHaveLength(Math.ceil(ours.length / 97))
  const differences = theirs.map((value, i) => Math.abs(value - (ours[i * 97] as number)))
  // OpenCV interpolates in fixed point.
  expect(Math.max(...differences)).toBeLessThanOrEqual(1)
})
