import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { bestInMiddle, type Landmarks, type MarkedFace, type Point } from '../../src/inference/face.ts'
import type { Pixels } from '../../src/inference/pixels.ts'
import { measureRoll, roll } from '../../src/inference/roll.ts'
import { quarterTurn, surroundings } from '../../src/inference/square.ts'

/** An upright face, turned clockwise about a point beside it. */
function landmarks(degrees: number, eyes = 40, down = 45): Landmarks {
  const angle = (degrees * Math.PI) / 180
  const at = (x: number, y: number): Point => ({
    x: 300 + x * Math.cos(angle) - y * Math.sin(angle),
    y: 200 + x * Math.sin(angle) + y * Math.cos(angle),
  })
  return { rightEye: at(50, 20), leftEye: at(50 + eyes, 20), mouth: at(50 + eyes / 2, 20 + down) }
}

describe('the roll of a face from its landmarks', () => {
  test.each([0, 15, -15, 44, 90, -90, 135, 179, 180])('turned clockwise by %i° it is that many', (degrees) => {
    expect(roll(landmarks(degrees))).toBeCloseTo(degrees, 9)
  })

  test('it is −180 exclusive to 180', () => {
    expect(roll(landmarks(-180))).toBeCloseTo(180, 9)
    expect(roll(landmarks(270))).toBeCloseTo(-90, 9)
  })

  test('size does not count, and neither does a head turned aside, whose eyes are near each other', () => {
    expect(roll(landmarks(30, 400, 450))).toBeCloseTo(30, 9)
    expect(roll(landmarks(30, 5, 45))).toBeCloseTo(30, 9)
  })

  test('the line of the eyes and the line to the mouth count the same', () => {
    const { rightEye, leftEye } = landmarks(0)
    const mouth = { x: rightEye.x, y: rightEye.y + (leftEye.x - rightEye.x) / 2 } // 45° to the right of straight down
    expect(roll({ rightEye, leftEye, mouth })).toBeCloseTo(22.5, 9)
  })

  test('points that coincide say nothing, and are no reason to fail', () => {
    const point = { x: 1, y: 2 }
    expect(roll({ rightEye: point, leftEye: point, mouth: point })).toBe(0)
  })
})

describe('the roll of a detected face', () => {
  const picture: Pixels = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) }
  const box = { x: 20, y: 20, width: 24, height: 24 }

  /** A detector that sees the same landmarks in every turn, as real ones nearly do, with these scores. */
  const seeing = (scores: (number | undefined)[], tilt: number) => {
    const turns = scores.values()
    return async (): Promise<MarkedFace | undefined> => {
      const score = turns.next().value
      return score === undefined ? undefined : { score, box, landmarks: landmarks(tilt) }
    }
  }

  test.each([
    [[0.9, 0.5, 0.2, 0.6], 10, 10],
    [[0.5, 0.2, 0.6, 0.9], 10, 100], // upright after three quarter turns clockwise: turned by one
    [[0.7, 0.6, 0.9, 0.6], 10, -170],
    [[0.5, 0.9, 0.6, 0.2], -10, -100],
    [[undefined, undefined, undefined, 0.01], 0, 90],
    [[undefined, undefined, undefined, undefined], 0, 0],
  ])(
    'is told by the turn in which it is seen best: scores %j, landmarks at %i° → %i°',
    async (scores, tilt, degrees) => {
      expect(await measureRoll(picture, box, seeing(scores, tilt))).toBeCloseTo(degrees, 9)
    },
  )

  test('only what lies in the middle is that face', () => {
    const at = (x: number, score: number): MarkedFace => ({
      score,
      box: { x, y: 40, width: 40, height: 40 },
      landmarks: landmarks(0),
    })
    expect(bestInMiddle([at(40, 0.3), at(0, 0.9), at(45, 0.4)], 120)?.score).toBe(0.4)
    expect(bestInMiddle([at(0, 0.9)], 120)).toBeUndefined()
  })
})

describe('the square about a face', () => {
  test('a quarter turn is clockwise', async () => {
    const side = 5
    const data = Uint8Array.from({ length: side * side * 3 }, (_, i) => i)
    const raw = { width: side, height: side, channels: 3 } as const
    const expected = await sharp(data, { raw }).rotate(90).raw().toBuffer()
    expect(Buffer.from(quarterTurn({ width: side, height: side, data }).data)).toEqual(expected)
  })

  test('holds the face in its middle, scaled, and is black outside the picture', async () => {
    const picture: Pixels = { width: 200, height: 100, data: new Uint8Array(200 * 100 * 3).fill(200) }
    for (let y = 10; y < 40; y++) for (let x = 0; x < 30; x++) picture.data.set([250, 0, 0], (y * 200 + x) * 3)
    const square = await surroundings(picture, { x: 0, y: 10, width: 30, height: 30 })
    const at = (x: number, y: number) => [...square.data.subarray((y * square.width + x) * 3).subarray(0, 3)]
    expect(square).toMatchObject({ width: 128, height: 128 })
    expect(square.data).toHaveLength(128 * 128 * 3)
    expect(at(64, 64)).toEqual([250, 0, 0])
    expect(at(4, 64)).toEqual([0, 0, 0]) // left of the picture
    expect(at(64, 4)).toEqual([0, 0, 0]) // above it
    expect(at(124, 124)).toEqual([200, 200, 200])
  })

  test.each([
    { x: -50, y: -50, width: 40, height: 40 },
    { x: 500, y: 500, width: 10, height: 10 },
    { x: 0, y: 0, width: 0.2, height: 0.2 },
    { x: -1000, y: -1000, width: 3000, height: 3000 },
  ])('is cut wherever a detector puts a face: %o', async (face) => {
    const picture: Pixels = { width: 20, height: 3, data: new Uint8Array(20 * 3 * 3) }
    expect((await surroundings(picture, face)).data).toHaveLength(128 * 128 * 3)
  })
})
