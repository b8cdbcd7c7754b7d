/**
 * `audit verify` of a whole system against the bare client reading the same log and doing nothing with it, and what it
 * keeps in memory on the way. AUDIT_EVENTS sets the size of the log; AUDIT_SYSTEM names a folder that keeps what was
 * written for further runs, and AUDIT_PROFILE one for a profile of the processor's time.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectEventStore } from '../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../src/eventstore/embedded/start.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'
import { ensureDatabase, migrate } from '../src/postgres/migrate.ts'
import { connect } from '../src/postgres/pool.ts'
import { foldLog, writeLog } from './audit-fill.ts'
import type { AuditFigures } from './audit-run.ts'
import type { Figure } from './stack.ts'

const EVENTS = Number(process.env.AUDIT_EVENTS ?? 100_000)

export async function benchAudit(): Promise<Figure[]> {
  const kept = process.env.AUDIT_SYSTEM
  const folder = kept ?? (await mkdtemp(join(tmpdir(), 'liveness-bench-')))
  await mkdir(folder, { recursive: true })
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const postgres = await startEmbeddedPostgres({ dataDir: folder, durable: false })
  try {
    const url = await ensureDatabase(postgres.url, 'liveness')
    const eventsUrl = await ensureDatabase(postgres.url, 'eventstore')
    const written = await done(join(folder, 'log'), () => writeLog(eventsUrl, EVENTS))
    const server = await startEmbeddedEventStore({ databaseUrl: eventsUrl })
    try {
      const folded = await done(join(folder, 'tables'), () => fold(url, server.url))
      return [
        { name: 'to write the log and to fold it into every table, s', value: `${written}, ${folded}` },
        ...figuresOf(await verifyInChild(server.url, url)),
      ]
    } finally {
      await server.stop()
    }
  } finally {
    await postgres.stop()
    if (kept === undefined) await rm(folder, { recursive: true, force: true })
  }
}

/** Seconds that it took, now or when the folder was made. */
async function done(path: string, work: () => Promise<void>): Promise<string> {
  const before = await readFile(path, 'utf8').catch(() => null)
  if (before !== null) return before
  const from = performance.now()
  await work()
  const seconds = ((performance.now() - from) / 1_000).toFixed(0)
  await writeFile(path, seconds)
  return seconds
}

async function fold(databaseUrl: string, eventStoreUrl: string): Promise<void> {
  await migrate(databaseUrl)
  const [store, pool] = [connectEventStore(eventStoreUrl), connect(databaseUrl)]
  await foldLog(store, pool).finally(() => Promise.all([store.close(), pool.end()]))
}

function figuresOf({ events, read, log, whole, records, differences, memory }: AuditFigures): Figure[] {
  const each = (ms: number) => ((events / ms) * 1_000).toFixed(0)
  const cpu = ({ cpuMs }: { cpuMs: number }) => ((cpuMs / events) * 1_000).toFixed(0)
  return [
    { name: `bare client read of ${events} events, events/s`, value: each(read.ms) },
    { name: `verification, ${records} sealed records among it, events/s`, value: each(whole.ms) },
    { name: 'of it the log, without each stream by itself, events/s', value: each(log.ms) },
    {
      name: 'both against bare read',
      value: `${(read.ms / whole.ms).toFixed(2)} and ${(read.ms / log.ms).toFixed(2)}`,
    },
    {
      name: 'of its own process, bare read, verification and the log alone, µs of CPU an event',
      value: [read, whole, log].map(cpu).join(', '),
    },
    { name: 'differences in the untouched system', value: `${differences}`, goal: '0' },
    ...memory.map(({ at, peakMiB, liveMiB }) => ({
      name: `memory at ${at}: peak of the process, live, MiB`,
      value: `${peakMiB}, ${liveMiB}`,
      goal: 'flat',
    })),
  ]
}

/** A process of its own: nothing but the verification is in its memory. */
async function verifyInChild(eventStoreUrl: string, databaseUrl: string): Promise<AuditFigures> {
  const profile = process.env.AUDIT_PROFILE
  const child = fork(fileURLToPath(new URL('./audit-run.ts', import.meta.url)), [eventStoreUrl, databaseUrl], {
    execArgv: [
      '--import',
      'tsx',
      '--expose-gc',
      ...(profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profile]),
    ],
  })
  const exited = once(child, 'exit')
  const figures = await Promise.race([once(child, 'message'), exited.then(() => [])])
  const [code] = await exited
  if (figures[0] === undefined) throw new Error(`the verification ended with ${code}`)
  return figures[0] as AuditFigures
}
