import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { packageRoot } from '../src/built.ts'
import { decodeBase64 } from '../src/inference/base64.ts'
import { createCheck } from '../src/inference/check.ts'
import { formatOf, type ImageFormat } from '../src/inference/image.ts'
import { startInference } from '../src/inference/inference.ts'
import { loadManifest, resolveSet } from '../src/inference/manifest.ts'
import { loadWeights } from '../src/inference/weights.ts'

export interface Row {
  name: string
  value: string
  goal?: string
}

const CONCURRENCY = 8
const ROUND_MS = 5_000
const ROUNDS = 3

interface Photograph {
  bytes: Buffer
  format: ImageFormat
}

/**
 * Checks per second through the pool against the bare loop: decode, detect, classify, one picture after the other in
 * one process, without pool or queue, with one and with two computing threads; the faster one counts. Rounds alternate
 * and medians are compared, so that other load on the machine meets all alike. Needs the compiled worker (npm run build).
 */
export async function benchInference(): Promise<Row[]> {
  const modelsDir = process.env.MODELS_DIR ?? fileURLToPath(new URL('../shared/models/', packageRoot))
  const photographs = readPhotographs(new URL('../shared/faces/', packageRoot))
  if (photographs.length === 0) return [{ name: 'inference', value: 'SKIPPED: ../shared/faces is not there' }]

  const set = resolveSet(await loadManifest(), process.env.MODEL_SET ?? 'ensemble')
  const weights = await loadWeights(set, modelsDir)
  sharp.cache(false)
  const read = async (file: string) => (weights[file] ?? new Uint8Array()).slice()
  const bare = { 1: await createCheck(set, 0.15, read, 1), 2: await createCheck(set, 0.15, read, 2) }
  const pools = [...new Set([1, availableParallelism(), 2 * availableParallelism()])]
  const perSecond = new Map<string, number[]>()
  const note = (name: string, value: number) => perSecond.set(name, [...(perSecond.get(name) ?? []), value])
  const stages: { decode: number; detect: number; classify: number }[] = []

  for (let round = 0; round < ROUNDS; round++) {
    for (const threads of [1, 2] as const) {
      const run = async ({ bytes, format }: Photograph) => {
        const { diagnostics } = await bare[threads](bytes, format)
        if (threads === 1) stages.push(diagnostics.stages)
      }
      note(`bare ${threads}`, await rate(1, run, photographs))
    }
    for (const threads of pools) {
      const inference = await startInference({ modelsDir, set, spoofThreshold: 0.15, threads })
      try {
        // The bytes are handed over, so each check gets its own, as each request brings its own.
        note(
          `${threads}`,
          await rate(
            CONCURRENCY,
            (photograph) => inference.check(new Uint8Array(photograph.bytes), photograph.format),
            photographs,
          ),
        )
      } finally {
        await inference.close()
      }
    }
  }

  const [one, two] = [median(perSecond.get('bare 1') ?? []), median(perSecond.get('bare 2') ?? [])]
  const bareRate = Math.max(one, two)
  const rows: Row[] = [
    { name: 'bare loop in one process, one computing thread', value: `${one.toFixed(1)} checks/s` },
    { name: 'bare loop in one process, two computing threads', value: `${two.toFixed(1)} checks/s` },
  ]
  for (const threads of pools) {
    const found = median(perSecond.get(`${threads}`) ?? [])
    const isDefault = threads === availableParallelism()
    rows.push({
      name: `pool of ${threads} thread${threads === 1 ? '' : 's'}${isDefault ? ' (default)' : ''}, ${CONCURRENCY} at once`,
      value: `${found.toFixed(1)} checks/s = ${(found / bareRate).toFixed(2)} × the faster bare loop`,
      ...(isDefault ? { goal: '≥ 0.9 ×' } : {}),
    })
  }
  for (const stage of ['decode', 'detect', 'classify'] as const) {
    rows.push({
      name: `${stage} (bare loop, one thread, median)`,
      value: `${median(stages.map((times) => times[stage])).toFixed(1)} ms`,
    })
  }
  rows.push({ name: 'Base64 of 10 MB to bytes, on the main thread', value: `${base64Ms().toFixed(1)} ms` })
  return rows
}

/** Calls per second over one round, with so many in flight at any time; a first few are not counted. */
async function rate(inFlight: number, run: (photograph: Photograph) => Promise<unknown>, photographs: Photograph[]) {
  let next = 0
  const one = () => run(photographs[next++ % photographs.length] as Photograph)
  await Promise.all(Array.from({ length: inFlight }, one))
  const start = performance.now()
  let done = 0
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() - start < ROUND_MS) {
        await one()
        done++
      }
    }),
  )
  return (done * 1000) / (performance.now() - start)
}

function readPhotographs(folder: URL): Photograph[] {
  if (!existsSync(folder)) return []
  return ['live/', 'spoof/'].flatMap((label) =>
    readdirSync(new URL(label, folder)).flatMap((name) => {
      const bytes = readFileSync(new URL(label + name, folder))
      const format = formatOf(bytes)
      return format ? [{ bytes, format }] : []
    }),
  )
}

function base64Ms(): number {
  const text = Buffer.alloc(7.5 * 1024 * 1024, 'liveness').toString('base64')
  return median(
    Array.from({ length: 9 }, () => {
      const start = performance.now()
      decodeBase64(text)
      return performance.now() - start
    }),
  )
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
