import { type FaceDetector, type Landmarks, type MarkedFace, middle } from './face.ts'
import type { Pixels, Rect } from './pixels.ts'
import { quarterTurn, surroundings } from './square.ts'

/**
 * Degrees by which a face is turned clockwise, −180 (exclusive) to 180; 0 when it is upright.
 *
 * The line from eye to eye and the line from the eyes down to the mouth each tell it; each errs for heads turned aside
 * or bent. Both count the same: the direction of their sum when they are made equally long.
 */
export function roll({ rightEye, leftEye, mouth }: Landmarks): number {
  const eyes = middle(rightEye, leftEye)
  const across = unit(leftEye.x - rightEye.x, leftEye.y - rightEye.y)
  // Down, turned by a quarter so that it points where `across` does.
  const down = unit(mouth.y - eyes.y, eyes.x - mouth.x)
  return degrees(Math.atan2(across.y + down.y, across.x + down.x))
}

/**
 * A look that is as sure as this, with landmarks within so many degrees of upright, is at an upright face: on 3,000
 * whole frames, upright and turned, more looks change no outcome, and here 1.8 (`own`) and 1.1 (`ensemble`) are taken.
 */
const SURE = 0.9
const UPRIGHT = 30

/**
 * The roll of a detected face. Its landmarks alone do not tell it: detectors have learnt from upright faces and put the
 * eyes above the mouth of one that is upside down (docs/models.md). But they see a face with the most certainty when
 * it is upright. So the face is looked at in four quarter turns, and the landmarks count in the one
 * where it is seen best.
 */
export async function measureRoll(picture: Pixels, face: Rect, look: FaceDetector['look']): Promise<number> {
  let best: { face: MarkedFace; turned: number } | undefined
  let square = await surroundings(picture, face)
  for (const turned of [0, 90, 180, 270]) {
    if (turned > 0) square = quarterTurn(square)
    const seen = await look(square)
    if (seen === undefined) continue
    if (seen.score > (best?.face.score ?? Number.NEGATIVE_INFINITY)) best = { face: seen, turned }
    if (seen.score >= SURE && Math.abs(roll(seen.landmarks)) <= UPRIGHT) break
  }
  return best ? wrapped(roll(best.face.landmarks) - best.turned) : 0
}

function unit(x: number, y: number) {
  const length = Math.hypot(x, y) || 1
  return { x: x / length, y: y / length }
}

const degrees = (radians: number): number => wrapped((radians * 180) / Math.PI)

/** Into −180 (exclusive) … 180. */
const wrapped = (angle: number): number => 180 - ((((180 - angle) % 360) + 360) % 360)
