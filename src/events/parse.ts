/** Stored events → events of the catalogue. */
import type { StoredEvent } from '../eventstore/store.ts'
import {
  type CustomerEvent,
  customerEventData,
  isCustomerEventType,
  type Metadata,
  metadataSchema,
} from './catalogue.ts'
import { upcast } from './upcast.ts'

/** A stored event that this program cannot read. Reading on would bill from a log with a hole: the role stops. */
export class UnreadableEvent extends Error {
  override name = 'UnreadableEvent'
}

export interface ParsedEvent {
  readonly event: CustomerEvent
  readonly metadata: Metadata
}

/**
 * Parses metadata and data of a customer event, upcast to the current version.
 * @throws UnreadableEvent naming stream, revision and id
 */
export function parseCustomerEvent(stored: StoredEvent): ParsedEvent {
  try {
    const metadata = metadataSchema.parse(stored.metadata)
    if (!isCustomerEventType(stored.type)) throw new Error(`unknown event type ${stored.type}`)
    const data = customerEventData[stored.type].parse(upcast(stored.type, Number(metadata.schema), stored.data))
    return { event: { type: stored.type, data } as CustomerEvent, metadata }
  } catch (cause) {
    const where = `${stored.stream} revision ${stored.revision} (${stored.type}, ${stored.id})`
    throw new UnreadableEvent(`cannot read ${where}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
}
