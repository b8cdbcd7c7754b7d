import { expect, test } from 'vitest'
import {
  loadManifest,
  ManifestError,
  modelsOf,
  parseManifest,
  resolveDetector,
  resolveSet,
} from '../../src/inference/manifest.ts'
import { inspectWeights } from '../../src/inference/weights.ts'

const manifest = await loadManifest()

test('the shipped manifest is valid and every set in it can be resolved', () => {
  for (const name of Object.keys(manifest.sets)) expect(modelsOf(resolveSet(manifest, name)).length).toBeGreaterThan(1)
})

test('every model is here, or has a download address at its named commit, or says why there is none', async () => {
  for (const model of Object.values(manifest.models)) {
    const { upstream } = model
    if (!('repository' in upstream)) expect(await inspectWeights(model)).toMatchObject({ state: 'present' })
    else if (model.url === undefined) expect(model.conversion).toBeTruthy()
    else expect(model.url.endsWith(`/${upstream.commit}/${upstream.path}`)).toBe(true)
  }
})

test('an unknown set is refused with the names that exist', () => {
  expect(() => resolveSet(manifest, 'nonesuch')).toThrow(ManifestError)
  expect(() => resolveSet(manifest, 'nonesuch')).toThrow(/"nonesuch".*ensemble/)
})

test('a set that names a missing model, or one of the wrong kind, is refused', () => {
  const changed = structuredClone(manifest)
  const { ensemble } = changed.sets
  const { yunet, blazeface } = changed.detectors
  if (!ensemble || yunet?.kind !== 'yunet' || blazeface?.kind !== 'blazeface') throw new Error('not as expected')
  ensemble.classifiers.face_detection_yunet = 1
  expect(() => resolveSet(changed, 'ensemble')).toThrow(/names the classifier model "face_detection_yunet"/)
  yunet.model = 'minifas_se_128'
  expect(() => resolveSet(changed, 'ensemble')).toThrow(/"yunet" names the yunet model "minifas_se_128"/)
  blazeface.back = 'none'
  expect(() => resolveDetector(changed, 'blazeface')).toThrow(/"blazeface" names the blazeface model "none"/)
  ensemble.detector = 'nonesuch'
  expect(() => resolveSet(changed, 'ensemble')).toThrow(/Set "ensemble" names the detector "nonesuch"/)
})

test.each([
  [
    [
      [0, 0],
      [0.5, 0.6],
      [0.4, 0.7],
      [1, 1],
    ],
  ],
  [
    [
      [0, 0],
      [0.5, 0.6],
      [0.6, 0.5],
      [1, 1],
    ],
  ],
  [
    [
      [0, 0.1],
      [1, 1],
    ],
  ],
  [
    [
      [0, 0],
      [1, 0.9],
    ],
  ],
])('a calibration that does not rise from (0, 0) to (1, 1) is refused: %j', (calibration) => {
  const { ensemble } = manifest.sets
  expect(() => parseManifest({ ...manifest, sets: { bad: { ...ensemble, calibration } } })).toThrow(/must rise/)
})
