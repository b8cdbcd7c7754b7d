import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { packageRoot } from '../built.ts'

/** The two ways of cutting the neighbourhood of a face out of a picture; see crop.ts. */
const crop = z.strictObject({
  rule: z.enum(['shifted-window', 'mirrored-square']),
  factor: z.number().min(1),
  resample: z.enum(['bilinear', 'area']),
})

/** Where the weights come from, told for the reader; a package is also where they are found. */
const upstream = z.union([
  z.strictObject({ repository: z.url(), commit: z.string().regex(/^[0-9a-f]{40}$/), path: z.string() }),
  /** A dependency in package.json that brings the file along. */
  z.strictObject({ package: z.string(), version: z.string(), path: z.string() }),
  /** Trained here: the folder of the pipeline. */
  z.strictObject({ training: z.string() }),
])

const weights = {
  file: z.string().regex(/^[\w.-]+\.onnx$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().positive(),
  description: z.string(),
  upstream,
  /** Where exactly these bytes can be fetched; absent when they exist nowhere in public (see `conversion`). */
  url: z.url().optional(),
  /** How the file was made from the upstream file, when it is not that file byte for byte. */
  conversion: z.string().optional(),
  licence: z.string(),
}

/** Pixel values are fed as value / divideBy, channels first, in the order named. */
const layout = {
  name: z.string(),
  channels: z.enum(['RGB', 'BGR']),
  divideBy: z.number().positive(),
}

const yunetModel = z.strictObject({ kind: z.literal('yunet'), ...weights, input: z.strictObject(layout) })

/** Fed as the authors' graph wants it (see blazeface.ts); only the side of its square input differs. */
const blazeFaceModel = z.strictObject({ kind: z.literal('blazeface'), ...weights, size: z.int().positive() })

const classifierModel = z.strictObject({
  kind: z.literal('classifier'),
  ...weights,
  /** One or more square inputs of `size` pixels, each its own crop of the same face. */
  inputs: z.array(z.strictObject({ ...layout, size: z.int().positive(), crop })).min(1),
  output: z.string(),
  /** What each logit stands for, in the order of the output. */
  classes: z.array(z.enum(['live', 'spoof'])).min(2),
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
 * Limits beyond which a verdict is worth little. Each was measured on labelled pictures with both detectors' boxes;
 * docs/models.md has the figures.
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
  /** Degrees by which the face may be turned from upright, either way. */
  maxRoll: z.number(),
})

const detection = {
  minScore: z.number(),
  /** Intersection over union from which on two boxes are one face. */
  maxOverlap: z.number(),
  /** Only this many of the largest faces are reported. */
  maxFaces: z.int().positive(),
}

const yunetDetector = z.strictObject({
  kind: z.literal('yunet'),
  model: z.string(),
  /** The picture's longer side is shrunk to this many pixels before detection; smaller pictures stay as they are. */
  longestSide: z.int().multipleOf(32),
  ...detection,
})

const blazeFaceDetector = z.strictObject({
  kind: z.literal('blazeface'),
  /** Looks first, at the whole picture. */
  front: z.string(),
  /** Looks as well when the front model finds nothing, or nothing of minFrontSide. */
  back: z.string(),
  /** Side of the largest face as a share of the picture's longer side. */
  minFrontSide: z.number(),
  /** What makes the box another detector's: factors of width and height, and how far the centre moves up, in heights. */
  box: z.strictObject({ width: z.number(), height: z.number(), up: z.number() }),
  ...detection,
})

const modelSet = z.strictObject({
  version: z.string().min(1),
  description: z.string(),
  /** Name of a detector. */
  detector: z.string(),
  /** Names of models → how much each one's logit counts in the mean. */
  classifiers: z
    .record(z.string(), z.number().positive())
    .refine((weights) => Object.keys(weights).length > 0, { message: 'a set needs a classifier' }),
  combination: z.literal('mean-of-logits'),
  calibration,
  validity,
})

const manifestSchema = z.strictObject({
  models: z.record(z.string(), z.discriminatedUnion('kind', [yunetModel, blazeFaceModel, classifierModel])),
  detectors: z.record(z.string(), z.discriminatedUnion('kind', [yunetDetector, blazeFaceDetector])),
  sets: z.record(z.string(), modelSet),
  /** Sets that may run when none is asked for, the best first. */
  preferred: z.tuple([z.string()], z.string()),
})

export type YunetModel = z.infer<typeof yunetModel>
export type BlazeFaceModel = z.infer<typeof blazeFaceModel>
export type ClassifierModel = z.infer<typeof classifierModel>
export type Model = YunetModel | BlazeFaceModel | ClassifierModel
export type ModelSet = z.infer<typeof modelSet>
export type Manifest = z.infer<typeof manifestSchema>
export type CropRule = z.infer<typeof crop>
export type Validity = z.infer<typeof validity>
export type Calibration = z.infer<typeof calibration>
/** How pixels become numbers. */
export type InputLayout = Pick<YunetModel['input'], 'channels' | 'divideBy'>

export type YunetDetector = Omit<z.infer<typeof yunetDetector>, 'model'> & { model: YunetModel }
export type BlazeFaceDetector = Omit<z.infer<typeof blazeFaceDetector>, 'front' | 'back'> & {
  front: BlazeFaceModel
  back: BlazeFaceModel
}

export type Detector = YunetDetector | BlazeFaceDetector

/** A set with the names in it replaced by the models they stand for. */
export interface ResolvedSet extends Omit<ModelSet, 'detector' | 'classifiers'> {
  name: string
  detector: Detector
  classifiers: { name: string; model: ClassifierModel; weight: number }[]
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
  const owner = `Set "${name}"`
  return {
    ...set,
    name,
    detector: resolveDetector(manifest, set.detector, owner),
    classifiers: Object.entries(set.classifiers).map(([classifier, weight]) => ({
      name: classifier,
      model: modelOf(manifest, owner, classifier, 'classifier'),
      weight,
    })),
  }
}

/** @throws ManifestError with a sentence for the operator */
export function resolveDetector(manifest: Manifest, name: string, owner = 'The caller'): Detector {
  const detector = manifest.detectors[name]
  if (!detector) throw new ManifestError(`${owner} names the detector "${name}", which the manifest lacks.`)
  const part = (model: string) => [manifest, `Detector "${name}"`, model] as const
  return detector.kind === 'yunet'
    ? { ...detector, model: modelOf(...part(detector.model), 'yunet') }
    : {
        ...detector,
        front: modelOf(...part(detector.front), 'blazeface'),
        back: modelOf(...part(detector.back), 'blazeface'),
      }
}

function modelOf<Kind extends Model['kind']>(manifest: Manifest, owner: string, name: string, kind: Kind) {
  const model = manifest.models[name]
  if (model?.kind !== kind) {
    throw new ManifestError(`${owner} names the ${kind} model "${name}", which the manifest lacks.`)
  }
  return model as Extract<Model, { kind: Kind }>
}

/** Every weights file a set needs, the detector's first. */
export function modelsOf({ detector, classifiers }: Pick<ResolvedSet, 'detector' | 'classifiers'>): Model[] {
  const ofDetector = detector.kind === 'yunet' ? [detector.model] : [detector.front, detector.back]
  return [...ofDetector, ...classifiers.map((classifier) => classifier.model)]
}
