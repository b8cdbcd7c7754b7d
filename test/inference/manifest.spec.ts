import { expect, test } from 'vitest'
import { loadManifest, ManifestError, modelsOf, parseManifest, resolveSet } from '../../src/inference/manifest.ts'

const manifest = await loadManifest()

test('the shipped manifest is valid and every set in it can be resolved', () => {
  for (const name of Object.keys(manifest.sets)) expect(modelsOf(resolveSet(manifest, name)).length).toBeGreaterThan(1)
})

test('every model has a download address at its named commit, or says why there is none', () => {
  for (const model of Object.values(manifest.models)) {
    const { commit, path } = model.upstream
    if (model.url === undefined) expect(model.conversion).toBeTruthy()
    else expect(model.url.endsWith(`/${commit}/${path}`)).toBe(true)
  }
})

test('an unknown set is refused with the names that exist', () => {
  expect(() => resolveSet(manifest, 'nonesuch')).toThrow(ManifestError)
  expect(() => resolveSet(manifest, 'nonesuch')).toThrow(/"nonesuch".*ensemble/)
})

test('a set that names a missing model, or one of the wrong kind, is refused', () => {
  const ensemble = structuredClone(manifest)
  const set = ensemble.sets.ensemble
  if (!set) throw new Error('no ensemble')
  set.classifiers.push('face_detection_yunet')
  expect(() => resolveSet(ensemble, 'ensemble')).toThrow(/names the classifier "face_detection_yunet"/)
  set.detector.model = 'minifas_se_128'
  expect(() => resolveSet(ensemble, 'ensemble')).toThrow(/names the detector "minifas_se_128"/)
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
