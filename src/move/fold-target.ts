/** The folds of a log that was copied, made from it before anybody is served: read models and the tables of metering. */
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import type { EventStore, PositionedEvent } from '../eventstore/store.ts'
import { consumeBatch } from '../metering/consume.ts'
import { feedBatch } from '../metering/direct-feed.ts'
import { postgresTables } from '../metering/postgres-tables.ts'
import { ensureMeteringTables } from '../metering/schema.ts'
import { startProjections } from '../projections/runner.ts'
import { eventsBehind, projectionStatus } from '../readmodels/status.ts'
import { fedPrefixes } from '../relay/feed.ts'

export interface FoldOptions {
  readonly pool: pg.Pool
  readonly url: string
  readonly store: EventStore
  readonly signal: AbortSignal
}

/** Resolves when the read models have folded everything. @throws what stopped the projections */
export async function foldReadModels({ pool, url, store, signal }: FoldOptions): Promise<void> {
  const runner = startProjections({ pool, url, store, onAlarm: () => {} })
  try {
    for (;;) {
      const ended = await Promise.race([runner.ended, pause(200, 'running' as const, { signal })])
      if (ended instanceof Error) throw ended
      const [live] = await projectionStatus(pool)
      if (live !== undefined && (await eventsBehind(store, live.checkpoint, { signal })) === 0) return
    }
  } finally {
    await runner.stop()
  }
}

const batchSize = 1_000

/**
 * Folds the log into the tables of metering as the direct feed does. Nothing is sealed or sent: the metering streams,
 * which were copied, say what was. A consumer of Kafka skips by revision what is folded here.
 */
export async function foldMetering(
  { pool, store, signal }: FoldOptions,
  { graceMs, onAlarm }: { readonly graceMs: number; readonly onAlarm: (kind: string, message: string) => void },
): Promise<void> {
  await ensureMeteringTables(pool)
  const tables = postgresTables(pool)
  const consume = (partition: number, fed: Parameters<typeof consumeBatch>[2]) =>
    consumeBatch({ tables, store, graceMs, onAlarm }, partition, fed)
  let row = await tables.transaction((tx) => tx.directFeed())
  let batch: PositionedEvent[] = []
  for await (const event of store.readAll({ prefixes: fedPrefixes, after: row?.position })) {
    signal.throwIfAborted()
    batch.push(event)
    if (batch.length < batchSize) continue
    row = await feedBatch(row, batch, { tables, consume })
    batch = []
  }
  if (batch.length > 0) await feedBatch(row, batch, { tables, consume })
}
