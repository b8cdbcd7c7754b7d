import type pg from 'pg'
import { inject } from 'vitest'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { connect } from '../../src/postgres/pool.ts'
import { allProjections, projectedPrefixes } from '../../src/projections/all.ts'
import { type Generation, liveGeneration } from '../../src/projections/generations.ts'
import { type ProjectOptions, project } from '../../src/projections/project.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { freshDatabase } from '../support/postgres.ts'

export interface Database {
  readonly url: string
  readonly pool: pg.Pool
  close(): Promise<void>
}

/** An empty, migrated database. */
export async function openDatabase(): Promise<Database> {
  const url = await freshDatabase(inject('postgresUrl'))
  await migrate(url)
  const pool = connect(url)
  return { url, pool, close: () => pool.end() }
}

/** Every row of every table of a generation, as Postgres writes it. */
export async function dump(pool: pg.Pool, { schema }: Pick<Generation, 'schema'>): Promise<Record<string, string[]>> {
  const rows: Record<string, string[]> = {}
  for (const table of allProjections.flatMap(({ tables }) => Object.keys(tables))) {
    const result = await pool.query<{ row: string }>(`select t::text as row from ${schema}.${table} t order by 1`)
    rows[table] = result.rows.map(({ row }) => row)
  }
  return rows
}

/** Projects into the live generation until it stands at the last event of a memory store. */
export async function projectAll(
  pool: pg.Pool,
  log: MemoryStore,
  options: Partial<ProjectOptions> = {},
): Promise<Generation> {
  let generation = await liveGeneration(pool)
  const target = log.all().at(-1)?.id
  if (generation.checkpoint?.eventId === target) return generation
  const signal = new AbortController().signal
  const all = { pool, store: log, projections: allProjections, prefixes: projectedPrefixes, signal, ...options }
  for await (const progress of project(generation, all)) {
    generation = progress.generation
    if (generation.checkpoint?.eventId === target) break
  }
  return generation
}

/** A store whose subscriptions pass through `change`. */
export function withSubscription(
  store: EventStore,
  change: (events: AsyncIterable<PositionedEvent>) => AsyncIterable<PositionedEvent>,
): EventStore {
  return { ...store, subscribe: (options) => change(store.subscribe(options)) }
}

/** Resolves once `condition` holds; looks every few milliseconds. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('the condition did not come true')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
