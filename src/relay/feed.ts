/**
 * What a log event becomes for the metering consumer. Pure, and the same for the Kafka relay and for the direct feed,
 * so that both hand over the same items in the same order.
 */

import { parseData, tickData, watermarkStream } from '../events/metering.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { Position, PositionedEvent } from '../eventstore/store.ts'
import { comparePositions } from '../projections/generations.ts'

/** Partitions of the topic. Never changes for a topic's life: a customer must stay in one partition. */
export const partitionCount = 12

/** What to subscribe to: the customers' streams and the ticks. */
export const fedPrefixes: readonly string[] = ['customer-', watermarkStream]

/** An event of a customer, as stored. */
export interface FedEvent {
  readonly kind: 'event'
  readonly partition: number
  readonly customerId: string
  readonly event: PositionedEvent
}

/** "Everything of this partition up to here has been handed over." */
export interface Watermark {
  readonly kind: 'watermark'
  readonly partition: number
  /** T, ISO 8601 UTC: complete up to here, but for what METERING_GRACE allows. */
  readonly through: string
  /** Position of the tick in $all. */
  readonly position: Position
  /** Customer events of this partition from the log's beginning up to that position. */
  readonly count: bigint
}

export type FeedItem = FedEvent | Watermark

/** An item as either feed hands it to the consumer; the offset is Kafka's, null from the direct feed. */
export interface Fed {
  readonly item: FeedItem
  readonly offset: bigint | null
}

export interface FeedState {
  /** Of the last event folded. */
  readonly position: Position | null
  /** Customer events so far, by partition; `partitionCount` of them. */
  readonly counts: readonly bigint[]
}
export const emptyFeed: FeedState = { position: null, counts: Array.from({ length: partitionCount }, () => 0n) }

/** First 8 hex digits of the UUID modulo the partitions: version 4 UUIDs are uniform there. */
export function partitionOf(customerId: string): number {
  return Number.parseInt(customerId.slice(0, 8), 16) % partitionCount
}

const customerStreamOf = /^customer-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** The customer whose stream this is, or null. */
export function customerOf(stream: string): string | null {
  return customerStreamOf.exec(stream)?.[1] ?? null
}

/**
 * Folds one event. A customer's becomes one item and counts; a tick becomes a watermark for every partition; anything
 * else, and what stands before the position already, becomes nothing.
 *
 * The counts are a function of the log alone: at any position, Σ(head revision + 1) over the partition's customers.
 *
 * @throws UnreadableEvent for a tick that is none, or a customer's stream without a customer's id
 */
export function feed(state: FeedState, event: PositionedEvent): { state: FeedState; items: FeedItem[] } {
  const { stream, type, position } = event
  if (state.position !== null && comparePositions(position, state.position) <= 0) return { state, items: [] }

  if (stream.startsWith('customer-')) {
    const customerId = customerOf(stream)
    if (customerId === null) throw new UnreadableEvent(`${stream} is no customer's stream: it does not end in a UUID`)
    const partition = partitionOf(customerId)
    const counts = state.counts.with(partition, (state.counts[partition] ?? 0n) + 1n)
    return { state: { position, counts }, items: [{ kind: 'event', partition, customerId, event }] }
  }
  if (stream === watermarkStream && type === 'Tick') {
    const { data } = parseData(event, tickData)
    const items = state.counts.map(
      (count, partition): Watermark => ({ kind: 'watermark', partition, through: data.occurredAt, position, count }),
    )
    return { state: { position, counts: state.counts }, items }
  }
  return { state: { position, counts: state.counts }, items: [] }
}

/** Folds a batch. @throws UnreadableEvent */
export function feedAll(
  before: FeedState,
  events: readonly PositionedEvent[],
): { state: FeedState; items: FeedItem[] } {
  let state = before
  const items: FeedItem[] = []
  for (const event of events) {
    const step = feed(state, event)
    state = step.state
    items.push(...step.items)
  }
  return { state, items }
}
