import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../built.ts'
import { type Model, modelsOf, type ResolvedSet } from './manifest.ts'

/** A weights file is in none of the places looked at. The message says where it was looked for and what to do. */
export class WeightsMissing extends Error {
  override readonly name = 'WeightsMissing'
}

/** A weights file is there, but is not the one the manifest describes. */
export class WeightsCorrupt extends Error {
  override readonly name = 'WeightsCorrupt'
}

/** A weights file is there, but this process may not read it, or it is no file. */
export class WeightsUnreadable extends Error {
  override readonly name = 'WeightsUnreadable'
}

/** The package's own models/ folder. */
export const packagedModels = fileURLToPath(new URL('models/', packageRoot))

/** Folders looked at for weights, in this order. */
export function weightPlaces(modelsDir?: string): string[] {
  return modelsDir === undefined || modelsDir === '' ? [packagedModels] : [modelsDir, packagedModels]
}

/**
 * Reads and verifies every file of a set.
 *
 * @returns bytes by file name, in shared memory, so that each worker thread sees the same verified bytes
 * @throws WeightsMissing | WeightsCorrupt | WeightsUnreadable
 */
export async function loadWeights(
  set: Pick<ResolvedSet, 'detector' | 'classifiers'>,
  modelsDir?: string,
): Promise<Record<string, Uint8Array>> {
  const loaded: Record<string, Uint8Array> = {}
  for (const model of modelsOf(set)) loaded[model.file] = await load(model, modelsDir)
  return loaded
}

export type WeightsState =
  | { state: 'present'; path: string }
  | { state: 'missing' }
  | { state: 'corrupt'; path: string; sha256: string }
  | { state: 'unreadable'; path: string; reason: string }

/** What is known of one file, for `liveness models list` and `verify`. The first place that has the file counts. */
export async function inspectWeights(model: Model, modelsDir?: string): Promise<WeightsState> {
  const found = await find(model, modelsDir)
  if (!found) return { state: 'missing' }
  if ('unreadable' in found) return { state: 'unreadable', path: found.path, reason: found.unreadable }
  const sha256 = sha256Of(found.bytes)
  return sha256 === model.sha256
    ? { state: 'present', path: found.path }
    : { state: 'corrupt', path: found.path, sha256 }
}

async function load(model: Model, modelsDir?: string): Promise<Uint8Array> {
  const found = await find(model, modelsDir)
  if (!found) {
    throw new WeightsMissing(
      `The model file ${model.file} is missing. Looked in ${weightPlaces(modelsDir).join(' and ')}. ${remedy(model, modelsDir)}`,
    )
  }
  if ('unreadable' in found) {
    throw new WeightsUnreadable(
      `The model file ${found.path} cannot be read: ${found.unreadable}. Make it readable to this user.`,
    )
  }
  const sha256 = sha256Of(found.bytes)
  if (sha256 !== model.sha256) {
    throw new WeightsCorrupt(
      `The model file ${found.path} is damaged or another version: its SHA-256 is ${sha256}, models/manifest.json ` +
        `expects ${model.sha256}. Delete it. ${remedy(model, modelsDir)}`,
    )
  }
  const shared = new Uint8Array(new SharedArrayBuffer(found.bytes.length))
  shared.set(found.bytes)
  return shared
}

function remedy(model: Model, modelsDir: string | undefined): string {
  if ('package' in model.upstream) return `${unavailableReason(model)}.`
  if (model.url === undefined) {
    return `It cannot be downloaded (${unavailableReason(model)}): put it into ${modelsDir ?? 'MODELS_DIR'} or ${packagedModels}.`
  }
  return `Run "liveness models download", or ${byHand(modelsDir, 'it')}.`
}

/** What to do with weights that somebody has: completes "or …". */
export function byHand(modelsDir: string | undefined, what: string): string {
  return modelsDir === undefined ? `set MODELS_DIR to a folder that holds ${what}` : `put ${what} into ${modelsDir}`
}

/** Why a model without a download address has none, and what it was made from. */
export function unavailableReason({ upstream, conversion }: Model): string {
  const reason = conversion ?? 'No public address holds exactly these bytes.'
  if ('package' in upstream) return `Source: the package ${upstream.package} ${upstream.version}; run "npm ci"`
  if ('training' in upstream) return `Source: trained here, see ${upstream.training}; it is part of this repository`
  return `${reason} Source: ${upstream.repository}, commit ${upstream.commit}, ${upstream.path}`
}

type Found = { path: string } & ({ bytes: Buffer } | { unreadable: string })

/** The file in the first of the places that has it. What a dependency brings along is found where Node finds that. */
async function find(model: Model, modelsDir?: string): Promise<Found | undefined> {
  const paths = weightPlaces(modelsDir).map((place) => join(place, model.file))
  const packaged = inPackage(model)
  for (const path of packaged === undefined ? paths : [...paths, packaged]) {
    try {
      return { path, bytes: await readFile(path) }
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ENOTDIR') return { path, unreadable: unreadable[code] ?? message }
    }
  }
  return undefined
}

const unreadable: Readonly<Record<string, string>> = { EACCES: 'permission denied', EISDIR: 'it is a folder' }

const { resolve } = createRequire(import.meta.url)

function inPackage({ upstream }: Model): string | undefined {
  if (!('package' in upstream)) return undefined
  try {
    return resolve(`${upstream.package}/${upstream.path}`)
  } catch {
    return undefined // the package is not installed; the caller says what is missing
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
