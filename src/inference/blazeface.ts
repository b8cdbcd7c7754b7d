import { type InferenceSession, Tensor } from 'onnxruntime-node'
import {
  bestInMiddle,
  blendOverlaps,
  type FaceDetector,
  largestFirst,
  leastLookScore,
  type MarkedFace,
  type Point,
} from './face.ts'
import type { BlazeFaceDetector } from './manifest.ts'
import type { Pixels, Rect } from './pixels.ts'
import { scaled } from './scale.ts'
import { createSession, floats } from './session.ts'

/** The two grids of cells: how many in a row, anchors in each, the outputs with scores and boxes. */
const GRIDS = [
  { cells: 16, anchors: 2, scores: 'Identity:0', boxes: 'Identity_2:0' },
  { cells: 8, anchors: 6, scores: 'Identity_1:0', boxes: 'Identity_3:0' },
]

/**
 * Numbers a face has in the output: centre, width and height of its box, and six points: right and left eye, nose,
 * mouth, and the ears. Centres and points are told from the middle of the anchor's cell.
 */
const BOX_LENGTH = 16

/**
 * MediaPipe's BlazeFace (arXiv 1907.05047), front model and back model.
 *
 * The front model is quick (2 ms on one thread) and sees 128 pixels, the back model (9 ms) 256: it is asked too where
 * the front model found nothing or only something small. Of 3,018 whole frames with a face (docs/models.md) both
 * together miss one; the front model alone adopts another face, or none, in twice as many. A second look at each face
 * enlarged was tried, and moved the rectangles no closer to YuNet's.
 */
export async function createBlazeFace(
  weights: { front: Uint8Array; back: Uint8Array },
  set: BlazeFaceDetector,
  threads: number,
): Promise<FaceDetector> {
  const [front, back] = await Promise.all([createSession(weights.front, threads), createSession(weights.back, threads)])
  const facesIn = async (session: InferenceSession, size: number, picture: Pixels) => {
    const { input, offset, scale } = await letterbox(picture, size)
    const outputs = await session.run({ 'input:0': input })
    const found = blendOverlaps(decode(outputs, size, set.minScore), set.maxOverlap)
    const inPicture = found.map(({ box, score }) => ({ score, box: correct(unscale(box, offset, scale), set.box) }))
    return largestFirst(inPicture, set.maxFaces)
  }
  return {
    async detect(picture) {
      const atOnce = await facesIn(front, set.front.size, picture)
      const enough = set.minFrontSide * Math.max(picture.width, picture.height)
      if (atOnce[0] && longerSide(atOnce[0].box) >= enough) return atOnce
      const closer = await facesIn(back, set.back.size, picture)
      return closer.length > 0 ? closer : atOnce
    },
    async look(square) {
      const { input } = await letterbox(square, set.front.size)
      return bestInMiddle(decode(await front.run({ 'input:0': input }), set.front.size, leastLookScore), set.front.size)
    },
  }
}

/** The picture in the middle of a black square: 1 × size × size × 3, RGB, −1 to 1. */
async function letterbox(picture: Pixels, size: number) {
  const small = await scaled(picture, size / Math.max(picture.width, picture.height))
  const offset = { x: Math.floor((size - small.width) / 2), y: Math.floor((size - small.height) / 2) }
  const values = new Float32Array(size * size * 3).fill(-1)
  const row = small.width * 3
  for (let y = 0, from = 0; y < small.height; y++) {
    let to = ((y + offset.y) * size + offset.x) * 3
    for (const end = from + row; from < end; from++, to++) values[to] = (small.data[from] as number) / 127.5 - 1
  }
  const scale = { x: small.width / picture.width, y: small.height / picture.height }
  return { input: new Tensor('float32', values, [1, size, size, 3]), offset, scale }
}

/** Faces in pixels of the square input. */
function decode(outputs: InferenceSession.ReturnType, size: number, minScore: number): MarkedFace[] {
  const found: MarkedFace[] = []
  for (const { cells, anchors, ...names } of GRIDS) {
    const scores = floats(outputs, names.scores)
    const boxes = floats(outputs, names.boxes)
    for (let i = 0; i < scores.length; i++) {
      const score = 1 / (1 + Math.exp(-(scores[i] as number)))
      if (!(score >= minScore)) continue
      const cell = Math.floor(i / anchors)
      const at = i * BOX_LENGTH
      const inPixels = (from: number): Point => ({
        x: (((cell % cells) + 0.5) * size) / cells + (boxes[from] as number),
        y: ((Math.floor(cell / cells) + 0.5) * size) / cells + (boxes[from + 1] as number),
      })
      const centre = inPixels(at)
      const [width, height] = [boxes[at + 2] as number, boxes[at + 3] as number]
      const point = (index: number) => inPixels(at + 4 + 2 * index)
      found.push({
        score,
        box: { x: centre.x - width / 2, y: centre.y - height / 2, width, height },
        landmarks: { rightEye: point(0), leftEye: point(1), mouth: point(3) },
      })
    }
  }
  return found
}

function unscale(box: Rect, offset: { x: number; y: number }, scale: { x: number; y: number }): Rect {
  return {
    x: (box.x - offset.x) / scale.x,
    y: (box.y - offset.y) / scale.y,
    width: box.width / scale.x,
    height: box.height / scale.y,
  }
}

/**
 * BlazeFace draws a square from the brows to the chin. Classifiers and limits are made for a box that is narrower and
 * reaches up to the forehead, as YuNet draws it.
 */
export function correct(box: Rect, by: BlazeFaceDetector['box']): Rect {
  const width = box.width * by.width
  const height = box.height * by.height
  return {
    x: box.x + (box.width - width) / 2,
    y: box.y + box.height / 2 - by.up * box.height - height / 2,
    width,
    height,
  }
}

const longerSide = (box: Rect): number => Math.max(box.width, box.height)
