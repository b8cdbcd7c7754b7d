/**
 * The relay without timers or servers: one batch of log events goes to the topic, and once all of it is acknowledged the
 * checkpoint moves. A crash in between sends the batch again, so everything arrives at least once, and in the order of
 * the log within a partition.
 */
import type { EventStore, PositionedEvent } from '../eventstore/store.ts'
import { type Checkpoint, checkpointAt, verifyCheckpoint } from '../projections/checkpoint.ts'
import { emptyFeed, type FeedItem, feedAll } from './feed.ts'

/** A topic that takes items. One `send` at a time. */
export interface Topic {
  /**
   * Resolves once every item is acknowledged by all replicas; resends for as long as that takes. Returns the offset
   * after the last item, by partition.
   */
  send(items: readonly FeedItem[]): Promise<ReadonlyMap<number, bigint>>
  /** The offset after the newest message, by partition. */
  endOffsets(): Promise<readonly bigint[]>
  close(): Promise<void>
}

/** How far a topic has been written. Immutable; `token` names this very version of it. */
export interface RelayState {
  readonly token: string
  /** The last event relayed, ticks and foreign events included; null before the first. */
  readonly checkpoint: Checkpoint | null
  /** Customer events relayed, by partition. */
  readonly counts: readonly bigint[]
  /** Offset after the last acknowledged message, by partition; 0 when there was none. */
  readonly nextOffsets: readonly bigint[]
}

export interface RelayStates {
  load(): Promise<RelayState>
  /** Compare-and-set. @throws RelayMoved when `before` is not what is stored */
  store(before: RelayState, next: Omit<RelayState, 'token'>): Promise<RelayState>
}

/** Another relay has gone on meanwhile: this one leads no more. What it sent is a duplicate. */
export class RelayMoved extends Error {
  override name = 'RelayMoved'
}

/** The topic no longer holds what it acknowledged. The state has been reset: relay everything from the start. */
export class TopicLost extends Error {
  override name = 'TopicLost'
}

export interface RelayDeps {
  readonly store: EventStore
  readonly topic: Topic
  readonly states: RelayStates
}

export const emptyRelay: Omit<RelayState, 'token'> = {
  checkpoint: null,
  counts: emptyFeed.counts,
  nextOffsets: emptyFeed.counts,
}

/**
 * The state to go on from, after a look at both ends.
 * @throws LogMismatch when the store is not the one that was relayed
 * @throws TopicLost when the topic is shorter than what it acknowledged
 */
export async function takeUp({ store, topic, states }: RelayDeps): Promise<RelayState> {
  const state = await states.load()
  if (state.checkpoint !== null) await verifyCheckpoint(store, state.checkpoint, 'was relayed')
  const ends = await topic.endOffsets()
  for (const [partition, next] of state.nextOffsets.entries()) {
    const end = ends[partition] ?? 0n
    if (end < next)
      await startOver(states, state, `partition ${partition} ends at ${end}, but ${next} was acknowledged`)
  }
  return state
}

/**
 * Relays events that follow the state's checkpoint, in order.
 * @throws TopicLost, RelayMoved, UnreadableEvent and what the topic and the states throw: begin again with `takeUp`
 */
export async function relayBatch(
  state: RelayState,
  events: readonly PositionedEvent[],
  { topic, states }: Pick<RelayDeps, 'topic' | 'states'>,
): Promise<RelayState> {
  const position = state.checkpoint?.position ?? null
  const fed = feedAll({ position, counts: state.counts }, events)
  if (fed.state.position === position) return state // nothing new
  const last = events.findLast((event) => event.position === fed.state.position)
  if (last === undefined) throw new Error('a batch ended at an event that is not in it')

  const acknowledged = fed.items.length === 0 ? new Map<number, bigint>() : await topic.send(fed.items)
  const nextOffsets = state.nextOffsets.map((before, partition) => acknowledged.get(partition) ?? before)
  for (const [partition, next] of acknowledged) {
    const first = next - BigInt(fed.items.filter((item) => item.partition === partition).length)
    const before = state.nextOffsets[partition] ?? 0n
    if (first < before) {
      await startOver(
        states,
        state,
        `partition ${partition} took a message at ${first}, but ${before} was acknowledged`,
      )
    }
  }
  return states.store(state, { checkpoint: checkpointAt(last), counts: fed.state.counts, nextOffsets })
}

/** Position, counts and offsets go together: a count says how many of the partition's events stand in the topic. */
async function startOver(states: RelayStates, state: RelayState, why: string): Promise<never> {
  await states.store(state, emptyRelay)
  throw new TopicLost(`the topic was deleted, recreated or cut off: ${why}. Everything is relayed again`)
}
