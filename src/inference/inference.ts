import { availableParallelism } from 'node:os'
import { builtModule } from '../built.ts'
import type { Answer } from './check.ts'
import { type ImageFormat, InvalidImage } from './image-format.ts'
import type { ResolvedSet } from './manifest.ts'
import { createPool } from './pool.ts'
import { silenceRuntime } from './telemetry.ts'
import { loadWeights } from './weights.ts'
import type { WorkerResult, WorkerSettings, WorkerTask } from './worker.ts'

export interface InferenceOptions {
  /** Looked at for weights before the package's models/ folder. */
  modelsDir?: string | undefined
  set: ResolvedSet
  /** Likelihood (0 to 1) above which a face counts as fake. */
  spoofThreshold: number
  /** Checks that may wait while all threads are busy. Default 256. */
  queueLimit?: number
  /** Default: one per core. */
  threads?: number
}

export interface Inference {
  /**
   * Judges one picture in a worker thread.
   *
   * @param bytes the encoded picture; it is handed over, and may be empty when the call returns
   * @param signal drops the check while it waits
   * @throws InvalidImage | Overloaded | the signal's reason
   */
  check(bytes: Uint8Array, format: ImageFormat, signal?: AbortSignal): Promise<Answer>
  /** Checks waiting for a thread. */
  queueDepth(): number
  readonly set: { name: string; version: string }
  /** Refuses new checks, finishes those accepted, ends the threads. */
  close(): Promise<void>
}

/**
 * Verifies the weights, starts the threads and waits until each has had the chance to load the models.
 *
 * @throws WeightsMissing | WeightsCorrupt | WeightsUnreadable with a sentence for the operator
 */
export async function startInference(options: InferenceOptions): Promise<Inference> {
  silenceRuntime()
  const { set } = options
  const settings: WorkerSettings = {
    set,
    spoofThreshold: options.spoofThreshold,
    weights: await loadWeights(set, options.modelsDir),
  }
  const threads = options.threads ?? availableParallelism()
  const pool = createPool<WorkerTask, WorkerResult>({
    worker: builtModule(import.meta.url, './worker.js'),
    workerData: settings,
    threads,
    queueLimit: options.queueLimit ?? 256,
  })
  try {
    await Promise.all(Array.from({ length: threads }, () => pool.run({ kind: 'warm-up' })))
  } catch (error) {
    await pool.close()
    throw error
  }
  return {
    async check(bytes, format, signal) {
      const own = transferable(bytes)
      const result = await pool.run({ kind: 'check', bytes: own, format }, [own.buffer], signal)
      if (result.kind === 'invalid') throw new InvalidImage(result.reason)
      if (result.kind !== 'answer') throw new Error(`An inference thread answered "${result.kind}" to a check`)
      return result.answer
    },
    queueDepth: pool.queueDepth,
    set: { name: set.name, version: set.version },
    close: pool.close,
  }
}

/** The bytes in a buffer of their own. Copied only if they share it, as small Buffers share Node's pool. */
function transferable(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes
  const alone = buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength
  return alone ? new Uint8Array(buffer) : new Uint8Array(bytes)
}
