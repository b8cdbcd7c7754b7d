import pb from '@eventstore/db-client/generated/streams_pb.js'
import { type ServerWritableStream, status } from '@grpc/grpc-js'
import { type Filter, readFilter } from './filter.ts'
import { DELETED, isSoftlyDeleted, NO_REVISION, type StoredRow, visible } from './model.ts'
import { createOutbox, type Outbox } from './outbox.ts'
import { encodeStreamNotFound, Refused, streamDeleted, streamName } from './protocol.ts'
import { pages, type ReadSource, streamState } from './source.ts'
import { type Direction, readAllPage, readStreamPage } from './storage.ts'
import { subscribeToAll, subscribeToStream } from './subscriptions.ts'

export type ReadCall = ServerWritableStream<pb.ReadReq, Buffer>
type Options = InstanceType<typeof pb.ReadReq.Options>

/** Answers one Read call: a read or a subscription, of one stream or of $all. */
export async function handleRead(source: ReadSource, call: ReadCall): Promise<void> {
  const options = call.request.getOptions()
  const outbox = createOutbox(call)
  if (options === undefined) throw invalid('A read needs options')
  const stream = options.getStream()
  const all = options.getAll()
  if (options.hasSubscription()) {
    if (stream !== undefined) return subscribeToStream(source, outbox, stream)
    if (all !== undefined) return subscribeToAll(source, outbox, all, options.getFilter())
  }
  if (stream !== undefined) return readStream(source, outbox, stream, options)
  if (all !== undefined) return readAll(source, outbox, all, options)
  throw invalid('A read is of a stream or of $all')
}

async function readStream(
  source: ReadSource,
  outbox: Outbox,
  from: InstanceType<typeof pb.ReadReq.Options.StreamOptions>,
  options: Options,
): Promise<void> {
  const stream = streamName(from.getStreamIdentifier())
  const state = await streamState(source, stream)
  if (state.head === DELETED) throw new Refused(streamDeleted(stream))
  if (state.head === NO_REVISION || isSoftlyDeleted(state)) {
    outbox.send(encodeStreamNotFound(stream))
    return
  }
  const direction = directionOf(options)
  const shown = visible(state)
  let { first, last } = shown
  if (from.hasRevision()) {
    const revision = BigInt(from.getRevision())
    if (direction === 'forwards' && revision > first) first = revision
    if (direction === 'backwards' && revision < last) last = revision
  } else if (from.hasEnd() && direction === 'forwards') return
  else if (from.hasStart() && direction === 'backwards') last = 0n
  await sendPages(
    outbox,
    pages(
      direction,
      first,
      last,
      (row) => row.revision,
      (low, high, limit) => readStreamPage(source.pool, stream, direction, low, high, limit),
      maxCount(options),
    ),
    maxCount(options),
    () => true,
  )
}

async function readAll(
  source: ReadSource,
  outbox: Outbox,
  from: InstanceType<typeof pb.ReadReq.Options.AllOptions>,
  options: Options,
): Promise<void> {
  const direction = directionOf(options)
  const filterOptions = options.getFilter()
  let first = 1n
  let last = source.writer.tail.head
  const position = from.getPosition()
  if (position !== undefined) {
    const commit = BigInt(position.getCommitPosition())
    if (direction === 'forwards' && commit > first) first = commit
    if (direction === 'backwards' && commit < last) last = commit
  } else if (from.hasEnd() && direction === 'forwards') return
  else if (from.hasStart() && direction === 'backwards') return
  await sendPages(
    outbox,
    pages(
      direction,
      first,
      last,
      (row) => row.position,
      (low, high, limit) => readAllPage(source.pool, direction, low, high, limit),
      filterOptions === undefined ? maxCount(options) : undefined,
    ),
    maxCount(options),
    filterOptions === undefined ? () => true : readFilter(filterOptions),
  )
}

async function sendPages(
  outbox: Outbox,
  source: AsyncIterable<readonly StoredRow[]>,
  maxCount: number,
  wanted: Filter,
): Promise<void> {
  let left = maxCount
  if (left <= 0) return
  for await (const page of source) {
    for (const row of page) {
      if (!wanted(row)) continue
      if (!outbox.send(row.message)) await outbox.drained()
      left -= 1
      if (left === 0 || !outbox.open) return
    }
  }
}

function directionOf(options: Options): Direction {
  return options.getReadDirection() === pb.ReadReq.Options.ReadDirection.BACKWARDS ? 'backwards' : 'forwards'
}

function maxCount(options: Options): number {
  return options.hasCount() ? Number(options.getCount()) : Number.MAX_SAFE_INTEGER
}

function invalid(details: string): Refused {
  return new Refused({ code: status.INVALID_ARGUMENT, details })
}
