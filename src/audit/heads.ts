/** The heads of all streams, from the log alone: each event's place in its chain is checked as it goes by. */
import { chainFault, emptyHead, type Head, hashOf } from '../events/chain.ts'
import { meteringStream } from '../events/metering.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { customerOf } from '../relay/feed.ts'
import type { AnchoredHead } from './anchor.ts'

/** Every stream that is ours. What else the store holds (its own `$` streams) is nobody's bill. */
export const auditedPrefixes: readonly string[] = ['customer-', 'metering-', 'licence-', 'watermark']

/** Stream → head. Grows with the number of streams, never with the number of events. */
export type Heads = Map<string, Head>

/** A place where the log is not what its writer left: altered, removed, inserted, reordered. */
export interface ChainBreak {
  readonly stream: string
  readonly revision: bigint
  readonly id: string
  readonly fault: string
}

/**
 * Moves a stream's head over the event and returns what is wrong with its place, or null. After a break the chain goes
 * on from the event as it is, so that one altered event is one finding.
 */
export function passEvent(heads: Heads, event: StoredEvent): ChainBreak | null {
  const { stream, revision, id } = event
  const fault = chainFault(heads.get(stream) ?? emptyHead, event)
  heads.set(stream, { revision, hash: hashOf(event.metadata) })
  return fault === null ? null : { stream, revision, id, fault }
}

/**
 * The heads as an anchor lists them: in the order of the streams' names, by code units. Every customer has a metering
 * stream there, be it empty, so that nobody can leave one out.
 */
export function sortedHeads(heads: Heads): AnchoredHead[] {
  const all = new Map(heads)
  for (const stream of heads.keys()) {
    const customerId = customerOf(stream)
    if (customerId === null) continue
    const metering = meteringStream(customerId)
    if (!all.has(metering)) all.set(metering, emptyHead)
  }
  return [...all]
    .map(([stream, { revision, hash }]): AnchoredHead => [stream, revision.toString(), hash])
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The newest tick in the log, or null before the first. @throws EventStoreUnavailable */
export async function newestTick(store: EventStore, stream: string): Promise<StoredEvent | null> {
  for await (const event of store.readBackward(stream, 1)) return event
  return null
}
