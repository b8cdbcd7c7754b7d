/** Where the read models stand, for operators. */
import type pg from 'pg'
import type { EventStore } from '../eventstore/store.ts'
import { allProjections, projectedPrefixes } from '../projections/all.ts'
import { inBatches } from '../projections/feed.ts'
import { compareVersions, type Generation, generationsIn } from '../projections/generations.ts'

export interface GenerationStatus {
  readonly generation: number
  readonly schema: string
  readonly state: Generation['state']
  readonly versions: Readonly<Record<string, number>>
  /** Whether its versions are those of this program; 'older' ones are rebuilt at the next start. */
  readonly comparedWithProgram: 'same' | 'older' | 'newer'
  readonly checkpoint: Generation['checkpoint']
  /** When the event store took the last event folded. */
  readonly lastEventAt: string | null
}

/** Every generation there is, the live one first. Empty when no read model was made yet. */
export async function projectionStatus(pool: pg.Pool | pg.ClientBase): Promise<GenerationStatus[]> {
  const { rows } = await pool.query<{ made: boolean }>(
    "select to_regclass('readmodel.generations') is not null as made",
  )
  if (!rows[0]?.made) return []
  const generations = [
    ...(await generationsIn(pool, 'live')),
    ...(await generationsIn(pool, 'building')),
    ...(await generationsIn(pool, 'retired')),
  ]
  return generations.map(({ generation, schema, state, versions, checkpoint }) => ({
    generation,
    schema,
    state,
    versions,
    comparedWithProgram: compareVersions(versions, allProjections),
    checkpoint,
    lastEventAt: checkpoint?.created.toISOString() ?? null,
  }))
}

/**
 * Counts the events that the store holds behind a checkpoint, by reading them until nothing has come for `quietMs`.
 * @throws EventStoreUnavailable
 */
export async function eventsBehind(
  store: EventStore,
  checkpoint: Generation['checkpoint'],
  { signal, quietMs = 300 }: { readonly signal: AbortSignal; readonly quietMs?: number },
): Promise<number> {
  let count = 0
  const source = (reading: AbortSignal) =>
    store.subscribe({ prefixes: projectedPrefixes, after: checkpoint?.position, signal: reading })
  for await (const batch of inBatches(source, { max: 1_000, idleMs: quietMs, signal })) {
    if (batch.length === 0) break
    count += batch.length
  }
  return count
}
