/** Read models and metering tables in Postgres, folded from a log by the product's own projections and consumer. */
import type pg from 'pg'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import { consumeBatch } from '../../src/metering/consume.ts'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { ensureMeteringTables } from '../../src/metering/schema.ts'
import { allProjections, projectedPrefixes } from '../../src/projections/all.ts'
import { ensureReadModels, liveGeneration } from '../../src/projections/generations.ts'
import { project } from '../../src/projections/project.ts'
import { emptyFeed, fedPrefixes, feedAll } from '../../src/relay/feed.ts'
import { allOf } from './world.ts'

/** Everything that is in the log by now; read models already folded go on from where they stand. */
export async function foldTables(store: EventStore, pool: pg.Pool): Promise<void> {
  await foldReadModels(store, pool)
  await foldMeteringTables(store, pool)
}

export async function foldReadModels(store: EventStore, pool: pg.Pool): Promise<void> {
  await ensureReadModels(pool)
  // A subscription would wait for more.
  const ending: EventStore = {
    ...store,
    subscribe: ({ after }) => store.readAll({ prefixes: projectedPrefixes, after }),
  }
  const { signal } = new AbortController()
  const options = { pool, store: ending, projections: allProjections, prefixes: projectedPrefixes, signal }
  for await (const _ of project(await liveGeneration(pool), options));
}

/** @param takes only events of customers that it takes */
export async function foldMeteringTables(
  store: EventStore,
  pool: pg.Pool,
  takes: (event: PositionedEvent) => boolean = () => true,
): Promise<void> {
  await ensureMeteringTables(pool)
  const events = (await allOf(store.readAll({ prefixes: fedPrefixes }))).filter(takes)
  const { items } = feedAll(emptyFeed, events)
  const deps = { tables: postgresTables(pool), store, graceMs: 600_000, onAlarm: () => {} }
  for (const partition of new Set(items.map((item) => item.partition))) {
    const own = items.filter((item) => item.partition === partition).map((item) => ({ item, offset: null }))
    await consumeBatch(deps, partition, own)
  }
}
