/** What the consumer's specs share: an event store and tables in memory, one customer, ticks, and the way between. */
import { freeze } from '../../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal, type Voidable } from '../../src/commands/customer.ts'
import { evolve, initialState } from '../../src/commands/state.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { emptyHead } from '../../src/events/chain.ts'
import type { MeteringEvent } from '../../src/events/metering.ts'
import { type CustomerBooks, howeverMany } from '../../src/metering/books.ts'
import { consumeBatch } from '../../src/metering/consume.ts'
import { decideForIn } from '../../src/metering/metering-log.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import type { MeteringRules } from '../../src/metering/rules.ts'
import { decideAdjustments, decideSeals } from '../../src/metering/seal.ts'
import { type Fed, partitionOf } from '../../src/relay/feed.ts'
import { customerId, detection, registration } from '../support/given.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { type MemoryTables, memoryTables } from '../support/memory-tables.ts'
import { rules as usual } from './books.ts'
import { itemsOf, tick } from './feeding.ts'
import { licence } from './story.ts'

export const partition = partitionOf(customerId)
export const graceMs = usual.graceMs

export interface Alarm {
  readonly kind: string
  readonly message: string
}

/** A consumer and a sealer on these tables; another one on the same tables is another process. */
export function processOn(store: MemoryStore, tables: MemoryTables, settings: Partial<MeteringRules> = {}) {
  const rules = { ...usual, ...settings }
  const alarms: Alarm[] = []
  const onAlarm = (kind: string, message: string) => void alarms.push({ kind, message })
  const patience = { sendMs: 20, attemptMs: 60 }
  const decideFor = decideForIn({ store, tables, actor: 'system', onAlarm, patience })
  const consume = (fed: readonly Fed[], of = partition) => consumeBatch({ store, tables, graceMs, onAlarm }, of, fed)

  return {
    alarms,
    consume,
    decideFor,
    /** Consumes everything there is in the log. */
    async catchUp() {
      const items = await itemsOf(store)
      for (const of of new Set(items.map((item) => item.partition))) await consume(fedOf(items, of), of)
    },
    /** Seals what is due at `now`, as far as watermarks are judged; ahead of the feed if that is wanted. */
    async seals(now: string, id = customerId, isAhead = false): Promise<readonly MeteringEvent[] | null> {
      const rows = await tables.partitions()
      const { judgedThrough = '' } = rows.find((row) => row.partition === partitionOf(id)) ?? {}
      const decide = (books: CustomerBooks) => [
        ...decideAdjustments(books, now),
        ...decideSeals(books, { rules, now, judgedThrough }),
      ]
      return await decideFor(id, decide, isAhead ? { ahead: () => howeverMany } : {})
    },
  }
}

/** The items of a partition as the direct feed hands them over. */
export const fedOf = (items: Awaited<ReturnType<typeof itemsOf>>, of = partition): Fed[] =>
  items.filter((item) => item.partition === of).map((item) => ({ item, offset: null }))

/** Everything but the partitions that the customer is not in. */
export function rowsOf(tables: MemoryTables) {
  const { partitions, ...rows } = tables.dump()
  return { ...rows, partition: partitions[partition] }
}

export function meteringWorld() {
  const store = createMemoryStore()
  const tables = memoryTables()
  const origin = { correlationId: 'world', causationId: 'world', actor: 'system' }
  let state = initialState
  let head = emptyHead

  const world = {
    store,
    tables,
    ...processOn(store, tables),

    async does(at: string, command: CustomerCommand): Promise<void> {
      const decided = decide(state, command, at)
      if (isRefusal(decided)) throw new Error(`the world refuses ${command.type}: ${decided.message}`)
      const frozen = freeze(
        customerStream(customerId),
        head,
        decided.map((event) => ({ event, origin })),
      )
      const outcome = await store.send(frozen.attempt, 1_000)
      if (outcome.kind !== 'appended') throw new Error(`the world's append ended as ${outcome.kind}`)
      state = decided.reduce(evolve, state)
      head = frozen.head
    },
    /** A customer who has used up their credit of March. */
    async registers(): Promise<void> {
      const customer = registration({ licence: licence(1), monthlyLimit: 1 })
      await world.does('2026-03-01T00:00:00.000Z', customer)
      await world.call('2026-03-01T00:00:01.000Z')
    },
    async call(at: string): Promise<Voidable> {
      await world.does(at, detection())
      const [event] = store.stream(customerStream(customerId)).slice(-1)
      if (event === undefined) throw new Error('the call left no event')
      const { detectionId, yearMonth, funding, bucketKey } = event.data as Voidable
      return { detectionId, yearMonth, funding, bucketKey, revision: Number(event.revision) }
    },
    async tick(at: string): Promise<void> {
      if ((await tick(store, at)) === null) throw new Error(`the tick of ${at} was not appended`)
    },
    /** The items of the customer's partition, from the `from`-th on. */
    fed: async (from = 0): Promise<Fed[]> => fedOf(await itemsOf(store)).slice(from),
    records: (): MeteringRecord[] => tables.dump().records as MeteringRecord[],
    /** Every record as `10: 2 sealed`: the hour of 10 March, calls, state. */
    lines: (): string[] =>
      world.records().map(({ hour, calls, state }) => `${hour.slice(11, 13)}: ${calls.quantity} ${state}`),
    rows: () => rowsOf(tables),
    /** What empty tables become when everything is folded from the log. */
    async rebuilt() {
      const fresh = memoryTables()
      await processOn(store, fresh).consume(await world.fed())
      return rowsOf(fresh)
    },
  }
  return world
}
