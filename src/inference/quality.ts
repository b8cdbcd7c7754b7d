import { resample } from './crop.ts'
import type { Validity } from './manifest.ts'
import { insidePicture, type Pixels, type Rect } from './pixels.ts'

/** What is measured on the adopted face to tell whether its verdict means anything. */
export interface Quality {
  /** Shorter side in pixels. */
  side: number
  /** Distance from the nearest edge of the picture as a share of the face's size; negative when it reaches out. */
  margin: number
  /** How many times the face fits into the picture, by its tighter direction. */
  scene: number
  /** Mean BT.601 luma of the face rectangle, 0 to 255. */
  brightness: number
  /** Variance of the Laplacian of the face's luma at SHARPNESS_SIDE pixels. */
  sharpness: number
  /** Degrees by which it is turned clockwise from upright, −180 to 180; see roll.ts. */
  roll: number
}

/**
 * Sharpness is taken on the face scaled to this side, so that it tells whether the classifiers' inputs (80 and 128
 * pixels for a face with its surroundings) hold detail, whatever the camera's resolution.
 */
const SHARPNESS_SIDE = 64

/** @param roll of the face, as measureRoll tells it */
export function measureQuality(picture: Pixels, face: Rect, roll: number): Quality {
  const rect = insidePicture(face, picture)
  return {
    side: Math.min(face.width, face.height),
    margin: Math.min(
      face.x / face.width,
      face.y / face.height,
      (picture.width - face.x - face.width) / face.width,
      (picture.height - face.y - face.height) / face.height,
    ),
    scene: Math.min((picture.height - 1) / face.height, (picture.width - 1) / face.width),
    brightness: meanLuma(picture, rect),
    sharpness: laplacianVariance(picture, rect),
    roll,
  }
}

const luma = (data: Uint8Array, at: number): number =>
  0.299 * (data[at] as number) + 0.587 * (data[at + 1] as number) + 0.114 * (data[at + 2] as number)

function meanLuma(picture: Pixels, rect: Rect): number {
  let sum = 0
  for (let y = rect.y; y < rect.y + rect.height; y++) {
    const row = (y * picture.width + rect.x) * 3
    for (let at = row; at < row + rect.width * 3; at += 3) sum += luma(picture.data, at)
  }
  return sum / (rect.width * rect.height)
}

function laplacianVariance(picture: Pixels, rect: Rect): number {
  const n = SHARPNESS_SIDE
  const small = resample(picture, { left: rect.x, top: rect.y, width: rect.width, height: rect.height }, n, 8)
  const grey = Float64Array.from({ length: n * n }, (_, i) => luma(small.data, i * 3))
  const value = (at: number) => grey[at] as number
  let [sum, squares] = [0, 0]
  for (let y = 1; y < n - 1; y++) {
    for (let x = 1; x < n - 1; x++) {
      const at = y * n + x
      const laplacian = value(at - 1) + value(at + 1) + value(at - n) + value(at + n) - 4 * value(at)
      sum += laplacian
      squares += laplacian * laplacian
    }
  }
  const count = (n - 2) ** 2
  return squares / count - (sum / count) ** 2
}

/** Sentences for the customer: what is wrong with the adopted face, and what to do; none when it is valid. */
export function complaints(quality: Quality, limits: Validity): string[] {
  const { side, margin, scene, brightness, sharpness, roll } = quality
  const rules: [broken: boolean, sentence: string][] = [
    [Math.abs(roll) > limits.maxRoll, 'The face is not upright: send the picture the right way up.'],
    [side < limits.minFaceSide, 'The face is too small: come closer, or send a larger picture.'],
    [
      margin < limits.minMargin,
      'The face is cut off by the edge of the picture or too close to it: put the whole face into the middle.',
    ],
    [scene < limits.minScene, 'The face is too close: leave more of the scene around it.'],
    [brightness < limits.minBrightness, 'The face is too dark: turn it towards a light.'],
    [brightness > limits.maxBrightness, 'The face is too bright: keep strong light off it.'],
    [sharpness < limits.minSharpness, 'The face is not sharp enough: hold the camera still and focus on the face.'],
  ]
  return rules.filter(([broken]) => broken).map(([, sentence]) => sentence)
}
