/**
 * The faces that the product's detectors find in every picture of a folder, as JSON: what the classifier is trained on.
 *
 *   npx tsx models/training/boxes.ts FOLDER OUTPUT.json
 *
 * FOLDER holds pictures in any depth (GROUP/LABEL/SOURCE/NAME, see README.md). The result maps each picture's path to
 * { width, height, blazeface, yunet }: size in pixels of the upright picture, and for each detector the faces as
 * [x, y, width, height, score], the adopted one first, exact, and possibly reaching outside. `yunet` is null where its
 * weights are not found (MODELS_DIR, models/). A picture that cannot be decoded is named on standard error and left out.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import sharp from 'sharp'
import { createDetector } from '../../src/inference/detector.ts'
import type { Face, FaceDetector } from '../../src/inference/face.ts'
import { decodeImage } from '../../src/inference/image.ts'
import { formatOf, InvalidImage } from '../../src/inference/image-format.ts'
import { loadManifest, resolveDetector } from '../../src/inference/manifest.ts'
import { loadWeights, WeightsMissing } from '../../src/inference/weights.ts'

type FaceNumbers = [x: number, y: number, width: number, height: number, score: number]

const [folder, output] = process.argv.slice(2)
if (folder === undefined || output === undefined) {
  console.error('Usage: npx tsx models/training/boxes.ts FOLDER OUTPUT.json')
  process.exit(2)
}
sharp.cache(false)
sharp.concurrency(1)

const manifest = await loadManifest()
const detectors = { blazeface: await load('blazeface'), yunet: await load('yunet') }
if (detectors.yunet === null) console.error('YuNet is not here (set MODELS_DIR): its boxes are left out.')

const names = (await readdir(folder, { recursive: true })).filter((name) => /\.(jpe?g|png)$/i.test(name)).sort()
const found: Record<string, unknown> = {}
let next = 0
await Promise.all(Array.from({ length: availableParallelism() }, work))
const inOrder = names.filter((name) => name in found).map((name) => [name, found[name]])
await writeFile(resolve(output), `${JSON.stringify(Object.fromEntries(inOrder))}\n`)
console.error(`${inOrder.length} of ${names.length} pictures → ${output}`)

async function work(): Promise<void> {
  for (let name = names[next++]; name !== undefined; name = names[next++]) {
    if (next % 250 === 0) console.error(`${next} of ${names.length}`)
    const bytes = await readFile(join(folder as string, name))
    try {
      const picture = await decodeImage(bytes, formatOf(bytes) ?? 'jpeg')
      found[name] = {
        width: picture.width,
        height: picture.height,
        blazeface: (await detectors.blazeface?.detect(picture))?.map(numbers) ?? null,
        yunet: (await detectors.yunet?.detect(picture))?.map(numbers) ?? null,
      }
    } catch (error) {
      if (!(error instanceof InvalidImage)) throw error
      console.error(`${name}: ${error.message}`)
    }
  }
}

function numbers({ box, score }: Face): FaceNumbers {
  const rounded = (value: number, digits: number) => Number(value.toFixed(digits))
  return [rounded(box.x, 2), rounded(box.y, 2), rounded(box.width, 2), rounded(box.height, 2), rounded(score, 4)]
}

async function load(name: string): Promise<FaceDetector | null> {
  const detector = resolveDetector(manifest, name)
  try {
    const weights = await loadWeights({ detector, classifiers: [] }, process.env.MODELS_DIR)
    return await createDetector(detector, async (file) => (weights[file] as Uint8Array).slice())
  } catch (error) {
    if (error instanceof WeightsMissing) return null
    throw error
  }
}
