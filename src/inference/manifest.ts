import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { packageRoot } from '../built.ts'

/** Pixel values are fed as value / divideBy, channels first, in the order named. */
const input = z.strictObject({
  name: z.string(),
  channels: z.enum(['RGB', 'BGR']),
  divideBy: z.number().positive(),
})

/** The two ways of cutting the neighbourhood of a face out of a picture; see crop.ts. */
const crop = z.strictObject({
  rule: z.enum(['shifted-window', 'mirrored-square']),
  factor: z.number().min(1),
  resample: z.enum(['bilinear', 'area']),
})

const weights = {
  file: z.string().regex(/^[\w.-]+\.onnx$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().positive(),
  description: z.string(),
  upstream: z.strictObject({ repository: z.url(), commit: z.string().regex(/^[0-9a-f]{40}$/), path: z.string() }),
  /** Where exactly these bytes can be fetched; absent when they exist nowhere in public (see `conversion`). */
  url: z.url().optional(),
  /** How the file was made from the upstream file, when it is not that file byte for byte. */
  conversion: z.string().optional(),
  licence: z.string(),
  input,
}

const detectorModel = z.strictObject({ kind: z.literal('detector'), ...weights })

const classifierModel = z.strictObject({
  kind: z.literal('classifier'),
  ...weights,
  /** The square input's side in pixels. */
  size: z.int().positive(),
  output: z.string(),
  /** What each logit stands for, in the order of the output. */
  classes: z.array(z.enum(['live', 'spoof'])).min(2),
  crop,
})

/** Corner points [before, after], both rising from (0, 0) to (1, 1): anything else would not keep the order of scores. */
const calibration = z
  .array(z.tuple([z.number(), z.number()]))
  .min(2)
  .refine(
    (points) => {
      const first = points.at(0)
      const last = points.at(-1)
      const ends = first?.[0] === 0 && first[1] === 0 && last?.[0] === 1 && last[1] === 1
      return ends && points.slice(1).every(([x, y], i) => x > (points[i]?.[0] ?? 1) && y >= (points[i]?.[1] ?? 1))
    },
    { message: 'calibration must rise from [0, 0] to [1, 1]' },
  )

/**
 * Limits beyond which a verdict is worth little. Where `ensemble` has its figures from:
 * minFaceSide: with the least scene allowed (1.6), a crop then has the 80 pixels the smaller classifiers take.
 * minMargin: YuNet draws a cut face up to the edge and not beyond: cut by 5–40 %, its margin was 0.04 or less (below 0
 * at the chin), while a whole face with a tenth of its size free beside it has at least 0.055.
 * minScene: the pair's area under the ROC curve is 0.67 below 1.25, 0.97 at 1.6–2, 1.00 above 2 (measured).
 * minBrightness, maxBrightness, minSharpness: of 125 live webcam and video frames of other sources the darkest face has
 * 43, the brightest 165; sharpness is 28 at the first percentile, and a 160-pixel face blurred with σ = 6 falls to 12–29.
 */
const validity = z.strictObject({
  /** Shorter side of the face, in pixels. */
  minFaceSide: z.number(),
  /** Distance of the face from the nearest edge of the picture, as a share of its size in that direction. */
  minMargin: z.number(),
  /** How many times the face fits into the picture: min((H − 1) / height, (W − 1) / width). */
  minScene: z.number(),
  /** Mean BT.601 luma of the face rectangle, 0–255. */
  minBrightness: z.number(),
  maxBrightness: z.number(),
  /** Variance of the Laplacian of the face's luma; see quality.ts for the scale it is taken at. */
  minSharpness: z.number(),
})

const modelSet = z.strictObject({
  version: z.string().min(1),
  description: z.string(),
  detector: z.strictObject({
    model: z.string(),
    /** The picture's longer side is shrunk to this many pixels before detection; smaller pictures stay as they are. */
    longestSide: z.int().multipleOf(32),
    minScore: z.number(),
    /** Intersection over union from which on two boxes are one face. */
    maxOverlap: z.number(),
    /** Only this many of the largest faces are reported. */
    maxFaces: z.int().positive(),
  }),
  classifiers: z.array(z.string()).min(1),
  combination: z.literal('mean-of-logits'),
  calibration,
  validity,
})

const manifestSchema = z.strictObject({
  models: z.record(z.string(), z.discriminatedUnion('kind', [detectorModel, classifierModel])),
  sets: z.record(z.string(), modelSet),
})

export type DetectorModel = z.infer<typeof detectorModel>
export type ClassifierModel = z.infer<typeof classifierModel>
export type Model = DetectorModel | ClassifierModel
export type ModelSet = z.infer<typeof modelSet>
export type Manifest = z.infer<typeof manifestSchema>
export type CropRule = z.infer<typeof crop>
export type Validity = z.infer<typeof validity>
export type Calibration = z.infer<typeof calibration>
export type InputLayout = z.infer<typeof input>

/** A set with the names in it replaced by the models they stand for. */
export interface ResolvedSet extends Omit<ModelSet, 'detector' | 'classifiers'> {
  name: string
  detector: Omit<ModelSet['detector'], 'model'> & { model: DetectorModel }
  classifiers: { name: string; model: ClassifierModel }[]
}

/** The manifest names models that do not exist, or the set asked for is not in it. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError'
}

/** @throws z.ZodError when the value is not a manifest */
export function parseManifest(value: unknown): Manifest {
  return manifestSchema.parse(value)
}

/** The manifest that ships with the package. */
export async function loadManifest(file: URL = new URL('models/manifest.json', packageRoot)): Promise<Manifest> {
  return parseManifest(JSON.parse(await readFile(file, 'utf8')))
}

/** @throws ManifestError with a sentence for the operator */
export function resolveSet(manifest: Manifest, name: string): ResolvedSet {
  const set = manifest.sets[name]
  if (!set) {
    throw new ManifestError(
      `There is no model set "${name}". models/manifest.json knows: ${Object.keys(manifest.sets).join(', ')}.`,
    )
  }
  const detector = manifest.models[set.detector.model]
  if (detector?.kind !== 'detector') {
    throw new ManifestError(`Set "${name}" names the detector "${set.detector.model}", which the manifest lacks.`)
  }
  const classifiers = set.classifiers.map((classifier) => {
    const model = manifest.models[classifier]
    if (model?.kind !== 'classifier') {
      throw new ManifestError(`Set "${name}" names the classifier "${classifier}", which the manifest lacks.`)
    }
    return { name: classifier, model }
  })
  return { ...set, name, detector: { ...set.detector, model: detector }, classifiers }
}

/** Every weights file a set needs, the detector's first. */
export function modelsOf(set: ResolvedSet): Model[] {
  return [set.detector.model, ...set.classifiers.map((classifier) => classifier.model)]
}
