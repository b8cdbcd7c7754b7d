/**
 * Projects the log into one generation: from its checkpoint on, for ever, batch by batch, each batch one transaction
 * that holds the changed rows and the moved checkpoint. The live runner and a rebuild both run this.
 */
import type pg from 'pg'
import type { EventStore, Position, PositionedEvent } from '../eventstore/store.ts'
import { transaction } from '../postgres/pool.ts'
import { checkpointAt, verifyCheckpoint } from './checkpoint.ts'
import { inBatches } from './feed.ts'
import { createFold, type Fold } from './fold.ts'
import { comparePositions, type Generation, moveCheckpoint } from './generations.ts'
import type { Projection } from './projection.ts'

export interface ProjectOptions {
  readonly pool: pg.Pool
  readonly store: EventStore
  readonly projections: readonly Projection[]
  readonly prefixes: readonly string[]
  readonly signal: AbortSignal
  readonly maxBatch?: number | undefined
  /** Also report when nothing has come for this many milliseconds. */
  readonly idleMs?: number | undefined
  /** Told of each event as it arrives, before it is folded. */
  readonly onReceived?: ((event: PositionedEvent) => void) | undefined
}

export interface Progress {
  readonly generation: Generation
  /** How many events this step committed; 0 when idle. */
  readonly events: number
  /** The last of them; null when idle. */
  readonly last: PositionedEvent | null
  /** The batch was as large as batches get: more is surely waiting. */
  readonly full: boolean
}

export const channel = 'readmodels'
const defaultMaxBatch = 1_000
const maxPayload = 7_999 // bytes; Postgres refuses 8,000

/**
 * Yields after each commit. A batch that fails leaves nothing behind; call again with the generation as stored.
 * @throws LogMismatch, UnreadableEvent, CheckpointMoved, EventStoreUnavailable and what Postgres throws
 */
export async function* project(from: Generation, options: ProjectOptions): AsyncGenerator<Progress> {
  const { pool, store, projections, prefixes, signal, maxBatch = defaultMaxBatch, idleMs, onReceived } = options
  if (from.checkpoint !== null) await verifyCheckpoint(store, from.checkpoint, 'the read models folded')
  const fold = createFold(projections)
  let generation = from
  const source = (reading: AbortSignal) =>
    store.subscribe({ prefixes, after: from.checkpoint?.position, signal: reading })

  for await (const batch of inBatches(source, { max: maxBatch, idleMs, signal, onItem: onReceived })) {
    const events = behind(batch, generation.checkpoint?.position)
    const last = events.at(-1)
    if (last === undefined) {
      if (batch.length === 0) yield { generation, events: 0, last: null, full: false }
      continue
    }
    generation = await commitBatch(pool, generation, fold, events, last)
    yield { generation, events: events.length, last, full: batch.length >= maxBatch }
  }
}

/** A subscription delivers each event once and in order; whatever comes again all the same is left out. */
function behind(batch: readonly PositionedEvent[], after: Position | undefined): PositionedEvent[] {
  let last = after
  return batch.filter(({ position }) => {
    if (last !== undefined && comparePositions(position, last) <= 0) return false
    last = position
    return true
  })
}

async function commitBatch(
  pool: pg.Pool,
  generation: Generation,
  fold: Fold,
  events: readonly PositionedEvent[],
  last: PositionedEvent,
): Promise<Generation> {
  const checkpoint = checkpointAt(last)
  await transaction(pool, async (client) => {
    // Rows and checkpoint go together, so a crash may take the last commits: they are folded from the log again.
    // Waiting for the disk would make every append of the event store wait with it.
    await client.query(`set local search_path to ${generation.schema}; set local synchronous_commit to off`)
    await moveCheckpoint(client, generation, checkpoint)
    const { statements, revisions } = await fold.batch(client, events)
    for (const statement of statements) await client.query(statement)
    if (generation.state === 'live') await client.query('select pg_notify($1, $2)', [channel, payloadOf(revisions)])
  })
  return { ...generation, checkpoint }
}

/** `{customerId: revision}` as JSON; empty, meaning "look yourself", when that is too long for a notification. */
function payloadOf(revisions: ReadonlyMap<string, bigint>): string {
  const entries = [...revisions].map(([customerId, revision]) => [customerId, revision.toString()])
  const payload = JSON.stringify(Object.fromEntries(entries))
  return payload.length <= maxPayload ? payload : ''
}
