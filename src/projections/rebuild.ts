/**
 * Replays the log into a new generation beside the live one and swaps the two in one transaction. Readers never wait
 * for more than that transaction; a crash anywhere leaves the live generation as it is, and the next rebuild clears
 * what was left.
 */
import type pg from 'pg'
import type { EventStore } from '../eventstore/store.ts'
import { holdAdvisoryLock } from '../postgres/leader.ts'
import { transaction } from '../postgres/pool.ts'
import { allProjections, projectedPrefixes } from './all.ts'
import {
  compareCheckpoints,
  createGeneration,
  dropGenerations,
  ensureReadModels,
  type Generation,
  generationsIn,
  pointViewsAt,
} from './generations.ts'
import { channel, type Progress, project } from './project.ts'
import type { Projection } from './projection.ts'

export interface RebuildOptions {
  readonly pool: pg.Pool
  /** For the session that holds the lock: one rebuild at a time. */
  readonly url: string
  readonly store: EventStore
  readonly signal: AbortSignal
  readonly projections?: readonly Projection[] | undefined
  readonly prefixes?: readonly string[] | undefined
  /** After each batch: how many events were replayed so far. */
  readonly onProgress?: ((progress: { events: number; lastEventAt: Date | null }) => void) | undefined
  /**
   * Go live at the head of the log even when the old generation stands further on: the way back after the event store
   * was restored from an older copy. Rows then go back with the log.
   */
  readonly acceptOlderLog?: boolean | undefined
}

export interface Rebuilt {
  readonly generation: number
  readonly events: number
}

/** Key of the rebuild's advisory lock. */
const rebuildLock = 'liveness:projections:rebuild'

const idleMs = 500
const nearMs = 1_000
/** How long the live runner may be held while the last events are folded into the new generation. */
const holdLiveMs = 3_000
/** Below Postgres's deadlock_timeout (1 s): a swap that readers block gives way instead of ending one of them. */
const lockTimeout = "set local lock_timeout = '300ms'"
const lockNotAvailable = '55P03'

/**
 * Rebuilds all read models. Resolves once the new generation is live and the old one dropped.
 * @throws LogMismatch, UnreadableEvent, EventStoreUnavailable; the signal's reason when aborted
 */
export async function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  let result: Rebuilt | undefined
  const done = new AbortController()
  const signal = AbortSignal.any([options.signal, done.signal])
  let failure: unknown
  await holdAdvisoryLock(options.url, rebuildLock, signal, async (held) => {
    try {
      result = await rebuildLocked(options, held)
    } catch (error) {
      failure = error
    } finally {
      done.abort()
    }
  })
  if (result !== undefined) return result
  options.signal.throwIfAborted()
  throw failure ?? new Error('the rebuild lost its lock')
}

async function rebuildLocked(options: RebuildOptions, signal: AbortSignal): Promise<Rebuilt> {
  const { pool, store, projections = allProjections, prefixes = projectedPrefixes, onProgress } = options
  await ensureReadModels(pool, projections)
  await dropGenerations(pool, 'building') // nobody works on them: this session holds the lock
  const building = await transaction(pool, (client) => createGeneration(client, projections, 'building'))
  let events = 0
  async function* replay() {
    for await (const progress of project(building, { pool, store, projections, prefixes, signal, idleMs })) {
      events += progress.events
      onProgress?.({ events, lastEventAt: progress.last?.created ?? null })
      yield progress
    }
  }
  const steps = replay()
  for await (const step of steps) {
    if (!(await nearHead(pool, step)) || !(await trySwap(options, projections, step, steps))) continue
    await dropGenerations(pool, 'retired').catch(() => {}) // a reader is still inside: the next start drops it
    return { generation: building.generation, events }
  }
  signal.throwIfAborted()
  throw new Error('the replay ended before the head of the log')
}

/**
 * Whether it is time to try: the store has fallen silent, or the live generation is less than a second of log ahead.
 * Only saves vain attempts; whether the new generation may go live is decided under the lock.
 */
async function nearHead(pool: pg.Pool, { full, last }: Progress): Promise<boolean> {
  if (full || last === null) return last === null
  const [live] = await generationsIn(pool, 'live')
  const liveAt = live?.checkpoint?.created
  return liveAt !== undefined && liveAt.getTime() - last.created.getTime() < nearMs
}

/**
 * Holds the live checkpoint where it is, folds what the new generation still lacks up to there, and swaps. False when
 * that takes too long or readers are in the way: the old generation is still live then.
 */
async function trySwap(
  { pool, acceptOlderLog = false }: RebuildOptions,
  projections: readonly Projection[],
  reached: Progress,
  steps: AsyncGenerator<Progress>,
): Promise<boolean> {
  let { generation } = reached
  try {
    await transaction(pool, async (client) => {
      const [live] = await generationsIn(client, 'live', 'for update')
      const until = performance.now() + holdLiveMs
      let atHead = reached.events === 0
      while (live !== undefined && compareCheckpoints(generation.checkpoint, live.checkpoint) < 0) {
        if (acceptOlderLog && atHead) break
        const { value, done } = await steps.next()
        if (done || performance.now() > until) throw new NotYet()
        generation = value.generation
        atHead = value.events === 0
      }
      await client.query(lockTimeout)
      await swap(client, live, generation, projections)
    })
    return true
  } catch (error) {
    if (error instanceof NotYet || (error as { code?: unknown }).code === lockNotAvailable) return false
    throw error
  }
}

class NotYet extends Error {}

async function swap(
  client: pg.ClientBase,
  live: Generation | undefined,
  next: Generation,
  projections: readonly Projection[],
): Promise<void> {
  await pointViewsAt(client, next.schema, projections)
  if (live !== undefined) {
    await client.query("update readmodel.generations set state = 'retired' where generation = $1", [live.generation])
  }
  const { rowCount } = await client.query(
    "update readmodel.generations set state = 'live' where generation = $1 and state = 'building'",
    [next.generation],
  )
  if (rowCount !== 1) throw new Error(`generation ${next.generation} was dropped by another rebuild`)
  await client.query('select pg_notify($1, $2)', [channel, ''])
}
