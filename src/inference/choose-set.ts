import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DownloadFailed, downloadWeights } from './download.ts'
import { type Manifest, type Model, modelsOf, type ResolvedSet, resolveSet } from './manifest.ts'
import { byHand, inspectWeights, packagedModels, type WeightsState, weightPlaces } from './weights.ts'

export interface Choice {
  manifest: Manifest
  /** The set asked for (MODEL_SET); undefined: the best one that is here or can be fetched. */
  wanted: string | undefined
  /** Looked at for weights, and downloaded into, before the package's models/ folder. */
  modelsDir?: string | undefined
  /** Keeps the note that a download was tried. */
  dataDir: string
  /**
   * Told in one sentence what runs when it is not the best, why, and what to do; and how a download goes. A warning
   * where somebody expects otherwise: a file is there and is no good, or a folder was named and does not do.
   */
  say: (sentence: string, level: 'info' | 'warn') => void
  /** A server that sends nothing for this long is given up. Default 5 s. */
  idleMs?: number
  /** The whole download is given up after this time. Default 60 s. */
  limitMs?: number
}

/** In DATA_DIR: of which set and version a download was tried, and why it failed. */
const NOTE = 'model-download.json'

/**
 * Which model set runs.
 *
 * One that is asked for by name runs or stops the start. Otherwise the first of the manifest's preferred sets whose
 * weights are all here does. Before another than the best takes over, its missing weights are fetched, if every one of
 * them has an address: once for each data directory and version, with short time-outs, because a service that starts
 * without the Internet must start.
 *
 * @throws ManifestError
 */
export async function chooseSet(choice: Choice): Promise<ResolvedSet> {
  const { manifest, wanted, modelsDir, say } = choice
  if (wanted !== undefined) return resolveSet(manifest, wanted)
  const [best, ...others] = preferredSets(manifest)
  const faults = await faultsOf(best, modelsDir)
  if (faults.length === 0) return best
  const standIn = await firstComplete(others, modelsDir)
  // Nothing to fall back on: whoever loads the best one says what is missing.
  if (standIn === undefined) return best
  const obstacle = obstacleOf(faults, modelsDir) ?? (await fetchOnce(best, faults, choice))
  if (obstacle === undefined) return best
  say(
    `Runs with the model set ${standIn.name}. The preferred set ${best.name} ${inWords(faults, modelsDir)}: ` +
      `${obstacle} (docs/models.md)`,
    modelsDir !== undefined || faults.some(isThere) ? 'warn' : 'info',
  )
  return standIn
}

type Fault = { model: Model } & Exclude<WeightsState, { state: 'present' }>

async function faultsOf(set: ResolvedSet, modelsDir: string | undefined): Promise<Fault[]> {
  const states = await Promise.all(
    modelsOf(set).map(async (model) => ({ model, ...(await inspectWeights(model, modelsDir)) })),
  )
  return states.filter((one) => one.state !== 'present')
}

const isThere = ({ state }: Fault): boolean => state !== 'missing'

/** What keeps a set from running; completes "The set …". Undefined when nothing does. */
export async function shortcomingsOf(set: ResolvedSet, modelsDir: string | undefined): Promise<string | undefined> {
  const faults = await faultsOf(set, modelsDir)
  return faults.length === 0 ? undefined : inWords(faults, modelsDir)
}

function inWords(faults: readonly Fault[], modelsDir: string | undefined): string {
  const missing = faults.flatMap(({ state, model }) => (state === 'missing' ? [model.file] : []))
  const places = weightPlaces(modelsDir).join(' and ')
  const lacks = missing.length > 0 ? [`lacks ${missing.join(', ')} (looked in ${places})`] : []
  return [...lacks, ...faults.flatMap(harmInWords)].join(' and ')
}

function harmInWords(fault: Fault): string[] {
  if (fault.state === 'missing') return []
  return fault.state === 'corrupt'
    ? [`cannot use ${fault.path}, which is damaged or another version`]
    : [`cannot read ${fault.path} (${fault.reason})`]
}

/** The best set whose weights are all here; the best of all when none is complete. @throws ManifestError */
export async function bestPresent(manifest: Manifest, modelsDir: string | undefined): Promise<ResolvedSet> {
  const [best, ...others] = preferredSets(manifest)
  return (await firstComplete([best, ...others], modelsDir)) ?? best
}

function preferredSets(manifest: Manifest): [ResolvedSet, ...ResolvedSet[]] {
  const [best, ...others] = manifest.preferred
  return [resolveSet(manifest, best), ...others.map((name) => resolveSet(manifest, name))]
}

async function firstComplete(sets: ResolvedSet[], modelsDir: string | undefined): Promise<ResolvedSet | undefined> {
  for (const set of sets) if ((await faultsOf(set, modelsDir)).length === 0) return set
  return undefined
}

/** Why a download could not complete the set, so that none is begun. */
function obstacleOf(faults: readonly Fault[], modelsDir: string | undefined): string | undefined {
  if (faults.some(({ state }) => state === 'unreadable')) return 'make what cannot be read readable to this user'
  const nowhere = faults.filter(({ model }) => model.url === undefined).length
  if (nowhere === 0) return undefined
  const have = nowhere === 1 ? 'has' : 'have'
  return `${nowhere} of them ${have} no public address; ${byHand(modelsDir, 'the right files')}`
}

/** @returns why the weights are still not here, or undefined when they are */
async function fetchOnce(set: ResolvedSet, faults: readonly Fault[], choice: Choice): Promise<string | undefined> {
  const { dataDir, modelsDir, say } = choice
  const models = faults.map(({ model }) => model)
  const note = join(dataDir, NOTE)
  const before = await readNote(note)
  const again = `run "npx liveness models download", or ${byHand(modelsDir, 'the right files')}`
  if (before?.set === set.name && before.version === set.version) {
    return `an earlier start could not fetch them; ${again}`
  }
  const bytes = models.reduce((sum, model) => sum + model.bytes, 0)
  const harm = faults.flatMap(harmInWords)
  say(
    `Fetching the weights of the model set ${set.name} once: ${models.length} files, ${(bytes / 1e6).toFixed(1)} MB.` +
      (harm.length > 0 ? ` It ${harm.join(' and ')}.` : ''),
    harm.length > 0 ? 'warn' : 'info',
  )
  let failure: string | undefined
  try {
    await downloadWeights({
      models,
      into: modelsDir ?? packagedModels,
      idleMs: choice.idleMs ?? 5_000,
      signal: AbortSignal.timeout(choice.limitMs ?? 60_000),
      onProgress: (file, received, total) => {
        if (received === total) say(`${file}: ${(total / 1e6).toFixed(1)} MB received.`, 'info')
      },
    })
  } catch (error) {
    failure = error instanceof DownloadFailed ? error.what : error instanceof Error ? error.message : String(error)
  }
  if (failure === undefined) return undefined
  await mkdir(dataDir, { recursive: true })
  await writeFile(note, `${JSON.stringify({ set: set.name, version: set.version, failure })}\n`)
  return `${failure}; ${again}`
}

async function readNote(path: string): Promise<{ set?: unknown; version?: unknown } | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch {
    return undefined // not there, or cut off by a crash: the download is tried again
  }
}
