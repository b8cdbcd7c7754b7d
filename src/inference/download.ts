import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Model } from './manifest.ts'
import { sha256Of, unavailableReason } from './weights.ts'

/** A file could not be fetched. The message is a sentence for the operator; what was received so far is kept. */
export class DownloadFailed extends Error {
  override readonly name = 'DownloadFailed'
  /** What happened, without what was kept and what to do. */
  readonly what: string
  constructor(what: string, remedy: string, options?: ErrorOptions) {
    super(`${what}. ${remedy}`, options)
    this.what = what
  }
}

export interface DownloadOptions {
  models: readonly Model[]
  /** Folder the files are put into; created when absent. */
  into: string
  /** Bytes of the file that are on disk, and how many it has. */
  onProgress?: (file: string, bytes: number, total: number) => void
  fetch?: typeof fetch
  /** A server that sends nothing for this long is given up. Default 30 s. */
  idleMs?: number
  /** Gives everything up. */
  signal?: AbortSignal
}

export type DownloadOutcome =
  | { file: string; outcome: 'downloaded' | 'already there' }
  | { file: string; outcome: 'not downloadable'; reason: string }

/**
 * Fetches the weights that are not in the folder yet, one after the other. Each is received into FILE.part, which a
 * later run continues (HTTP Range), verified, and renamed: a file under its own name is always whole.
 *
 * @throws DownloadFailed
 */
export async function downloadWeights(options: DownloadOptions): Promise<DownloadOutcome[]> {
  await mkdir(options.into, { recursive: true })
  const outcomes: DownloadOutcome[] = []
  for (const model of options.models) outcomes.push(await downloadOne(model, options))
  return outcomes
}

async function downloadOne(model: Model, options: DownloadOptions): Promise<DownloadOutcome> {
  const target = join(options.into, model.file)
  if ((await hashOfFile(target)) === model.sha256) return { file: model.file, outcome: 'already there' }
  if (model.url === undefined) {
    return { file: model.file, outcome: 'not downloadable', reason: unavailableReason(model) }
  }
  const part = `${target}.part`
  // More than the whole file, or the whole of another one, cannot be continued.
  if ((await sizeOf(part)) >= model.bytes) await rm(part)
  await receive(model, model.url, part, options)
  const sha256 = sha256Of(await readFile(part))
  if (sha256 !== model.sha256) {
    await rm(part)
    throw new DownloadFailed(
      `${model.url} does not hold the expected file: its SHA-256 is ${sha256}, models/manifest.json expects ` +
        model.sha256,
      'Nothing was kept.',
    )
  }
  await rename(part, target)
  return { file: model.file, outcome: 'downloaded' }
}

async function receive(model: Model, url: string, part: string, options: DownloadOptions): Promise<void> {
  const before = await sizeOf(part)
  const idle = new AbortController()
  const idleMs = options.idleMs ?? 30_000
  const timer = setTimeout(() => idle.abort(new Error(`nothing was received for ${idleMs / 1000} s`)), idleMs)
  let received = before
  try {
    const response = await (options.fetch ?? fetch)(url, {
      headers: before > 0 ? { range: `bytes=${before}-` } : {},
      signal: options.signal ? AbortSignal.any([idle.signal, options.signal]) : idle.signal,
    })
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status} ${response.statusText}`)
    // A server that does not know ranges answers 200 with the file from its start.
    const resumed = response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${before}-`)
    if (response.status === 206 && !resumed) throw new Error('the server sent another part of the file than asked for')
    received = resumed ? before : 0
    const file = await open(part, resumed ? 'a' : 'w')
    try {
      for await (const chunk of response.body) {
        timer.refresh()
        received += chunk.length
        if (received > model.bytes) break // not our file; the checksum says so in words
        await file.writeFile(chunk)
        options.onProgress?.(model.file, received, model.bytes)
      }
      await file.sync()
    } finally {
      await file.close()
    }
    if (received < model.bytes) throw new Error('the connection ended early')
  } catch (error) {
    throw new DownloadFailed(
      `${model.file} could not be downloaded from ${url}: ${causeOf(error)}`,
      received > 0
        ? `${received} of ${model.bytes} bytes are kept; run the command again to continue.`
        : 'Check the connection and run the command again, or set MODELS_DIR to a folder that holds the file.',
      { cause: error },
    )
  } finally {
    clearTimeout(timer)
  }
}

/** fetch says only "fetch failed"; its cause says why (ECONNREFUSED, ENOTFOUND …). */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof AggregateError ? error.cause.errors[0] : error.cause
  return cause instanceof Error ? cause.message : error.message
}

async function sizeOf(path: string): Promise<number> {
  const stats = await stat(path).catch(absent)
  return stats?.size ?? 0
}

async function hashOfFile(path: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  } catch (error) {
    return absent(error)
  }
  return hash.digest('hex')
}

/** Nothing there is an answer; anything else (no permission, a folder) is an error. */
function absent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
  throw error
}
