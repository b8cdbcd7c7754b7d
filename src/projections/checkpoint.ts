/** How far something has folded the log, and the proof that it is still the same log. */
import { LogMismatch } from '../commands/errors.ts'
import { hashOf } from '../events/chain.ts'
import type { EventStore, Position, PositionedEvent } from '../eventstore/store.ts'

/** The last event that was folded, and its place in $all. */
export interface Checkpoint {
  readonly position: Position
  readonly stream: string
  readonly revision: bigint
  readonly eventId: string
  readonly hash: string
  /** When the event store took it. */
  readonly created: Date
}

export function checkpointAt({ position, stream, revision, id, metadata, created }: PositionedEvent): Checkpoint {
  return { position, stream, revision, eventId: id, hash: hashOf(metadata), created }
}

/**
 * The checkpoint's own event must still be in the store, unchanged: else this is an older copy, or another store.
 * @param by who came so far, as "the read models folded"
 * @throws LogMismatch, EventStoreUnavailable
 */
export async function verifyCheckpoint(
  store: Pick<EventStore, 'readForward'>,
  { stream, revision, eventId, hash }: Pick<Checkpoint, 'stream' | 'revision' | 'hash'> & { readonly eventId?: string },
  by: string,
): Promise<void> {
  for await (const event of store.readForward(stream, revision, 1)) {
    const isSame = eventId === undefined || event.id === eventId
    if (isSame && event.revision === revision && hashOf(event.metadata) === hash) return
    throw new LogMismatch(`${stream} revision ${revision} is not the event that ${by}`)
  }
  throw new LogMismatch(`the event store does not hold ${stream} revision ${revision}, which ${by}`)
}
