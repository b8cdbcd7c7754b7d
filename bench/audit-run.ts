/** The process that bench/audit.ts measures: `audit-run.ts EVENTSTORE_URL DATABASE_URL`, figures by message. */
import { auditedPrefixes } from '../src/audit/heads.ts'
import { verify } from '../src/audit/verify.ts'
import { connectEventStore } from '../src/eventstore/client.ts'
import { connect } from '../src/postgres/pool.ts'

interface Spent {
  readonly ms: number
  /** Of this process; the event store and Postgres are others. */
  readonly cpuMs: number
}

export interface AuditFigures {
  readonly events: number
  readonly read: Spent
  /** Until the log was read; then every stream is read by itself. */
  readonly log: Spent
  readonly whole: Spent
  readonly records: number
  readonly differences: number
  readonly memory: readonly {
    readonly at: string
    /** The most that the process has held until then. */
    readonly peakMiB: number
    /** What is still referred to. */
    readonly liveMiB: number
  }[]
}

const [eventStoreUrl = '', databaseUrl = ''] = process.argv.slice(2)
const store = connectEventStore(eventStoreUrl)
const pool = connect(databaseUrl)

function since(): () => Spent {
  const [from, cpu] = [performance.now(), process.cpuUsage()]
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return { ms: performance.now() - from, cpuMs: (user + system) / 1_000 }
  }
}
const mib = (bytes: number): number => Math.round(bytes / 1_048_576)

let events = 0
const reading = since()
for await (const _ of store.readAll({ prefixes: auditedPrefixes })) events += 1
const read = reading()

const marks = new Map<number, string>([
  ...[10, 50, 100].map((share): [number, string] => [Math.floor((share * events) / 100), `${share} % of the log`]),
  [Math.floor(1.5 * events), '50 % of the streams'],
])
const memory: AuditFigures['memory'][number][] = []
let peak = 0
function remember(at: string): void {
  peak = Math.max(peak, process.memoryUsage.rss())
  globalThis.gc?.()
  memory.push({ at, peakMiB: mib(peak), liveMiB: mib(process.memoryUsage().heapUsed) })
}
let log: Spent | undefined
const verifying = since()
const report = await verify({
  store,
  pool,
  anchors: [],
  signal: new AbortController().signal,
  onEvent(passed) {
    if (passed % 1_000 === 0) peak = Math.max(peak, process.memoryUsage.rss())
    const mark = marks.get(passed)
    if (mark !== undefined) remember(mark)
    if (passed === events) log = verifying()
  },
})
const whole = verifying()
remember('the end')
const { records, differences } = report
for (const difference of differences.slice(0, 5)) console.error(difference)
const figures: AuditFigures = {
  events,
  read,
  log: log ?? whole,
  whole,
  records,
  differences: differences.length,
  memory,
}
process.send?.(figures)
process.disconnect()
await pool.end()
await store.close()
