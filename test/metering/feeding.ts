/** What the specs of both feeds share: a log to be fed, and a consumer that only notes what it is given. */
import type pg from 'pg'
import type { EventStore, PositionedEvent } from '../../src/eventstore/store.ts'
import type { Consume } from '../../src/metering/feed.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { emptyFeed, type Fed, type FeedItem, fedPrefixes, feedAll } from '../../src/relay/feed.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { createCustomerLog } from '../support/customer-log.ts'
import { createPlayer, type Step } from '../support/histories.ts'

export const clock = { now: () => new Date().toISOString() }

const detect = { kind: 'detect', key: undefined } as const
const actions: readonly Step['action'][] = [
  ...Array(9).fill(detect),
  { kind: 'void', back: 0 },
  ...Array(9).fill(detect),
  { kind: 'replay', back: 1 },
  ...Array(9).fill(detect),
  { kind: 'licence', serial: 1 },
  { kind: 'void', back: 2 },
]

/**
 * Writes the history of three customers who run into overage, over the end of a month of virtual time, with a tick
 * after every few steps; then events of more customers, who are in other partitions, and a tick of now.
 */
export async function writeLog(store: EventStore, { steps = 120, events = 300 } = {}): Promise<void> {
  const player = createPlayer(store)
  for (let i = 0; i < steps; i++) {
    const action = actions[i % actions.length] ?? detect
    await player.play([{ customer: i % 3, minutes: 17, action }])
    if (i % 10 === 9) await tick(store, player.now)
  }
  const log = createCustomerLog(store, 20)
  await log.write(events, 5)
  await tick(store, clock.now())
}

export const tick = (store: EventStore, now: string) =>
  appendTick({ store, clock: { now: () => now }, databaseClock: async () => new Date(now) })

/** What the feeds subscribe to, so far. */
export async function eventsOf(store: EventStore): Promise<PositionedEvent[]> {
  const events: PositionedEvent[] = []
  for await (const event of store.readAll({ prefixes: fedPrefixes })) events.push(event)
  return events
}

/** Every item of the log so far, in its order. */
export const itemsOf = async (store: EventStore): Promise<FeedItem[]> => feedAll(emptyFeed, await eventsOf(store)).items

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

/** Every row of the metering tables as Postgres writes it, but for what only one of the feeds keeps. */
export async function dumpRows(pool: pg.Pool): Promise<Record<string, string[]>> {
  const tables = {
    customers: '*',
    open_months: '*',
    records: '*',
    adjustments: '*',
    closed_months: '*',
    partitions: 'partition, judged_through, judged_commit, judged_prepare',
  }
  const dump: Record<string, string[]> = {}
  for (const [table, columns] of Object.entries(tables)) {
    const { rows } = await pool.query<{ row: string }>(
      `select t::text as row from (select ${columns} from metering.${table}) t order by 1`,
    )
    dump[table] = rows.map(({ row }) => row)
  }
  return dump
}
