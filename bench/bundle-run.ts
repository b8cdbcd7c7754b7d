/** The process that bench/bundle.ts measures: `bundle-run.ts BUNDLE PUBLIC_KEY`, figures by message. */
import { createPublicKey } from 'node:crypto'
import { createReadStream, readFileSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { checkBundle } from '../src/audit/check-bundle.ts'

export interface BundleFigures {
  readonly lines: number
  /** Reading the file, lines parsed and nothing done with them. */
  readonly bareMs: number
  readonly verifyMs: number
  /** Peak until 10 %, 50 % and 100 % of the file, MiB. */
  readonly rss: readonly number[]
  readonly differences: number
}

const [path = '', keyPath = ''] = process.argv.slice(2)
const key = createPublicKey(readFileSync(keyPath))

let lines = 0
const bareFrom = performance.now()
for await (const line of createInterface({ input: createReadStream(path) })) {
  JSON.parse(line)
  lines += 1
}
const bareMs = performance.now() - bareFrom

const { size } = statSync(path)
const marks = [0.1, 0.5, 1].map((share) => Math.floor(share * size))
const rss: number[] = []
async function* chunks(): AsyncGenerator<Buffer> {
  let [read, peak] = [0, 0]
  for await (const chunk of createReadStream(path)) {
    yield chunk as Buffer
    read += (chunk as Buffer).length
    peak = Math.max(peak, process.memoryUsage.rss())
    while (rss.length < marks.length && read >= (marks[rss.length] ?? 0)) rss.push(Math.round(peak / 1_048_576))
  }
}
const verifyFrom = performance.now()
const { differences } = await checkBundle(chunks(), [key])
const verifyMs = performance.now() - verifyFrom
for (const difference of differences.slice(0, 5)) console.error(difference)
const figures: BundleFigures = { lines, bareMs, verifyMs, rss, differences: differences.length }
process.send?.(figures)
process.disconnect()
