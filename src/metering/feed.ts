/**
 * What brings the log to the consumer: Kafka (kafka-feed.ts), or the event store itself where there is no Kafka
 * (direct-feed.ts). Both hand over the same items in each partition's order, at least once.
 */
import { LogMismatch } from '../commands/errors.ts'
import type { Fed } from '../relay/feed.ts'
import { OtherMeteringVersion } from './schema.ts'

/** Folds items of one partition, in order, in one transaction. What was folded before is skipped. */
export type Consume = (partition: number, fed: readonly Fed[]) => Promise<unknown>

export interface MeteringFeed {
  lag(): FeedLag
  /** Resolves when the feed has ended: with the error that stopped it for good, or null after `stop`. */
  readonly ended: Promise<Error | null>
  stop(): Promise<void>
}

export interface FeedLag {
  /** Whether this process is fed: it leads (direct feed), or partitions are assigned to it (Kafka). */
  readonly active: boolean
  /** Items that are known to wait. Those nobody could read yet, because of failures, are not among them. */
  readonly waiting: number
  /** Items folded by this process since it started. */
  readonly folded: number
  /**
   * When the newest item folded here came to be. Each tick is an item: a minute ago is normal and ten are not.
   */
  readonly lastItemAt: Date | null
  /** Failures in a row since something was folded. */
  readonly failures: number
  /** Partitions that go no further until somebody has looked. */
  readonly stopped: readonly StoppedPartition[]
}

export interface StoppedPartition {
  readonly partition: number
  /** Of the message that cannot be read. */
  readonly offset: bigint
  readonly reason: string
}

/** Going on would bill from the wrong log, or write into another program's tables: the role ends. */
export const endsFeed = (error: Error): boolean => error instanceof LogMismatch || error instanceof OtherMeteringVersion

/** When an item came to be: an event when the store took it, a watermark at its time. */
export const createdAt = ({ item }: Fed): Date => (item.kind === 'event' ? item.event.created : new Date(item.through))
