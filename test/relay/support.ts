/** What the relay's spec files share: reading a topic whole, and comparing it with the log. */
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { chainFault, emptyHead, type Head } from '../../src/events/chain.ts'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import { comparePositions } from '../../src/projections/generations.ts'
import { type FeedItem, fedPrefixes, partitionCount } from '../../src/relay/feed.ts'
import type { KafkaSettings } from '../../src/relay/kafka-settings.ts'
import { parseMessage } from '../../src/relay/messages.ts'
import { kafkaClient } from '../../src/relay/topic.ts'

/** Every item of a topic, by partition in the order of their offsets. */
export async function readTopic(settings: KafkaSettings, topic: string): Promise<FeedItem[][]> {
  const kafka = kafkaClient(settings, 'reader')
  const admin = kafka.admin()
  await admin.connect()
  const offsets = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  const partitions: FeedItem[][] = Array.from({ length: partitionCount }, () => [])
  const waiting = new Set(offsets.filter(({ high, low }) => high !== low).map(({ partition }) => partition))
  if (waiting.size === 0) return partitions
  const ends = new Map(offsets.map(({ partition, high }) => [partition, BigInt(high)]))

  const consumer = kafka.consumer({ groupId: `reader-${randomUUID()}`, allowAutoTopicCreation: false })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  let done = () => {}
  let fail = (_: unknown) => {}
  const finished = new Promise<void>((resolve, reject) => {
    done = resolve
    fail = reject
  })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      const { partition, messages } = batch
      try {
        for (const message of messages) partitions[partition]?.push(parseMessage({ ...message, partition }))
        if (BigInt(batch.lastOffset()) + 1n >= (ends.get(partition) ?? 0n)) waiting.delete(partition)
        if (waiting.size === 0) done()
      } catch (error) {
        fail(error)
      }
    },
  })
  await finished.finally(() => consumer.disconnect())
  return partitions
}

/** Everything in the store that the relay reads, up to the last tick, which must be at `through` or later. */
export async function readLog(store: EventStore, through: string): Promise<PositionedEvent[]> {
  const reading = new AbortController()
  const log: PositionedEvent[] = []
  for await (const event of store.subscribe({ prefixes: fedPrefixes, signal: reading.signal })) {
    log.push(event)
    const { occurredAt } = event.data as { occurredAt: string }
    if (event.type === 'Tick' && occurredAt >= through) break
  }
  return log
}

/** How often items came more than once. */
export interface Repeats {
  readonly events: number
  readonly watermarks: number
}

/**
 * The topic holds every event of the log as stored, in each stream's order, and at each watermark the partition held
 * what the watermark says. First arrivals count; whatever comes again must be the same.
 */
export function expectTopicOfLog(topic: readonly FeedItem[][], log: readonly PositionedEvent[]): Repeats {
  const customers = log.filter(({ stream }) => stream.startsWith('customer-'))
  const stored = new Map(customers.map((event) => [`${event.stream}@${event.revision}`, event]))
  const ticks = log.filter(({ stream }) => stream === 'watermark')
  let [arrived, repeatedEvents, repeatedWatermarks] = [0, 0, 0]

  for (const [partition, items] of topic.entries()) {
    const heads = new Map<string, Head>()
    let events = 0n
    let last = { commit: -1n, prepare: -1n }
    const marks = new Set<string>()
    for (const item of items) {
      expect(item.partition).toBe(partition)
      if (item.kind === 'watermark') {
        if (comparePositions(item.position, last) <= 0) repeatedWatermarks += 1
        else {
          expect(events).toBe(item.count)
          last = item.position
          marks.add(item.through)
        }
        continue
      }
      const { event } = item
      expect(event).toEqual(stored.get(`${event.stream}@${event.revision}`))
      const head = heads.get(event.stream) ?? emptyHead
      if (event.revision <= head.revision) {
        repeatedEvents += 1
        continue
      }
      expect(chainFault(head, event)).toBeNull()
      heads.set(event.stream, { revision: event.revision, hash: (event.metadata as { hash: string }).hash })
      events += 1n
    }
    for (const { data } of ticks) expect(marks).toContain((data as { occurredAt: string }).occurredAt)
    arrived += Number(events)
  }
  expect(arrived).toBe(customers.length)
  return { events: repeatedEvents, watermarks: repeatedWatermarks }
}
