/**
 * Generations of the read models: each has a Postgres schema of its own (`readmodel_7`) and one checkpoint. Readers ask
 * the views of schema `readmodel`, which show the live generation; a swap replaces the views in one transaction.
 */
import type pg from 'pg'
import type { Position } from '../eventstore/store.ts'
import { transaction } from '../postgres/pool.ts'
import { allProjections } from './all.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Projection } from './projection.ts'

export type GenerationState = 'building' | 'live' | 'retired'

export interface Generation {
  readonly generation: number
  readonly schema: string
  readonly state: GenerationState
  /** Projection name → version. */
  readonly versions: Readonly<Record<string, number>>
  /** Null before the first event. */
  readonly checkpoint: Checkpoint | null
}

/** The generation's checkpoint is not where its writer left it: another runner moved it, or another generation is live. */
export class CheckpointMoved extends Error {
  override name = 'CheckpointMoved'
}

const versionsOf = (projections: readonly Projection[]): Record<string, number> =>
  Object.fromEntries(projections.map(({ name, version }) => [name, version]))

/** How a generation's versions compare with the program's. */
export function compareVersions(
  stored: Readonly<Record<string, number>>,
  projections: readonly Projection[],
): 'same' | 'older' | 'newer' {
  const ours = versionsOf(projections)
  const names = new Set([...Object.keys(stored), ...Object.keys(ours)])
  let result: 'same' | 'older' = 'same'
  for (const name of names) {
    const theirs = stored[name] ?? 0
    const mine = ours[name] ?? 0
    // Any projection that only a newer program knows makes the whole generation newer.
    if (theirs > mine) return 'newer'
    if (theirs < mine) result = 'older'
  }
  return result
}

// Serialises schema changes of the read models; any constant that nothing else uses.
const schemaLock = "select pg_advisory_xact_lock(hashtextextended('liveness read models', 0))"

/** Makes schema `readmodel`, its bookkeeping and, on an empty database, the first live generation. Safe to repeat. */
export async function ensureReadModels(
  pool: pg.Pool,
  projections: readonly Projection[] = allProjections,
): Promise<void> {
  await transaction(pool, async (client) => {
    await client.query(schemaLock)
    await client.query(`
      create schema if not exists readmodel;
      create table if not exists readmodel.generations (
        generation integer generated always as identity primary key,
        state text not null check (state in ('building', 'live', 'retired')),
        versions jsonb not null,
        commit_position bigint,
        prepare_position bigint,
        stream text,
        revision bigint,
        event_id uuid,
        event_hash text,
        event_created timestamptz,
        check (num_nulls(commit_position, prepare_position, stream, revision, event_id, event_hash, event_created) in (0, 7))
      );
      create unique index if not exists one_live_generation on readmodel.generations (state) where state = 'live'`)
    if ((await generationsIn(client, 'live')).length > 0) return
    const first = await createGeneration(client, projections, 'live')
    await pointViewsAt(client, first.schema, projections)
  })
}

/** Makes an empty generation with its tables. */
export async function createGeneration(
  client: pg.ClientBase,
  projections: readonly Projection[],
  state: 'building' | 'live',
): Promise<Generation> {
  const versions = versionsOf(projections)
  const { rows } = await client.query<{ generation: number }>(
    'insert into readmodel.generations (state, versions) values ($1, $2) returning generation',
    [state, versions],
  )
  const generation = rows[0]?.generation
  if (generation === undefined) throw new Error('no generation was made')
  const schema = schemaOf(generation)
  const tables = projections.flatMap((projection) => Object.values(projection.tables))
  await client.query(
    `create schema ${schema}; set local search_path to ${schema}; ${tables.join(';\n')}; set local search_path to default`,
  )
  return { generation, schema, state, versions, checkpoint: null }
}

const schemaOf = (generation: number): string => `readmodel_${generation}`

/** Replaces the views of schema `readmodel`. Run inside the transaction that makes the generation live. */
export async function pointViewsAt(
  client: pg.ClientBase,
  schema: string,
  projections: readonly Projection[],
): Promise<void> {
  const { rows } = await client.query<{ viewname: string }>(
    "select viewname from pg_views where schemaname = 'readmodel' order by viewname",
  )
  if (rows.length > 0) {
    await client.query(`drop view ${rows.map(({ viewname }) => `readmodel."${viewname}"`).join(', ')}`)
  }
  const tables = projections.flatMap((projection) => Object.keys(projection.tables))
  await client.query(
    tables.map((table) => `create view readmodel.${table} as select * from ${schema}.${table}`).join(';\n'),
  )
}

interface GenerationRow {
  generation: number
  state: GenerationState
  versions: Record<string, number>
  commit_position: bigint | string | null
  prepare_position: bigint | string
  stream: string
  revision: bigint | string
  event_id: string
  event_hash: string
  event_created: Date
}

/** Generations in a state, oldest first; with `lock`, locked until the transaction ends. */
export async function generationsIn(
  client: pg.ClientBase | pg.Pool,
  state: GenerationState,
  lock: 'for update' | '' = '',
): Promise<Generation[]> {
  const { rows } = await client.query<GenerationRow>(
    `select generation, state, versions, commit_position, prepare_position, stream, revision, event_id, event_hash, event_created
     from readmodel.generations where state = $1 order by generation ${lock}`,
    [state],
  )
  return rows.map((row) => ({
    generation: row.generation,
    schema: schemaOf(row.generation),
    state: row.state,
    versions: row.versions,
    checkpoint:
      row.commit_position === null
        ? null
        : {
            position: { commit: BigInt(row.commit_position), prepare: BigInt(row.prepare_position) },
            stream: row.stream,
            revision: BigInt(row.revision),
            eventId: row.event_id,
            hash: row.event_hash,
            created: row.event_created,
          },
  }))
}

/** @throws CheckpointMoved while there is none, which lasts no longer than a first start */
export async function liveGeneration(client: pg.ClientBase | pg.Pool): Promise<Generation> {
  const [live] = await generationsIn(client, 'live')
  if (live === undefined) throw new CheckpointMoved('there is no live generation of read models')
  return live
}

/**
 * Moves a generation's checkpoint, compare-and-set: the row stays locked until the transaction ends, so whoever loses
 * has written nothing yet.
 * @throws CheckpointMoved
 */
export async function moveCheckpoint(
  client: pg.ClientBase,
  { generation, state, checkpoint }: Generation,
  to: Checkpoint,
): Promise<void> {
  const { rowCount } = await client.query({
    name: 'generations.move',
    text: `update readmodel.generations set commit_position = $5, prepare_position = $6, stream = $7, revision = $8,
             event_id = $9, event_hash = $10, event_created = $11
           where generation = $1 and state = $2
             and commit_position is not distinct from $3::bigint and prepare_position is not distinct from $4::bigint`,
    values: [
      generation,
      state,
      checkpoint?.position.commit ?? null,
      checkpoint?.position.prepare ?? null,
      to.position.commit,
      to.position.prepare,
      to.stream,
      to.revision,
      to.eventId,
      to.hash,
      to.created,
    ],
  })
  if (rowCount !== 1) throw new CheckpointMoved(`generation ${generation} is not where this runner left it`)
}

/** Drops generations in a state, schema and row. Waits at most a second for readers that are still inside. */
export async function dropGenerations(pool: pg.Pool, state: 'building' | 'retired'): Promise<void> {
  for (const { generation, schema } of await generationsIn(pool, state)) {
    await transaction(pool, async (client) => {
      await client.query("set local lock_timeout = '1s'")
      await client.query(`drop schema if exists ${schema} cascade`)
      await client.query('delete from readmodel.generations where generation = $1 and state = $2', [generation, state])
    })
  }
}

/** −1, 0 or 1 as checkpoint `a` is before, at or after `b`; null is before everything. */
export function compareCheckpoints(a: Checkpoint | null, b: Checkpoint | null): number {
  if (a === null || b === null) return (a === null ? 0 : 1) - (b === null ? 0 : 1)
  return comparePositions(a.position, b.position)
}

export function comparePositions(a: Position, b: Position): number {
  if (a.commit !== b.commit) return a.commit < b.commit ? -1 : 1
  return a.prepare === b.prepare ? 0 : a.prepare < b.prepare ? -1 : 1
}
