/** How far the live read models are behind the log, for any process: also one that does not project. */
import type pg from 'pg'
import { watermarkStream } from '../events/metering.ts'
import type { EventStore, Position } from '../eventstore/store.ts'
import { projectedPrefixes } from '../projections/all.ts'
import { comparePositions, liveGeneration } from '../projections/generations.ts'

/**
 * Milliseconds since the oldest event that is not folded was stored; 0 when all are. Ticks are read along, although no
 * read model folds them, so that a look begins where the last one ended and not at the checkpoint of an idle week.
 * @returns a function that throws EventStoreUnavailable and what Postgres throws
 */
export function readModelsLag(pool: pg.Pool, store: EventStore): () => Promise<number> {
  /** Nothing that is folded stands between the checkpoint and here. */
  let lookedAt: Position | undefined
  return async () => {
    const checkpoint = (await liveGeneration(pool)).checkpoint?.position
    const after = later(checkpoint, lookedAt)
    for await (const { stream, position, created } of store.readAll({
      prefixes: [...projectedPrefixes, watermarkStream],
      after,
    })) {
      if (stream !== watermarkStream) return Math.max(0, Date.now() - created.getTime())
      lookedAt = position
    }
    return 0
  }
}

function later(one: Position | undefined, other: Position | undefined): Position | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return comparePositions(one, other) > 0 ? one : other
}
