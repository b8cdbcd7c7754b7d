import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import sharp, { type Sharp } from 'sharp'
import { packageRoot } from '../../src/built.ts'

/** Weights for the tests: MODELS_DIR, else the folder beside the repository. */
export const modelsDir = process.env.MODELS_DIR ?? fileURLToPath(new URL('../shared/models/', packageRoot))

const facesDir = new URL('../shared/faces/', packageRoot)

export const photograph = (name: string): Buffer => readFileSync(new URL(name, facesDir))

/** A photograph turned clockwise, as a phone saves it that does not say how it was held. */
export const turned = (name: string, degrees: number): Sharp =>
  sharp(photograph(name)).autoOrient().rotate(degrees, { background: '#808080' })

/** What is said of a face that is turned. */
export const notUpright = 'The face is not upright: send the picture the right way up.'

/** Live photographs, and turns in which each detector still finds a face in them; in other turns it finds none. */
export const turnsFound: Record<'blazeface' | 'yunet', [name: string, degrees: number][]> = {
  blazeface: [
    ['live/t1.jpg', 90],
    ['live/t1.jpg', 180],
    ['live/t1.jpg', 270],
    ['live/scene5.jpg', 90],
    ['live/scene5.jpg', 180],
    ['live/scene5.jpg', 270],
  ],
  yunet: [
    ['live/scene22.jpg', 90],
    ['live/scene22.jpg', 180],
    ['live/scene22.jpg', 270],
    ['live/scene9.jpg', 90],
    ['live/scene9.jpg', 180],
    ['live/scene9.jpg', 270],
  ],
}

interface Reference {
  size: [number, number]
  faces: { score: number; box: [number, number, number, number] }[]
  spoof: Record<string, number>
  f: number
}

/** Boxes and raw scores of the photographs by an independent implementation. */
export function references(): [name: string, reference: Reference][] {
  const parsed = JSON.parse(photograph('boxes.json').toString()) as Record<string, Reference | string>
  return Object.entries(parsed).filter((entry): entry is [string, Reference] => typeof entry[1] === 'object')
}

/** True, with a line that says so, when the photographs or the weights are not at hand. */
export const withoutPhotographs = missing(new URL('boxes.json', facesDir), 'the test photographs (../shared/faces)')
export const withoutWeights = missing(
  new URL('minifasnet_v2_27_80.onnx', `file://${modelsDir.replace(/\/?$/, '/')}`),
  `the model weights (${modelsDir})`,
)

function missing(file: URL, what: string): boolean {
  const absent = !existsSync(file)
  if (absent) console.warn(`SKIPPED: inference tests that need ${what}, which are not there`)
  return absent
}
