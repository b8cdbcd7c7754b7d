/**
 * The one way to write to a customer's metering stream: read it to its end, decide, append at exactly that place, fold
 * what was appended. The customer's row is locked meanwhile, so processes take turns; the expected revision is what
 * makes it safe, also against one that no longer holds the lock.
 */
import { randomUUID } from 'node:crypto'
import { defaultPatience, type Patience, sendUntilKnown } from '../commands/attempt.ts'
import type { Metadata } from '../events/catalogue.ts'
import { chain, type Head } from '../events/chain.ts'
import { type MeteringEvent, meteringEventData, meteringSchemaVersion, meteringStream } from '../events/metering.ts'
import type { Attempt, EventStore, StoredEvent } from '../eventstore/store.ts'
import { partitionOf } from '../relay/feed.ts'
import type { Alarms } from './alarms.ts'
import type { BooksWanted, CustomerBooks, DecideFor } from './books.ts'
import { catchUp, type FoldTransaction, foldAppended, foldToEnd } from './catch-up.ts'
import { draftOn } from './draft.ts'
import { newMeter } from './meter.ts'
import { sealFaults } from './seal-faults.ts'
import type { CustomerMeter, MeteringTables, MeteringTransaction } from './tables.ts'

export interface MeteringLogDeps {
  readonly tables: Pick<MeteringTables, 'transaction'>
  readonly store: EventStore
  /** Who decides, for the events' metadata. */
  readonly actor: 'system' | 'operator'
  readonly onAlarm?: Alarms['onAlarm'] | undefined
  readonly patience?: Patience | undefined
}

/**
 * Nothing is known to have been appended. If it was after all, or is yet to be, the next decision reads it first or
 * finds its place taken.
 */
export class MeteringUnavailable extends Error {
  override name = 'MeteringUnavailable'
}

/** How often a decision is made again because somebody else was faster. */
const maxTries = 10
/**
 * The event store takes 1 MiB in one append; an event of ours stays below 4 KiB, but for the seal of an hour that others
 * were carried into: some 200 bytes for each of them, and a month has 744 hours.
 */
const maxEventsPerAttempt = 250

/**
 * Decides on the newest books and commits. `decide` must be pure: it runs again on newer books when somebody else was
 * faster. A decision too long for one append can be in the log in part, when somebody came in between; that part is
 * returned then.
 *
 * The functions throw MeteringUnavailable, EventStoreUnavailable, UnreadableEvent and LogMismatch.
 */
export function decideForIn(deps: MeteringLogDeps): DecideFor {
  const { tables, store, onAlarm = () => {} } = deps
  return (customerId, decide, wanted = {}) =>
    tables.transaction(async (tx) => {
      const known = (await tx.lockCustomers([customerId])).get(customerId)
      if (known === undefined && wanted.ahead === undefined) return null
      let meter = known ?? (await atFirstSight(tx, customerId))
      for (let tries = 0; tries < maxTries; tries++) {
        meter = await catchUp(tx, { store, onAlarm }, meter)
        const books = await booksFor(tx, meter, wanted, store)
        if (books === null) return []
        for (const fault of sealFaults(books)) onAlarm('metering_seal_fault', fault, { customerId })
        const decided = decide(books)
        if (decided.length === 0) return []
        const committed = await append(deps, meter, decided)
        if (committed.length === 0) continue
        await foldAppended(tx, { store, onAlarm }, meter, committed)
        return decided.slice(0, committed.length)
      }
      throw new MeteringUnavailable(`somebody else writes to ${meteringStream(customerId)} all the time`)
    })
}

/**
 * A customer whom the feed has not brought: nobody but the consumer makes their row, and it holds the partition's while
 * it does.
 */
async function atFirstSight(tx: MeteringTransaction, customerId: string): Promise<CustomerMeter> {
  await tx.lockPartition(partitionOf(customerId))
  return (await tx.lockCustomers([customerId])).get(customerId) ?? newMeter(customerId)
}

/**
 * What the books need of the customer's stream beyond the feed is folded in a draft. The rows' own head stays: only the
 * feed moves it, or the watermark's count would no longer tell what the feed left out. The feed's events fall below the
 * seals' throughRevision then, and so into the same records. Null where the feed is further behind than is wanted.
 */
async function booksFor(
  tx: MeteringTransaction,
  meter: CustomerMeter,
  { recordIds, ahead }: BooksWanted,
  store: EventStore,
): Promise<CustomerBooks | null> {
  const books = await booksOf(tx, meter, recordIds)
  const most = ahead?.(books) ?? 0
  if (most === 0) return books
  const draft = draftOn(tx)
  // What is late is told where the feed's events are folded.
  const atEnd = await foldToEnd(draft, { store, onAlarm: () => {} }, meter, most)
  if (atEnd === null) return null
  return atEnd === meter ? books : await booksOf(draft, atEnd, recordIds)
}

/** Records of months that are closed are left out once nothing can follow for them. */
async function booksOf(
  tx: FoldTransaction,
  meter: CustomerMeter,
  recordIds: readonly string[] | undefined,
): Promise<CustomerBooks> {
  return {
    meter,
    records:
      recordIds === undefined
        ? await tx.recordsOf(meter.customerId, Object.keys(meter.state.months))
        : [...(await tx.recordsById(recordIds)).values()],
    adjustments: await tx.adjustmentsOf(meter.customerId),
  }
}

/** Those of the events that are in the log, as they stand there; not all of them when another append came first. */
async function append(
  { store, actor, patience = defaultPatience }: MeteringLogDeps,
  { customerId, meteringHead }: CustomerMeter,
  events: readonly MeteringEvent[],
): Promise<StoredEvent[]> {
  const stream = meteringStream(customerId)
  const decision = randomUUID()
  const origin = { correlationId: decision, causationId: decision, actor }
  let head = meteringHead
  const committed: StoredEvent[] = []
  while (committed.length < events.length) {
    const slice = events.slice(committed.length, committed.length + maxEventsPerAttempt)
    const next = freeze(stream, head, slice, origin)
    const outcome = await sendUntilKnown(store, next.attempt, patience)
    if (outcome.kind === 'conflict') break
    if (outcome.kind !== 'appended') {
      throw new MeteringUnavailable(`an append to ${stream} ended as ${outcome.kind}: ${outcome.cause.message}`, {
        cause: outcome.cause,
      })
    }
    const first = head.revision + 1n
    const created = new Date() // nearly: only the store knows, and nothing that is folded asks
    committed.push(
      ...next.attempt.events.map((event, i) => ({ ...event, stream, revision: first + BigInt(i), created })),
    )
    head = next.head
  }
  return committed
}

function freeze(
  stream: string,
  head: Head,
  events: readonly MeteringEvent[],
  origin: Pick<Metadata, 'correlationId' | 'causationId' | 'actor'>,
): { attempt: Attempt; head: Head } {
  const unchained = events.map(({ type, data }) => ({
    id: randomUUID(),
    type,
    data: meteringEventData[type].parse(data),
    metadata: { ...origin, schema: meteringSchemaVersion },
  }))
  const linked = chain(stream, head, unchained)
  const expectedRevision = head.revision < 0n ? 'no_stream' : head.revision
  return { attempt: { stream, expectedRevision, events: linked.events }, head: linked.head }
}
