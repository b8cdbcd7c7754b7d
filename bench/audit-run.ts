/** The process that bench/audit.ts measures: `audit-run.ts EVENTSTORE_URL DATABASE_URL`, figures by message. */
import { auditedPrefixes } from '../src/audit/heads.ts'
import { verify } from '../src/audit/verify.ts'
import { connectEventStore } from '../src/eventstore/client.ts'
import { connect } from '../src/postgres/pool.ts'

export interface AuditFigures {
  readonly events: number
  readonly readMs: number
  /** Until the log was read; then every stream is read by itself. */
  readonly logMs: number
  readonly verifyMs: number
  readonly records: number
  readonly differences: number
  /** Peak until 10 %, 50 % and 100 % of the log, and at the end, MiB. */
  readonly rss: readonly number[]
}

const [eventStoreUrl = '', databaseUrl = ''] = process.argv.slice(2)
const store = connectEventStore(eventStoreUrl)
const pool = connect(databaseUrl)

let events = 0
const readFrom = performance.now()
for await (const _ of store.readAll({ prefixes: auditedPrefixes })) events += 1
const readMs = performance.now() - readFrom

const marks = [0.1, 0.5, 1].map((share) => Math.floor(share * events))
const rss: number[] = []
let peak = 0
let logMs = 0
const verifyFrom = performance.now()
const report = await verify({
  store,
  pool,
  anchors: [],
  signal: new AbortController().signal,
  onEvent(passed) {
    if (passed % 1_000 === 0 || marks.includes(passed)) peak = Math.max(peak, process.memoryUsage.rss())
    if (marks.includes(passed)) rss.push(Math.round(peak / 1_048_576))
    if (passed === events) logMs = performance.now() - verifyFrom
  },
})
const verifyMs = performance.now() - verifyFrom
rss.push(Math.round(peak / 1_048_576))
const { records, differences } = report
for (const difference of differences.slice(0, 5)) console.error(difference)
const figures: AuditFigures = { events, readMs, logMs, verifyMs, records, differences: differences.length, rss }
process.send?.(figures)
process.disconnect()
await pool.end()
await store.close()
