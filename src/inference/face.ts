import { overlap, type Pixels, type Rect } from './pixels.ts'

/** A face as detected: exact edges, which may lie outside the picture. */
export interface Face {
  box: Rect
  /** 0 to 1 */
  score: number
}

/** Every face of a picture, the largest first. */
export type DetectFaces = (picture: Pixels) => Promise<Face[]>

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

const area = (box: Rect): number => box.width * box.height
