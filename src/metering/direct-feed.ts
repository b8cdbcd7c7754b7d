/**
 * Metering without Kafka: the consumer is fed from a subscription to $all. One process at a time, leader by advisory
 * lock; its place is a row written compare-and-set. It also ticks, as the relay does where there is one.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../commands/clock.ts'
import { hashOf } from '../events/chain.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { EventStore, PositionedEvent } from '../eventstore/store.ts'
import { keepLeading, type Progress } from '../postgres/keep-leading.ts'
import { verifyCheckpoint } from '../projections/checkpoint.ts'
import { inBatches } from '../projections/feed.ts'
import { emptyFeed, type Fed, type FeedState, fedPrefixes, feed } from '../relay/feed.ts'
import { keepTicking } from '../relay/ticks.ts'
import type { Alarms } from './alarms.ts'
import { type Consume, endsFeed, type MeteringFeed } from './feed.ts'
import { CheckpointMoved, type DirectFeedRow, type MeteringTables } from './tables.ts'

export interface DirectFeedOptions {
  /** For the session that holds the leader's lock. */
  readonly url: string
  readonly store: EventStore
  readonly tables: MeteringTables
  readonly consume: Consume
  /** For the ticks. */
  readonly clock: Pick<Clock, 'now'>
  /** Postgres's clock, for the ticks too. */
  readonly databaseClock: () => Promise<Date>
  readonly onAlarm: Alarms['onAlarm']
  /** A failure that is retried. */
  readonly onTrouble?: ((error: Error, failures: number) => void) | undefined
  readonly maxBatch?: number | undefined
  readonly tickEveryMs?: number | undefined
  /** Milliseconds to rest after a batch that was not full; default 500. */
  readonly restMs?: number | undefined
}

/** Key of the leader's advisory lock. */
const feedLock = 'liveness:metering-feed'

/** Starts in the background; the tables must be there. */
export function startDirectFeed(options: DirectFeedOptions): MeteringFeed {
  const {
    url,
    store,
    tables,
    consume,
    clock,
    databaseClock,
    onAlarm,
    onTrouble,
    maxBatch = 1_000,
    tickEveryMs,
    restMs = 500,
  } = options
  let waiting = 0
  let folded = 0
  let lastItemAt: Date | null = null

  async function feedOn(signal: AbortSignal, { succeeded }: Progress): Promise<void> {
    let row = await takeUp(store, tables)
    waiting = 0
    const source = (reading: AbortSignal) =>
      store.subscribe({ prefixes: fedPrefixes, after: row?.position, signal: reading })
    const onItem = () => {
      waiting += 1
    }
    for await (const batch of inBatches(source, { max: maxBatch, signal, onItem })) {
      row = await feedBatch(row, batch, { tables, consume })
      succeeded()
      waiting -= batch.length
      folded += batch.length
      lastItemAt = batch.at(-1)?.created ?? lastItemAt
      // Nobody waits for metering, and a transaction for each call would slow down the calls beside it.
      if (batch.length < maxBatch) await pause(restMs, undefined, { signal }).catch(() => {})
    }
  }

  const leader = keepLeading({
    url,
    lock: feedLock,
    work: feedOn,
    beside: (signal, onTrouble) =>
      keepTicking({ store, clock, databaseClock, everyMs: tickEveryMs, signal, onTrouble }),
    consequenceOf(error) {
      if (endsFeed(error) || error instanceof UnreadableEvent) return 'ends'
      return error instanceof CheckpointMoved ? 'moves_on' : 'retries'
    },
    onTrouble,
    onLeft: () => {
      waiting = 0
    },
  })
  const { ended, stop } = leader
  ended.then((error) => {
    if (error !== null) onAlarm('metering_feed_ended', error.message, { err: error })
  })
  return {
    lag: () => ({ active: leader.leading(), waiting, folded, lastItemAt, failures: leader.failures(), stopped: [] }),
    ended,
    stop,
  }
}

/** The row as stored. @throws LogMismatch unless its own event is in the store, unchanged */
async function takeUp(store: EventStore, tables: MeteringTables): Promise<DirectFeedRow | null> {
  const row = await tables.transaction((tx) => tx.directFeed())
  if (row === null) return null
  await verifyCheckpoint(store, row, 'metering was fed')
  return row
}

/**
 * Hands a batch to the consumer, partition by partition, and then moves the row. A crash in between costs nothing: what
 * is fed again is skipped.
 * @throws CheckpointMoved, UnreadableEvent and what the consumer throws
 */
export async function feedBatch(
  before: DirectFeedRow | null,
  batch: readonly PositionedEvent[],
  { tables, consume }: { readonly tables: MeteringTables; readonly consume: Consume },
): Promise<DirectFeedRow | null> {
  const partitions = new Map<number, Fed[]>()
  let state: FeedState = before ?? emptyFeed
  let after = before
  for (const event of batch) {
    const step = feed(state, event)
    if (step.state === state) continue // stands before the row already
    state = step.state
    const { stream, revision, position, metadata } = event
    after = { position, counts: state.counts, stream, revision, hash: hashOf(metadata) }
    for (const item of step.items) {
      const fed = partitions.get(item.partition) ?? []
      fed.push({ item, offset: null })
      partitions.set(item.partition, fed)
    }
  }
  if (after === null || after === before) return before
  const row = after
  for (const [partition, fed] of partitions) await consume(partition, fed)
  await tables.transaction((tx) => tx.moveDirectFeed(before, row))
  return row
}
