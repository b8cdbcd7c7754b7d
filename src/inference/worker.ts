import { workerData } from 'node:worker_threads'
import sharp from 'sharp'
import { type Answer, createCheck } from './check.ts'
import { type ImageFormat, InvalidImage } from './image-format.ts'
import type { ResolvedSet } from './manifest.ts'

/** What every inference thread starts with. The weights are those whose checksums were verified, in shared memory. */
export interface WorkerSettings {
  set: ResolvedSet
  spoofThreshold: number
  weights: Record<string, Uint8Array>
}

export type WorkerTask = { kind: 'warm-up' } | { kind: 'check'; bytes: Uint8Array; format: ImageFormat }

/** Errors lose their class between threads, so a refusal travels as data. */
export type WorkerResult = { kind: 'warm' } | { kind: 'answer'; answer: Answer } | { kind: 'invalid'; reason: string }

// libvips would keep pixels for later operations on the same file; no picture may outlive its request.
sharp.cache(false)
// The pool already uses every core.
sharp.concurrency(1)

const settings = workerData as WorkerSettings

const check = createCheck(settings.set, settings.spoofThreshold, async (file) => {
  const shared = settings.weights[file]
  if (!shared) throw new Error(`The weights of ${file} were not handed to the worker`)
  return shared.slice() // onnxruntime does not take shared memory
})
// Each task awaits the models itself and reports their failure; unhandled, the thread would die before it can say why.
check.catch(() => {})

export default async function run(task: WorkerTask): Promise<WorkerResult> {
  const judge = await check
  if (task.kind === 'warm-up') return { kind: 'warm' }
  try {
    return { kind: 'answer', answer: await judge(task.bytes, task.format) }
  } catch (error) {
    if (error instanceof InvalidImage) return { kind: 'invalid', reason: error.message }
    throw error
  }
}
