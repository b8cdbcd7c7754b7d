import type { CropRule } from './manifest.ts'
import type { Pixels, Rect } from './pixels.ts'

/**
 * Integer pixel window of a picture: columns left … left + width − 1, rows top … top + height − 1. It may reach outside
 * the picture, where pixels are mirrored.
 */
export interface Window {
  left: number
  top: number
  width: number
  height: number
}

/** Cuts the neighbourhood of a face out of a picture and scales it to size × size, RGB interleaved, 0–255. */
export function cropFace(picture: Pixels, face: Rect, rule: CropRule, size: number): Pixels {
  const window =
    rule.rule === 'shifted-window' ? shiftedWindow(picture, face, rule.factor) : squareWindow(face, rule.factor)
  return resample(picture, window, size, rule.resample === 'area' ? AREA_TAPS : 1)
}

/**
 * The window of Silent-Face's models: `factor` times the face box, keeping its aspect. The factor shrinks until the
 * window fits into the picture; a window that sticks out on one side is moved inside. Edges are truncated and inclusive.
 */
export function shiftedWindow(picture: { width: number; height: number }, face: Rect, factor: number): Window {
  const maxX = picture.width - 1
  const maxY = picture.height - 1
  const scale = Math.min(maxY / face.height, maxX / face.width, factor)
  const [left, right] = moveInside(face.x + face.width / 2, face.width * scale, maxX)
  const [top, bottom] = moveInside(face.y + face.height / 2, face.height * scale, maxY)
  return { left, top, width: right - left + 1, height: bottom - top + 1 }
}

/** First and last pixel of a span, moved into 0 … max. */
function moveInside(centre: number, length: number, max: number): [number, number] {
  let first = centre - length / 2
  let last = centre + length / 2
  if (first < 0) {
    last -= first
    first = 0
  }
  if (last > max) {
    first -= last - max
    last = max
  }
  // Rounding errors may leave −1e−14, which truncation would turn into −0, and a face taller than the picture less than 0.
  return [Math.max(0, Math.trunc(first)), Math.min(max, Math.trunc(last))]
}

/** The window of MiniFAS-SE: a square of `factor` times the longer side of the face about its centre. */
export function squareWindow(face: Rect, factor: number): Window {
  const side = Math.max(1, Math.trunc(Math.max(face.width, face.height) * factor))
  return {
    left: Math.trunc(face.x + face.width / 2 - side / 2),
    top: Math.trunc(face.y + face.height / 2 - side / 2),
    width: side,
    height: side,
  }
}

/** Upper bound of samples per target pixel and direction when averaging; beyond it a crop of 1,000 pixels and more is sampled. */
const AREA_TAPS = 8

/**
 * Scales a window to size × size. With one tap this is OpenCV's INTER_LINEAR: pixel centres at .5, edges held, no
 * antialiasing, rounded to 8 bits. With more, a shrunk pixel is the mean of evenly spread bilinear samples.
 */
export function resample(picture: Pixels, window: Window, size: number, maxTaps: number): Pixels {
  const columns = taps(window.left, window.width, picture.width, size, maxTaps)
  const rows = taps(window.top, window.height, picture.height, size, maxTaps)
  const perPixel = columns.perPixel * rows.perPixel
  const out = new Uint8Array(size * size * 3)
  const stride = picture.width * 3
  const { data } = picture
  for (let y = 0, to = 0; y < size; y++) {
    for (let x = 0; x < size; x++, to += 3) {
      let [r, g, b] = [0, 0, 0]
      for (let j = y * rows.perPixel, endJ = j + rows.perPixel; j < endJ; j++) {
        const upper = (rows.first[j] as number) * stride
        const lower = (rows.second[j] as number) * stride
        const fy = rows.weight[j] as number
        for (let i = x * columns.perPixel, endI = i + columns.perPixel; i < endI; i++) {
          const fx = columns.weight[i] as number
          const left = (columns.first[i] as number) * 3
          const right = (columns.second[i] as number) * 3
          const [w00, w01, w10, w11] = [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]
          const [p00, p01, p10, p11] = [upper + left, upper + right, lower + left, lower + right]
          r += w00 * at(data, p00) + w01 * at(data, p01) + w10 * at(data, p10) + w11 * at(data, p11)
          g += w00 * at(data, p00 + 1) + w01 * at(data, p01 + 1) + w10 * at(data, p10 + 1) + w11 * at(data, p11 + 1)
          b += w00 * at(data, p00 + 2) + w01 * at(data, p01 + 2) + w10 * at(data, p10 + 2) + w11 * at(data, p11 + 2)
        }
      }
      out[to] = Math.round(r / perPixel)
      out[to + 1] = Math.round(g / perPixel)
      out[to + 2] = Math.round(b / perPixel)
    }
  }
  return { width: size, height: size, data: out }
}

const at = (data: Uint8Array, index: number): number => data[index] as number

/** Along one axis: for each sample the two neighbouring pixels of the picture and the second one's weight. */
function taps(start: number, length: number, limit: number, size: number, maxTaps: number) {
  const perPixel = Math.min(maxTaps, Math.max(1, Math.ceil(length / size)))
  const samples = size * perPixel
  const first = new Int32Array(samples)
  const second = new Int32Array(samples)
  const weight = new Float64Array(samples)
  for (let i = 0; i < samples; i++) {
    const position = Math.min(Math.max(((i + 0.5) * length) / samples - 0.5, 0), length - 1)
    const whole = Math.floor(position)
    first[i] = mirror(start + whole, limit)
    second[i] = mirror(start + Math.min(whole + 1, length - 1), limit)
    weight[i] = position - whole
  }
  return { perPixel, first, second, weight }
}

/** Reflects an index about the first and last pixel, which are not repeated (OpenCV's BORDER_REFLECT_101). */
function mirror(index: number, limit: number): number {
  if (limit === 1) return 0
  const period = 2 * (limit - 1)
  const folded = ((index % period) + period) % period
  return folded < limit ? folded : period - folded
}
