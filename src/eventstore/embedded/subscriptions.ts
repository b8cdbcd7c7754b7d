import { randomUUID } from 'node:crypto'
import type pb from '@eventstore/db-client/generated/streams_pb.js'
import { checkpointInterval, readFilter } from './filter.ts'
import { DELETED, isSoftlyDeleted, type StoredRow, visible } from './model.ts'
import type { Outbox } from './outbox.ts'
import {
  caughtUpMessage,
  encodeCheckpoint,
  encodeConfirmation,
  Refused,
  streamDeleted,
  streamName,
} from './protocol.ts'
import { pages, type ReadSource, streamState } from './source.ts'
import { readAllPage, readStreamPage } from './storage.ts'

/**
 * Subscriptions: from the table until they have caught up, then from the shared tail, and back to the table when they
 * fall behind it. The one cursor is the last position looked at, so nothing is skipped and nothing comes twice.
 */

/** Live events are taken from the tail in pieces of this size, so that one subscriber does not hold up the others. */
const LIVE_PIECE = 256

type AllOptions = InstanceType<typeof pb.ReadReq.Options.AllOptions>
type StreamOptions = InstanceType<typeof pb.ReadReq.Options.StreamOptions>
type FilterOptions = InstanceType<typeof pb.ReadReq.Options.FilterOptions>

export async function subscribeToAll(
  source: ReadSource,
  outbox: Outbox,
  from: AllOptions,
  filterOptions: FilterOptions | undefined,
): Promise<void> {
  const { tail } = source.writer
  const wanted = filterOptions === undefined ? () => true : readFilter(filterOptions)
  const interval = filterOptions === undefined ? Number.POSITIVE_INFINITY : checkpointInterval(filterOptions)
  let lookedAt = 0
  const start = from.getPosition()?.getCommitPosition()
  const cursor = start !== undefined ? BigInt(start) : from.hasEnd() ? tail.head : 0n

  await follow(source, outbox, cursor, {
    catchUp: (after) =>
      pages(
        'forwards',
        after + 1n,
        tail.head,
        (row) => row.position,
        (low, high, limit) => readAllPage(source.pool, 'forwards', low, high, limit),
      ),
    async look(row) {
      if (wanted(row) && !outbox.send(row.message)) await outbox.drained()
      lookedAt += 1
      if (lookedAt < interval) return
      lookedAt = 0
      if (!outbox.send(encodeCheckpoint(row.position))) await outbox.drained()
    },
  })
}

export async function subscribeToStream(source: ReadSource, outbox: Outbox, from: StreamOptions): Promise<void> {
  const { tail } = source.writer
  const stream = streamName(from.getStreamIdentifier())
  const state = await streamState(source, stream)
  if (state.head === DELETED) throw new Refused(streamDeleted(stream))
  const first = isSoftlyDeleted(state) ? state.head + 1n : visible(state).first
  const start = from.hasRevision() ? BigInt(from.getRevision()) : from.hasEnd() ? state.head : first - 1n
  let seen = start > first - 1n ? start : first - 1n

  await follow(source, outbox, from.hasEnd() ? tail.head : -1n, {
    catchUp: () =>
      pages(
        'forwards',
        seen + 1n,
        DELETED - 1n,
        (row) => row.revision,
        (low, high, limit) => readStreamPage(source.pool, stream, 'forwards', low, high, limit),
      ),
    async look(row) {
      if (row.stream !== stream || row.revision <= seen) return
      if (row.revision === DELETED) throw new Refused(streamDeleted(stream))
      seen = row.revision
      if (!outbox.send(row.message)) await outbox.drained()
    },
  })
}

interface Subscription {
  /** Pages of what was in the table when it was called, after the cursor. */
  catchUp(after: bigint): AsyncIterable<readonly StoredRow[]>
  look(row: StoredRow): Promise<void>
}

async function follow(source: ReadSource, outbox: Outbox, start: bigint, subscription: Subscription): Promise<void> {
  const { tail } = source.writer
  let cursor = start
  let live = false
  const stopListening = tail.onChange(outbox.wake)
  try {
    if (!outbox.send(encodeConfirmation(randomUUID()))) await outbox.drained()
    while (outbox.open) {
      const rows = cursor < 0n ? undefined : tail.after(cursor, LIVE_PIECE)
      if (rows === undefined) {
        // Everything up to this head is in the table already, so what follows it comes from the tail.
        const head = tail.head
        for await (const page of subscription.catchUp(cursor)) {
          for (const row of page) {
            await subscription.look(row)
            if (!outbox.open) return
          }
        }
        cursor = head
        live = false
      } else if (rows.length > 0) {
        for (const row of rows) {
          await subscription.look(row)
          cursor = row.position
          if (!outbox.open) return
        }
      } else {
        if (live) await outbox.woken()
        else {
          live = true
          if (!outbox.send(caughtUpMessage)) await outbox.drained()
        }
      }
    }
  } finally {
    stopListening()
  }
}
