/** Reads one customer's streams again, where a pass over the whole log has kept too little to answer. */
import { customerStream } from '../events/catalogue.ts'
import { meteringStream, parseMeteringEvent } from '../events/metering.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { readable } from './replay.ts'
import { type CustomerBook, foldCustomer, foldMetering, monthOfMetering, newBook } from './verify-book.ts'

type Log = Pick<EventStore, 'readForward'>

/** Last revisions to fold, of the customer's stream and of the metering stream; −1 for none. */
export interface Upto {
  readonly revision: bigint
  readonly meteringRevision: bigint
}

/**
 * The customer with all months in full, at these revisions. The metering stream comes first, so each call finds every
 * seal that was made without it. Events that cannot be read were named in the pass.
 *
 * @param onFault told of events of metering that cannot stand behind those before them
 * @throws EventStoreUnavailable
 */
export async function foldAgain(
  log: Log,
  customerId: string,
  upto: Upto,
  onFault: (stored: StoredEvent, month: string, fault: string) => void = () => {},
): Promise<CustomerBook> {
  const book = newBook(customerId)
  for await (const stored of readUpto(log, meteringStream(customerId), upto.meteringRevision)) {
    try {
      const { event, metadata } = parseMeteringEvent(stored)
      const head = { revision: stored.revision, hash: metadata.hash }
      const faults = foldMetering(book, event, head, true)
      for (const fault of faults) onFault(stored, monthOfMetering(event), fault)
    } catch (error) {
      if (!(error instanceof UnreadableEvent)) throw error
    }
  }
  for await (const stored of readUpto(log, customerStream(customerId), upto.revision)) {
    const logged = readable(stored, () => {})
    if (logged !== null) foldCustomer(book, logged, true)
  }
  return book
}

async function* readUpto(log: Log, stream: string, last: bigint): AsyncGenerator<StoredEvent, void, void> {
  if (last < 0n) return
  for await (const stored of log.readForward(stream, 0n)) {
    if (stored.revision > last) return
    yield stored
  }
}

/**
 * Both streams of a customer in an order that the log may have had them in: what metering says of a revision comes
 * behind it.
 * @throws EventStoreUnavailable
 */
export async function* bothStreams(log: Log, customerId: string): AsyncGenerator<StoredEvent, void, void> {
  const calls = log.readForward(customerStream(customerId), 0n)[Symbol.asyncIterator]()
  let last = -1n
  let isOver = false
  async function* callsUpto(revision: bigint): AsyncGenerator<StoredEvent, void, void> {
    while (!isOver && last < revision) {
      const next = await calls.next()
      isOver = next.done === true
      if (next.done === true) return
      last = next.value.revision
      yield next.value
    }
  }
  for await (const stored of log.readForward(meteringStream(customerId), 0n)) {
    yield* callsUpto(revisionNamed(stored))
    yield stored
  }
  yield* callsUpto(2n ** 63n)
}

/** The revision of the customer's stream up to which an event of metering tells something; −1 for none. */
export function revisionNamed({ data }: Pick<StoredEvent, 'data'>): bigint {
  const { throughRevision, revision } = (data ?? {}) as Record<string, unknown>
  const named = throughRevision ?? revision
  return Number.isSafeInteger(named) ? BigInt(named as number) : -1n
}
