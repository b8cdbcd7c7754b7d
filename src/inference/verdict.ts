import type { Face } from './face.ts'
import type { Validity } from './manifest.ts'
import { insidePicture, type Rect } from './pixels.ts'
import { complaints, type Quality } from './quality.ts'

/** What a check found. Integers, strings and booleans only, so that an event can hold it as it is. */
export interface Verdict {
  isFakeFace: boolean
  likelihoodMillionths: number
  isValidFace: boolean
  brightnessHundredths: number
  /** The adopted (largest) face, integer pixels of the upright image, inside it. */
  face: Rect
  /** Every face, the adopted one first. */
  faces: Rect[]
  /** What is wrong with the face, or that there are several; empty when all is well. */
  msg: string
  /** From the encoded image to the verdict, in milliseconds; waiting in the queue not included. */
  latencyMs: number
}

/** Figures behind a verdict, for tests and operators; not part of the answer. */
export interface Diagnostics {
  /** Each classifier's own spoof probability, before they are combined and calibrated. */
  rawScores: Record<string, number>
  /** Detected faces with exact edges, the adopted one first. */
  faces: Face[]
  quality: Quality
  /** Milliseconds per stage. */
  stages: { decode: number; detect: number; classify: number }
}

export interface Findings {
  picture: { width: number; height: number }
  faces: readonly [Face, ...Face[]]
  likelihoodMillionths: number
  quality: Quality
  latencyMs: number
}

/** More are neither listed nor counted: docs/design.md, "Where the public contract is silent"; the detectors' maxFaces. */
export const MOST_FACES = 64

/** @param spoofThreshold likelihood (0 to 1) above which a face counts as fake */
export function verdict(found: Findings, spoofThreshold: number, limits: Validity): Verdict {
  const problems = complaints(found.quality, limits)
  const number = found.faces.length < MOST_FACES ? `${found.faces.length}` : `${MOST_FACES} or more`
  const several = found.faces.length > 1 ? [`${number} faces were detected; the largest one was judged.`] : []
  const rects = found.faces.map((face) => insidePicture(face.box, found.picture))
  return {
    isFakeFace: found.likelihoodMillionths > Math.round(spoofThreshold * 1_000_000),
    likelihoodMillionths: found.likelihoodMillionths,
    isValidFace: problems.length === 0,
    brightnessHundredths: Math.round(found.quality.brightness * 100),
    face: insidePicture(found.faces[0].box, found.picture),
    faces: rects,
    msg: [...problems, ...several].join(' '),
    latencyMs: Math.round(found.latencyMs),
  }
}
