/** The relay's surroundings in memory: a topic that takes items twice when an answer is lost, and the relay's state. */
import type { Extent } from '../../src/metering/kafka-place.ts'
import type { Fed, FeedItem } from '../../src/relay/feed.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { emptyRelay, RelayMoved, type RelayState, type RelayStates, type Topic } from '../../src/relay/step.ts'
import { pause, type Random, type SimProcess } from './world.ts'

export interface MemoryTopic {
  /** Messages of each partition, by offset. */
  readonly partitions: readonly FeedItem[][]
  /** Probability that an answer is lost, after which the relay sends the batch again. */
  lostAnswers: number
  /** What a relay process has in its hand: one send at a time. */
  openedBy(process: SimProcess): Topic
  read(partition: number, from: bigint, limit: number): Fed[]
  extents(): Map<number, Extent>
  /** The newest messages of a partition are gone. */
  cutOff(partition: number, count: number): void
  /** The topic is deleted and made anew. */
  recreate(): void
}

export function memoryTopic(random: Random): MemoryTopic {
  const partitions: FeedItem[][] = Array.from({ length: partitionCount }, () => [])
  const topic: MemoryTopic = {
    partitions,
    lostAnswers: 0,
    openedBy: (process) => ({
      async send(items) {
        for (;;) {
          const acknowledged = await process.io(() => {
            const next = new Map<number, bigint>()
            for (const item of items) {
              const partition = partitions[item.partition] ?? []
              partition.push(item)
              next.set(item.partition, BigInt(partition.length))
            }
            return next
          })
          if (!random.chance(topic.lostAnswers)) return acknowledged
          await pause(random.int(5_000))
        }
      },
      endOffsets: () => process.io(() => partitions.map(({ length }) => BigInt(length))),
      async close() {},
    }),
    read(partition, from, limit) {
      const messages = partitions[partition] ?? []
      const start = Number(from)
      return messages.slice(start, start + limit).map((item, i): Fed => ({ item, offset: BigInt(start + i) }))
    },
    extents: () => new Map(partitions.map(({ length }, partition) => [partition, { low: 0n, high: BigInt(length) }])),
    cutOff(partition, count) {
      const messages = partitions[partition]
      messages?.splice(Math.max(0, messages.length - count))
    },
    recreate() {
      for (const messages of partitions) messages.length = 0
    },
  }
  return topic
}

/** The relay's row, compare-and-set. */
export function memoryRelayStates(): { openedBy(process: SimProcess): RelayStates } {
  let row: RelayState = { ...emptyRelay, token: '0' }
  let version = 0
  return {
    openedBy: (process) => ({
      load: () => process.io(() => row),
      store: (before, next) =>
        process.io(() => {
          if (before.token !== row.token) throw new RelayMoved('another relay has gone on')
          version += 1
          row = { ...next, token: String(version) }
          return row
        }),
    }),
  }
}
