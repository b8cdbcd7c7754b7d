/**
 * `audit verify` of a whole system against the bare client reading the same log and doing nothing with it, and what it
 * keeps in memory on the way. AUDIT_EVENTS sets the size of the log.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { connectEventStore } from '../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../src/eventstore/embedded/start.ts'
import type { EventStore } from '../src/eventstore/store.ts'
import { consumeBatch } from '../src/metering/consume.ts'
import { decideForIn } from '../src/metering/metering-log.ts'
import { postgresTables } from '../src/metering/postgres-tables.ts'
import { createRounds } from '../src/metering/rounds.ts'
import type { MeteringRules } from '../src/metering/rules.ts'
import { ensureMeteringTables } from '../src/metering/schema.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'
import { ensureDatabase, migrate } from '../src/postgres/migrate.ts'
import { connect } from '../src/postgres/pool.ts'
import { allProjections, projectedPrefixes } from '../src/projections/all.ts'
import { ensureReadModels, liveGeneration } from '../src/projections/generations.ts'
import { project } from '../src/projections/project.ts'
import { emptyFeed, type FeedItem, fedPrefixes, feed } from '../src/relay/feed.ts'
import { appendTick } from '../src/relay/ticks.ts'
import { createCustomerLog } from '../test/support/customer-log.ts'
import { memoryDoubts } from '../test/support/doubts.ts'
import type { AuditFigures } from './audit-run.ts'
import type { Figure } from './stack.ts'

const EVENTS = Number(process.env.AUDIT_EVENTS ?? 100_000)
const CUSTOMERS = 50
/** A month: most calls are overage. */
const CREDITS = 100
/** The log is written and metered in so many steps of four days, over five months. */
const STEPS = 36
const MAX_BATCH = 1_000

const rules: MeteringRules = {
  graceMs: 600_000,
  windowHours: 24,
  monthCloseHour: 6,
  carryForward: true,
  heartbeat: false,
  submit: false,
  region: 'us-east-1',
}

export async function benchAudit(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const postgres = await startEmbeddedPostgres({ dataDir: folder, durable: false })
  const url = await ensureDatabase(postgres.url, 'liveness')
  const server = await startEmbeddedEventStore({ databaseUrl: await ensureDatabase(postgres.url, 'eventstore') })
  await migrate(url)
  const pool = connect(url)
  const store = connectEventStore(server.url)
  try {
    await writeSystem(store, pool)
    const { events, readMs, logMs, verifyMs, records, rss, differences } = await verifyInChild(server.url, url)
    const [read, log, verified] = [events / readMs, events / logMs, events / verifyMs]
    return [
      { name: `bare client read of ${events} events, events/s`, value: (read * 1_000).toFixed(0) },
      { name: `verification, ${records} sealed records among it, events/s`, value: (verified * 1_000).toFixed(0) },
      { name: 'of it the log, without each stream by itself, events/s', value: (log * 1_000).toFixed(0) },
      { name: 'the log against bare read', value: (log / read).toFixed(2) },
      { name: 'differences in the untouched system', value: `${differences}`, goal: '0' },
      {
        name: 'peak memory at 10 %, 50 % and 100 % of the log and at the end, MiB',
        value: rss.join(', '),
        goal: 'flat',
      },
    ]
  } finally {
    await pool.end()
    await store.close()
    await server.stop()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** A process of its own: nothing but the verification is in its memory. */
async function verifyInChild(eventStoreUrl: string, databaseUrl: string): Promise<AuditFigures> {
  const child = fork(fileURLToPath(new URL('./audit-run.ts', import.meta.url)), [eventStoreUrl, databaseUrl], {
    execArgv: ['--import', 'tsx'],
  })
  const exited = once(child, 'exit')
  const figures = await Promise.race([once(child, 'message'), exited.then(() => [])])
  const [code] = await exited
  if (figures[0] === undefined) throw new Error(`the verification ended with ${code}`)
  return figures[0] as AuditFigures
}

/** Calls over months, sealed and closed on the way as they would be, read models beside them. */
async function writeSystem(store: EventStore, pool: pg.Pool): Promise<void> {
  await ensureReadModels(pool)
  await ensureMeteringTables(pool)
  let now = Date.parse('2026-01-01T00:00:00.000Z')
  const clock = { now: () => new Date(now).toISOString() }
  const log = createCustomerLog(store, CUSTOMERS, { now: clock.now, monthlyLimit: CREDITS })
  const tables = postgresTables(pool)
  const onAlarm = (_: string, message: string) => console.error(message)
  const decideFor = decideForIn({ tables, store, actor: 'system', onAlarm })
  const onTrouble = (_: string, error: unknown) => console.error(error)
  const alarms = { onAlarm, onWarn: () => {} }
  const rounds = createRounds({ tables, decideFor, doubts: memoryDoubts(), rules, now: clock.now, alarms, onTrouble })
  const { signal } = new AbortController()
  let state = emptyFeed

  async function fold(): Promise<void> {
    const parts = new Map<number, FeedItem[]>()
    const flush = async (partition: number) => {
      const items = parts.get(partition) ?? []
      parts.set(partition, [])
      const fed = items.map((item) => ({ item, offset: null }))
      if (fed.length > 0) await consumeBatch({ tables, store, graceMs: rules.graceMs, onAlarm }, partition, fed)
    }
    for await (const event of store.readAll({ prefixes: fedPrefixes, after: state.position ?? undefined })) {
      const step = feed(state, event)
      state = step.state
      for (const item of step.items) {
        const part = parts.get(item.partition) ?? []
        parts.set(item.partition, part)
        if (part.push(item) >= MAX_BATCH) await flush(item.partition)
      }
    }
    for (const partition of parts.keys()) await flush(partition)
  }

  for (let step = 1; step <= STEPS; step++) {
    await log.write((EVENTS * step) / STEPS - log.written, 50)
    now += 4 * 24 * 3_600_000
    await appendTick({ store, clock, databaseClock: async () => new Date(now) })
    await fold()
    await rounds.seal(signal)
    await rounds.close(signal)
  }
  const ending: EventStore = {
    ...store,
    subscribe: ({ after }) => store.readAll({ prefixes: projectedPrefixes, after }),
  }
  const projections = { pool, store: ending, projections: allProjections, prefixes: projectedPrefixes, signal }
  for await (const _ of project(await liveGeneration(pool), projections));
}
