import { overlap, type Pixels, type Rect } from './pixels.ts'

/** A face as detected: exact edges, which may lie outside the picture. */
export interface Face {
  box: Rect
  /** 0 to 1 */
  score: number
}

export interface Point {
  x: number
  y: number
}

/** Points of a face that tell which way it lies; right and left are the person's own. */
export interface Landmarks {
  rightEye: Point
  leftEye: Point
  /** Its middle. */
  mouth: Point
}

/** A face and where a detector puts its landmarks. */
export interface MarkedFace extends Face {
  landmarks: Landmarks
}

export interface FaceDetector {
  /** Every face of a picture, the largest first. */
  detect(picture: Pixels): Promise<Face[]>
  /**
   * What is most like an upright face in the middle of a square picture, even if it is little like one: its score says
   * how much. Undefined when nothing there is.
   */
  look(square: Pixels): Promise<MarkedFace | undefined>
}

/** Greedy non-maximum suppression: of boxes that overlap, the one with the best score stays. */
export function suppressOverlaps(candidates: readonly Face[], maxOverlap: number): Face[] {
  const kept: Face[] = []
  for (const face of [...candidates].sort((a, b) => b.score - a.score)) {
    if (kept.every((better) => overlap(better.box, face.box) <= maxOverlap)) kept.push(face)
  }
  return kept
}

/**
 * Non-maximum suppression as BlazeFace's authors do it: boxes that overlap the best one are not dropped but averaged
 * with it, weighted by their scores. Single boxes of this network jitter; their mean does not.
 */
export function blendOverlaps(candidates: readonly Face[], maxOverlap: number): Face[] {
  let rest = [...candidates].sort((a, b) => b.score - a.score)
  const blended: Face[] = []
  for (let best = rest[0]; best; best = rest[0]) {
    const { box, score } = best
    const group = rest.filter((face) => face === best || overlap(face.box, box) > maxOverlap)
    rest = rest.filter((face) => !group.includes(face))
    const total = group.reduce((sum, face) => sum + face.score, 0)
    const mean = (of: keyof Rect) => group.reduce((sum, face) => sum + face.box[of] * face.score, 0) / total
    blended.push({ score, box: { x: mean('x'), y: mean('y'), width: mean('width'), height: mean('height') } })
  }
  return blended
}

/** The largest faces first, at most so many. */
export function largestFirst(faces: readonly Face[], maxFaces: number): Face[] {
  return [...faces].sort((a, b) => area(b.box) - area(a.box)).slice(0, maxFaces)
}

/** Least score that a look tells of: what is turned is seen with little certainty. */
export const leastLookScore = 0.1

/** Of the faces in a square picture the most certain one whose centre lies in the middle. */
export function bestInMiddle(faces: readonly MarkedFace[], side: number): MarkedFace | undefined {
  const central = (from: number, length: number) => Math.abs(from + length / 2 - side / 2) < side / 5
  return faces
    .filter(({ box }) => central(box.x, box.width) && central(box.y, box.height))
    .reduce<MarkedFace | undefined>((best, face) => (best && best.score >= face.score ? best : face), undefined)
}

export const middle = (a: Point, b: Point): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 })

const area = (box: Rect): number => box.width * box.height
