import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { packageRoot } from '../src/built.ts'
import { decodeBase64 } from '../src/inference/base64.ts'
import { createCheck } from '../src/inference/check.ts'
import { formatOf, type ImageFormat } from '../src/inference/image-format.ts'
import { startInference } from '../src/inference/inference.ts'
import { loadManifest, modelsOf, type ResolvedSet, resolveSet } from '../src/inference/manifest.ts'
import { inspectWeights, loadWeights } from '../src/inference/weights.ts'
import { drawnFace } from '../test/support/drawn-face.ts'

export interface Row {
  name: string
  value: string
  goal?: string
}

const CONCURRENCY = 8
const ROUND_MS = 3_000
const ROUNDS = 3

interface Photograph {
  bytes: Buffer
  format: ImageFormat
}

type Stages = { decode: number; detect: number; classify: number }

/**
 * Checks per second of every model set that is here, through the product's pool with one thread and with two, as a
 * multiple of what sharp alone decodes; and against a bare loop of decode, detect, classify in one process, without
 * pool or queue. All in one run: rounds alternate and medians are compared, so that other load on the machine meets
 * all alike. Needs the compiled worker (npm run build). The photographs are those of ../shared/faces, else a drawn face.
 */
export async function benchInference(): Promise<Row[]> {
  const beside = fileURLToPath(new URL('../shared/models/', packageRoot))
  const modelsDir = process.env.MODELS_DIR ?? (existsSync(beside) ? beside : undefined)
  const photographs = await readPhotographs(new URL('../shared/faces/', packageRoot))
  const sets = await setsHere(modelsDir)
  sharp.cache(false)
  sharp.concurrency(1)
  const perSecond = new Map<string, number[]>()
  const note = (name: string, value: number) => perSecond.set(name, [...(perSecond.get(name) ?? []), value])
  const stages = new Map<string, Stages[]>()
  const threadCounts = [...new Set([1, 2, availableParallelism()])]

  for (let round = 0; round < ROUNDS; round++) {
    for (const threads of threadCounts) note(`decode ${threads}`, await rate(threads, decodeOnly, photographs))
    for (const set of sets) {
      const weights = await loadWeights(set, modelsDir)
      const bare = await createCheck(set, 0.15, async (file) => (weights[file] as Uint8Array).slice(), 1)
      const judge = async ({ bytes, format }: Photograph) => {
        const { diagnostics } = await bare(bytes, format)
        stages.set(set.name, [...(stages.get(set.name) ?? []), diagnostics.stages])
      }
      note(`${set.name} bare`, await rate(1, judge, photographs))
      for (const threads of threadCounts) {
        const inference = await startInference({ modelsDir, set, spoofThreshold: 0.15, threads })
        try {
          // The bytes are handed over, so each check gets its own, as each request brings its own.
          const check = ({ bytes, format }: Photograph) => inference.check(new Uint8Array(bytes), format)
          note(`${set.name} ${threads}`, await rate(CONCURRENCY, check, photographs))
        } finally {
          await inference.close()
        }
      }
    }
  }

  const of = (name: string) => median(perSecond.get(name) ?? [])
  const rows: Row[] = [{ name: 'photographs', value: `${photographs.length}` }]
  for (const threads of threadCounts) {
    rows.push({
      name: `sharp's bare decode, ${plural(threads)}`,
      value: `${of(`decode ${threads}`).toFixed(1)} a second`,
    })
  }
  for (const { name } of sets) {
    rows.push({ name: `${name}: bare loop, one thread`, value: `${of(`${name} bare`).toFixed(1)} checks/s` })
    for (const threads of threadCounts) {
      const found = of(`${name} ${threads}`)
      const ratios = [`${(found / of(`decode ${threads}`)).toFixed(3)} × bare decode`]
      if (threads === 1) ratios.push(`${(found / of(`${name} bare`)).toFixed(2)} × the bare loop`)
      rows.push({
        name: `${name}: pool of ${plural(threads)}, ${CONCURRENCY} at once`,
        value: `${found.toFixed(1)} checks/s = ${ratios.join(', ')}`,
        ...(threads === 1 ? { goal: '≥ 0.9 × the bare loop' } : {}),
      })
    }
    for (const stage of ['decode', 'detect', 'classify'] as const) {
      const times = (stages.get(name) ?? []).map((one) => one[stage])
      rows.push({ name: `${name}: ${stage} (bare loop, median)`, value: `${median(times).toFixed(1)} ms` })
    }
  }
  const [first, second] = sets
  if (first && second) {
    for (const threads of threadCounts) {
      const ratio = of(`${second.name} ${threads}`) / of(`${first.name} ${threads}`)
      rows.push({ name: `${second.name} against ${first.name}, ${plural(threads)}`, value: `${ratio.toFixed(2)} ×` })
    }
  }
  rows.push({ name: 'Base64 of 10 MB to bytes, on the main thread', value: `${base64Ms().toFixed(1)} ms` })
  return rows
}

const plural = (threads: number): string => `${threads} thread${threads === 1 ? '' : 's'}`

/** Every preferred set whose weights are all here, the best first. */
async function setsHere(modelsDir: string | undefined): Promise<ResolvedSet[]> {
  const manifest = await loadManifest()
  const here: ResolvedSet[] = []
  for (const name of manifest.preferred) {
    const set = resolveSet(manifest, name)
    const states = await Promise.all(modelsOf(set).map((model) => inspectWeights(model, modelsDir)))
    if (states.every(({ state }) => state === 'present')) here.push(set)
  }
  return here
}

const decodeOnly = ({ bytes }: Photograph) => sharp(bytes).raw().toBuffer()

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

async function readPhotographs(folder: URL): Promise<Photograph[]> {
  if (!existsSync(folder)) return [{ bytes: await drawnFace(), format: 'jpeg' }]
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
