/** What the benches run on: durable embedded Postgres, event store, migrations and projections, as in production. */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import type { Clock } from '../src/commands/clock.ts'
import { postgresDoubts } from '../src/commands/doubts.ts'
import type { LedgerDeps } from '../src/commands/ledger.ts'
import { connectEventStore } from '../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../src/eventstore/embedded/start.ts'
import type { EventStore } from '../src/eventstore/store.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'
import { ensureDatabase, migrate } from '../src/postgres/migrate.ts'
import { connect } from '../src/postgres/pool.ts'
import { ensureReadModels } from '../src/projections/generations.ts'
import { startProjections } from '../src/projections/runner.ts'
import { createFreshness, type Freshness } from '../src/readmodels/freshness.ts'
import { loadSnapshot } from '../src/readmodels/snapshots.ts'

/** One figure of a bench; `goal` where there is one, beside what was measured. */
export interface Figure {
  readonly name: string
  readonly value: string
  readonly goal?: string
}

export interface Stack {
  readonly pool: pg.Pool
  readonly url: string
  readonly store: EventStore
  readonly ledgerDeps: LedgerDeps
  readonly freshness: Freshness
  stop(): Promise<void>
}

export async function startStack(): Promise<Stack> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const postgres = await startEmbeddedPostgres({ dataDir: folder })
  const url = await ensureDatabase(postgres.url, 'liveness')
  const server = await startEmbeddedEventStore({ databaseUrl: await ensureDatabase(postgres.url, 'eventstore') })
  await migrate(url)
  const pool = connect(url)
  await ensureReadModels(pool)
  const store = connectEventStore(server.url)
  const projections = startProjections({
    pool,
    url,
    store,
    onAlarm: (error) => {
      throw error
    },
  })
  const freshness = createFreshness({ pool, url })
  const clock: Clock = { now: () => new Date().toISOString(), monthHasBegun: async () => {} }
  return {
    pool,
    url,
    store,
    freshness,
    ledgerDeps: {
      store,
      loadSnapshot: loadSnapshot(pool),
      doubts: postgresDoubts(pool),
      clock,
      patience: { sendMs: 5_000, attemptMs: 20_000 },
    },
    async stop() {
      await freshness.close()
      await projections.stop()
      await pool.end()
      await store.close()
      await server.stop()
      await postgres.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** The q-quantile of samples, in the samples' unit. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}

export const ratio = (value: number): string => value.toFixed(2)
