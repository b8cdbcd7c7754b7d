/** What the specs of both feeds share: a log to be fed, and a consumer that only notes what it is given. */
import fc from 'fast-check'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import type { Consume } from '../../src/metering/feed.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { emptyFeed, type Fed, type FeedItem, fedPrefixes, feedAll } from '../../src/relay/feed.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { createCustomerLog } from '../support/customer-log.ts'
import { createPlayer, histories } from '../support/histories.ts'

export const clock = { now: () => new Date().toISOString() }

/**
 * Writes histories of some customers in virtual time, with a tick after every few steps, and events of more customers,
 * who are in other partitions too.
 */
export async function writeLog(store: EventStore, { seed = 1, steps = 120, events = 300 } = {}): Promise<void> {
  const arbitrary = histories({ maxLength: steps })
  const [history = []] = fc.sample(arbitrary, { seed, numRuns: 20 }).toSorted((a, b) => b.length - a.length)
  const player = createPlayer(store)
  for (let i = 0; i < history.length; i += 10) {
    await player.play(history.slice(i, i + 10))
    await tick(store, player.now)
  }
  const log = createCustomerLog(store, 20)
  await log.write(events, 5)
  await tick(store, clock.now())
}

export const tick = (store: EventStore, now: string) =>
  appendTick({ store, clock: { now: () => now }, databaseClock: async () => new Date(now) })

/** Every item of the log so far, in its order. */
export async function itemsOf(store: EventStore): Promise<FeedItem[]> {
  const events: PositionedEvent[] = []
  for await (const event of store.readAll({ prefixes: fedPrefixes })) events.push(event)
  return feedAll(emptyFeed, events).items
}

/** Says in a word which item it is, so that lists of them are short. */
export const nameOf = (item: FeedItem): string =>
  item.kind === 'event' ? `${item.event.stream}@${item.event.revision}` : `watermark ${item.through}`

export const namesOf = (items: readonly FeedItem[], partition: number): string[] =>
  items.filter((item) => item.partition === partition).map(nameOf)

export interface NotingConsumer {
  readonly consume: Consume
  /** Names of what was folded, by partition, in order. */
  readonly taken: Map<number, string[]>
  /** All that was handed over, what was skipped included. */
  offered: number
}

/** Keeps the consumer's promise about offsets: moved in a transaction, nothing below them is taken again. */
export function notingConsumer(tables: MeteringTables): NotingConsumer {
  const consumer: NotingConsumer = {
    taken: new Map(),
    offered: 0,
    consume: (partition, fed) =>
      tables.transaction(async (tx) => {
        consumer.offered += fed.length
        const row = await tx.lockPartition(partition)
        const isNew = ({ offset }: Fed) => offset === null || offset >= (row.nextOffset ?? 0n)
        const names = fed.filter(isNew).map(({ item }) => nameOf(item))
        const last = fed.at(-1)?.offset ?? null
        if (last !== null && last >= (row.nextOffset ?? 0n)) {
          await tx.save({ partition: { ...row, nextOffset: last + 1n } })
        }
        consumer.taken.set(partition, [...(consumer.taken.get(partition) ?? []), ...names])
      }),
  }
  return consumer
}
