/**
 * Who has lost a licence, as the log itself says it: AWS takes what was used under it for one hour more, and the feed
 * may lag longer than that. Only the events that end or change a licence are followed, from the place on up to which
 * everything is surely folded, so nothing has to be kept.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { asError } from '../as-error.ts'
import { backOffMs } from '../back-off.ts'
import type { CustomerEventType } from '../events/catalogue.ts'
import type { EventStore, Position } from '../eventstore/store.ts'
import { comparePositions } from '../projections/generations.ts'
import { customerOf } from '../relay/feed.ts'
import type { MeteringTables, PartitionRow } from './tables.ts'

/** Customers of whom a licence's end or change is in the log and not yet dealt with. */
export interface Endings {
  /** Customer → revision of their newest such event. */
  standing(): ReadonlyMap<string, bigint>
  /** Everything that events up to this revision asked for is done. */
  settled(customerId: string, revision: bigint): void
}

export interface EndingsOptions {
  readonly store: Pick<EventStore, 'subscribe'>
  readonly tables: Pick<MeteringTables, 'partitions'>
  readonly signal: AbortSignal
  /** A failure that is retried. */
  readonly onTrouble: (error: Error) => void
}

const types: readonly CustomerEventType[] = ['SubscriptionEnded', 'SubscriptionResumed', 'LicenceChanged']

/** Follows in the background until the signal aborts. */
export function followEndings({ store, tables, signal, onTrouble }: EndingsOptions): Endings & {
  /** Resolves when nothing is followed any more. Never rejects. */
  readonly ended: Promise<void>
} {
  const standing = new Map<string, bigint>()
  let after: Position | undefined
  let isPlaced = false

  async function follow(): Promise<void> {
    if (!isPlaced) after = judgedEverywhere(await tables.partitions())
    isPlaced = true
    for await (const { stream, revision, position } of store.subscribe({ types, after, signal })) {
      after = position
      const customerId = customerOf(stream)
      if (customerId !== null) standing.set(customerId, revision)
    }
  }

  async function run(): Promise<void> {
    for (let failures = 1; !signal.aborted; failures++) {
      const before = after
      try {
        await follow()
      } catch (thrown) {
        if (signal.aborted) return
        if (after !== before) failures = 1
        onTrouble(asError(thrown))
      }
      await pause(backOffMs(failures), undefined, { signal }).catch(() => {})
    }
  }

  return {
    standing: () => standing,
    settled(customerId, revision) {
      if (standing.get(customerId) === revision) standing.delete(customerId)
    },
    ended: run(),
  }
}

/** Up to here everything is folded, whatever the partition; undefined while one of them has judged nothing. */
function judgedEverywhere(partitions: readonly PartitionRow[]): Position | undefined {
  const [first, ...others] = partitions.map(({ judgedPosition }) => judgedPosition)
  return (
    others.reduce<Position | null | undefined>(
      (least, next) => (least == null || next === null ? null : comparePositions(next, least) < 0 ? next : least),
      first,
    ) ?? undefined
  )
}
