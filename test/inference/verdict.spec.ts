import { expect, test } from 'vitest'
import { loadManifest, type Validity } from '../../src/inference/manifest.ts'
import { complaints, measureQuality, type Quality } from '../../src/inference/quality.ts'
import { type Findings, MOST_FACES, verdict } from '../../src/inference/verdict.ts'

const limits: Validity = {
  minFaceSide: 50,
  minMargin: 0.05,
  minScene: 1.6,
  minBrightness: 40,
  maxBrightness: 210,
  minSharpness: 25,
  maxRoll: 40,
}
const good: Quality = { side: 100, margin: 0.5, scene: 2, brightness: 120.126, sharpness: 300, roll: 20 }
const face = (x: number, y: number, width: number, height: number) => ({ score: 0.9, box: { x, y, width, height } })
const found: Findings = {
  picture: { width: 640, height: 480 },
  faces: [face(10.4, 20.6, 100.2, 100.2)],
  likelihoodMillionths: 100,
  quality: good,
  latencyMs: 41.6,
}

test('a good face is valid, and every number of the verdict is an integer', () => {
  expect(verdict(found, 0.15, limits)).toEqual({
    isFakeFace: false,
    likelihoodMillionths: 100,
    isValidFace: true,
    brightnessHundredths: 12013,
    face: { x: 10, y: 21, width: 101, height: 100 },
    faces: [{ x: 10, y: 21, width: 101, height: 100 }],
    msg: '',
    latencyMs: 42,
  })
})

test('fake is what exceeds the threshold, not what meets it', () => {
  const at = (likelihoodMillionths: number, threshold: number) =>
    verdict({ ...found, likelihoodMillionths }, threshold, limits).isFakeFace
  expect(at(150_000, 0.15)).toBe(false)
  expect(at(150_001, 0.15)).toBe(true)
  expect(at(150_001, 0.5)).toBe(false)
  expect(at(290_000, 0.29)).toBe(false) // 0.29 × 10⁶ is 290000.00000000006 only without rounding
})

test.each([
  [{ roll: 41 }, 'The face is not upright: send the picture the right way up.'],
  [{ roll: -41 }, 'The face is not upright: send the picture the right way up.'],
  [{ roll: 180 }, 'The face is not upright: send the picture the right way up.'],
  [{ side: 49 }, 'The face is too small: come closer, or send a larger picture.'],
  [
    { margin: 0.04 },
    'The face is cut off by the edge of the picture or too close to it: put the whole face into the middle.',
  ],
  [{ scene: 1.59 }, 'The face is too close: leave more of the scene around it.'],
  [{ brightness: 39 }, 'The face is too dark: turn it towards a light.'],
  [{ brightness: 211 }, 'The face is too bright: keep strong light off it.'],
  [{ sharpness: 24 }, 'The face is not sharp enough: hold the camera still and focus on the face.'],
])('a face with %o is not valid and the message says why', (change, sentence) => {
  const quality = { ...good, ...change }
  expect(complaints(quality, limits)).toEqual([sentence])
  expect(verdict({ ...found, quality }, 0.15, limits)).toMatchObject({ isValidFace: false, msg: sentence })
})

test('several faces are said, and do not make the largest one invalid', () => {
  const several = verdict({ ...found, faces: [face(0, 0, 90, 90), face(200, 200, 50, 50)] }, 0.15, limits)
  expect(several).toMatchObject({ isValidFace: true, msg: '2 faces were detected; the largest one was judged.' })
  expect(several.faces).toHaveLength(2)
})

test('where as many faces are found as a detector tells, there may be more', async () => {
  const crowd = (length: number) =>
    verdict(
      { ...found, faces: [face(0, 0, 90, 90), ...Array.from({ length: length - 1 }, () => face(9, 9, 9, 9))] },
      1,
      limits,
    )
  expect(crowd(63).msg).toBe('63 faces were detected; the largest one was judged.')
  expect(crowd(64).msg).toBe('64 or more faces were detected; the largest one was judged.')
  expect(crowd(64).faces).toHaveLength(64)
  const { detectors } = await loadManifest()
  for (const { maxFaces } of Object.values(detectors)) expect(maxFaces).toBe(MOST_FACES)
})

test('rectangles lie inside the picture, however far the detected box reaches out', () => {
  const { faces } = verdict(
    { ...found, faces: [face(-30, -30, 900, 900), face(639.8, 479.8, 0.1, 0.1), face(-50, 10, 20, 20)] },
    0.15,
    limits,
  )
  expect(faces[0]).toEqual({ x: 0, y: 0, width: 640, height: 480 })
  for (const { x, y, width, height } of faces) {
    expect(x >= 0 && y >= 0 && width >= 1 && height >= 1 && x + width <= 640 && y + height <= 480).toBe(true)
  }
})

test('brightness is the mean BT.601 luma of the face, its surroundings not counted', () => {
  const [width, height] = [100, 100]
  const data = new Uint8Array(width * height * 3)
  for (let y = 20; y < 60; y++) for (let x = 30; x < 70; x++) data.set([200, 100, 50], (y * width + x) * 3)
  const quality = measureQuality({ width, height, data }, { x: 30, y: 20, width: 40, height: 40 }, 3)
  expect(quality.brightness).toBeCloseTo(0.299 * 200 + 0.587 * 100 + 0.114 * 50, 9)
  expect(quality).toMatchObject({ side: 40, margin: 0.5, sharpness: 0, roll: 3 })
  expect(quality.scene).toBeCloseTo(99 / 40, 9)
})

test('the margin is that of the nearest edge, negative for a face that reaches out of the picture', () => {
  const picture = { width: 100, height: 100, data: new Uint8Array(30_000) }
  expect(measureQuality(picture, { x: -20, y: 30, width: 40, height: 40 }, 0).margin).toBe(-0.5)
  expect(measureQuality(picture, { x: 30, y: 30, width: 60, height: 40 }, 0).margin).toBeCloseTo(1 / 6, 9)
})
