import { expect, test } from 'vitest'
import { cropFace, resample, shiftedWindow, squareWindow } from '../../src/inference/crop.ts'
import type { Pixels } from '../../src/inference/pixels.ts'

/** A picture whose red is the column, green the row. */
function coordinates(width: number, height: number): Pixels {
  const data = Uint8Array.from(
    Array.from({ length: width * height }, (_, i) => [i % width, Math.floor(i / width), 0]).flat(),
  )
  return { width, height, data }
}

const reds = (picture: Pixels, row = 0) =>
  Array.from({ length: picture.width }, (_, x) => picture.data[(row * picture.width + x) * 3])

test('a face with room around it gets the whole factor', () => {
  const window = shiftedWindow({ width: 1000, height: 1000 }, { x: 400, y: 400, width: 100, height: 120 }, 2.7)
  expect(window).toEqual({ left: 315, top: 298, width: 271, height: 325 })
})

test('the factor shrinks until the window fits, and the face keeps its aspect', () => {
  const window = shiftedWindow({ width: 481, height: 641 }, { x: 140, y: 200, width: 200, height: 300 }, 4)
  // (641 − 1) / 300 = 2.133 is the limit: 426.7 × 640.
  expect(window).toEqual({ left: 26, top: 0, width: 428, height: 641 })
})

test.each([
  ['left', { x: 0, y: 400, width: 100, height: 100 }, { left: 0, top: 315 }],
  ['top', { x: 400, y: 0, width: 100, height: 100 }, { left: 315, top: 0 }],
  ['right', { x: 900, y: 400, width: 100, height: 100 }, { left: 729, top: 315 }],
  ['bottom', { x: 400, y: 900, width: 100, height: 100 }, { left: 315, top: 729 }],
])('a window that sticks out on the %s is moved inside, not cut', (_, face, corner) => {
  expect(shiftedWindow({ width: 1000, height: 1000 }, face, 2.7)).toEqual({ ...corner, width: 271, height: 271 })
})

test('a face larger than the picture stays inside it', () => {
  const window = shiftedWindow({ width: 50, height: 40 }, { x: -20, y: -20, width: 100, height: 100 }, 2.7)
  expect(window.left).toBeGreaterThanOrEqual(0)
  expect(window.top).toBeGreaterThanOrEqual(0)
  expect(window.left + window.width).toBeLessThanOrEqual(50)
  expect(window.top + window.height).toBeLessThanOrEqual(40)
})

test('the square window takes the longer side and may reach outside', () => {
  expect(squareWindow({ x: 10, y: 10, width: 100, height: 200 }, 1.5)).toEqual({
    left: -90,
    top: -40,
    width: 300,
    height: 300,
  })
})

test('scaling is bilinear with pixel centres at one half, edges held, and not antialiased', () => {
  const picture = coordinates(8, 8)
  const whole = { left: 0, top: 0, width: 8, height: 8 }
  expect(reds(resample(picture, whole, 8, 1))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  // To 4: centres 0.5, 2.5 …, rounded half up. To 16: centres −0.25 (held at 0), 0.25, 0.75 …
  expect(reds(resample(picture, whole, 4, 1))).toEqual([1, 3, 5, 7])
  expect(reds(resample(picture, whole, 16, 1)).slice(0, 6)).toEqual([0, 0, 1, 1, 2, 2])
  const stripes = { ...picture, data: picture.data.map((_, i) => (Math.floor(i / 3) % 2 ? 255 : 0)) }
  expect(reds(resample(stripes, { ...whole, width: 6, height: 6 }, 2, 1))).toEqual([255, 0]) // columns 1 and 4
})

test('averaging takes every pixel into account', () => {
  const picture = coordinates(8, 8)
  const stripes = { ...picture, data: picture.data.map((_, i) => (Math.floor(i / 3) % 2 ? 255 : 0)) }
  for (const value of reds(resample(stripes, { left: 0, top: 0, width: 8, height: 8 }, 2, 8))) expect(value).toBe(128)
})

test('beyond the edge the picture is mirrored about its outermost pixel', () => {
  const window = { left: -3, top: 0, width: 8, height: 8 }
  expect(reds(resample(coordinates(8, 8), window, 8, 1))).toEqual([3, 2, 1, 0, 1, 2, 3, 4])
  expect(reds(resample(coordinates(3, 3), { left: -3, top: 0, width: 9, height: 9 }, 9, 1))).toEqual([
    1, 2, 1, 0, 1, 2, 1, 0, 1,
  ])
})

test('one-pixel and one-column pictures can be cropped', () => {
  for (const [width, height] of [
    [1, 1],
    [1, 9],
    [9, 1],
  ] as const) {
    for (const rule of ['shifted-window', 'mirrored-square'] as const) {
      const face = { x: 0, y: 0, width, height }
      const crop = cropFace(coordinates(width, height), face, { rule, factor: 2, resample: 'area' }, 4)
      expect(crop.data).toHaveLength(48)
    }
  }
})
