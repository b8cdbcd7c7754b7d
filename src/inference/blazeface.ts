import { type InferenceSession, Tensor } from 'onnxruntime-node'
import { blendOverlaps, type DetectFaces, type Face, largestFirst } from './face.ts'
import type { BlazeFaceDetector } from './manifest.ts'
import type { Pixels, Rect } from './pixels.ts'
import { scaled } from './scale.ts'
import { createSession, floats } from './session.ts'

/** The two grids of cells: how many in a row, anchors in each, the outputs with scores and boxes. */
const GRIDS = [
  { cells: 16, anchors: 2, scores: 'Identity:0', boxes: 'Identity_2:0' },
  { cells: 8, anchors: 6, scores: 'Identity_1:0', boxes: 'Identity_3:0' },
]

/** Numbers a box has in the output: centre, width, height and six points of the face, which nothing here needs. */
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
): Promise<DetectFaces> {
  const [front, back] = await Promise.all([createSession(weights.front, threads), createSession(weights.back, threads)])
  const look = async (session: InferenceSession, size: number, picture: Pixels) => {
    const { input, offset, scale } = await letterbox(picture, size)
    const outputs = await session.run({ 'input:0': input })
    const found = blendOverlaps(decode(outputs, size, set.minScore), set.maxOverlap)
    const inPicture = found.map(({ box, score }) => ({ score, box: correct(unscale(box, offset, scale), set.box) }))
    return largestFirst(inPicture, set.maxFaces)
  }
  return async (picture) => {
    const atOnce = await look(front, set.front.size, picture)
    const enough = set.minFrontSide * Math.max(picture.width, picture.height)
    if (atOnce[0] && longerSide(atOnce[0].box) >= enough) return atOnce
    const closer = await look(back, set.back.size, picture)
    return closer.length > 0 ? closer : atOnce
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

/** Boxes in pixels of the square input. Centres are told from the middle of the anchor's cell. */
function decode(outputs: InferenceSession.ReturnType, size: number, minScore: number): Face[] {
  const found: Face[] = []
  for (const { cells, anchors, ...names } of GRIDS) {
    const scores = floats(outputs, names.scores)
    const boxes = floats(outputs, names.boxes)
    for (let i = 0; i < scores.length; i++) {
      const score = 1 / (1 + Math.exp(-(scores[i] as number)))
      if (!(score >= minScore)) continue
      const cell = Math.floor(i / anchors)
      const at = i * BOX_LENGTH
      const [width, height] = [boxes[at + 2] as number, boxes[at + 3] as number]
      const x = (((cell % cells) + 0.5) * size) / cells + (boxes[at] as number) - width / 2
      const y = ((Math.floor(cell / cells) + 0.5) * size) / cells + (boxes[at + 1] as number) - height / 2
      found.push({ score, box: { x, y, width, height } })
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
