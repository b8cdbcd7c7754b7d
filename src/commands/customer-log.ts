/** One customer's stream, folded: where its head is, what the state is, which idempotency keys it saw lately. */
import { type CustomerEvent, customerStream } from '../events/catalogue.ts'
import { emptyHead, type Head } from '../events/chain.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { LogMismatch } from './errors.ts'
import { IdempotencyTail } from './idempotency.ts'
import { type CustomerState, evolve, initialState } from './state.ts'

export interface Snapshot {
  readonly head: Head
  readonly state: CustomerState
}

/** Newest snapshot of a customer made by the current fold version, or null. */
export type LoadSnapshot = (customerId: string) => Promise<Snapshot | null>

export class CustomerLog {
  readonly stream: string
  state: CustomerState
  head: Head
  readonly tail: IdempotencyTail
  private readonly store: EventStore

  private constructor(store: EventStore, stream: string, { state, head }: Snapshot) {
    this.store = store
    this.stream = stream
    this.state = state
    this.head = head
    this.tail = new IdempotencyTail(head.revision)
  }

  /**
   * Cold start: from the snapshot and the stream's tail; without one, from the newest opener; else from the start.
   * @throws EventStoreUnavailable, LogMismatch, UnreadableEvent
   */
  static async open(store: EventStore, loadSnapshot: LoadSnapshot, customerId: string): Promise<CustomerLog> {
    const stream = customerStream(customerId)
    const snapshot = await loadSnapshot(customerId)
    if (snapshot !== null) {
      const log = new CustomerLog(store, stream, snapshot)
      // Read the snapshot's own event again: its hash proves that this is the store the snapshot was made from.
      if ((await hashAt(store, stream, snapshot.head.revision)) !== snapshot.head.hash) {
        throw new LogMismatch(`${stream} does not hold the event of its snapshot at revision ${snapshot.head.revision}`)
      }
      await log.catchUp()
      return log
    }
    let opener: StoredEvent | undefined
    for await (const event of store.readBackward(stream)) {
      if (event.type !== 'MonthlyCreditsGranted') continue
      opener = event
      break
    }
    if (opener === undefined) {
      const log = new CustomerLog(store, stream, { head: emptyHead, state: initialState })
      await log.catchUp()
      return log
    }
    const state = evolve(initialState, parseCustomerEvent(opener).event)
    const log = new CustomerLog(store, stream, { state, head: { revision: opener.revision, hash: hashOf(opener) } })
    await log.catchUp()
    return log
  }

  /**
   * Folds what others appended since. Returns how many events that were.
   * @throws EventStoreUnavailable, LogMismatch, UnreadableEvent
   */
  async catchUp(): Promise<number> {
    let count = 0
    for await (const stored of this.store.readForward(this.stream, this.head.revision + 1n)) {
      const { event, metadata } = parseCustomerEvent(stored)
      if (stored.revision !== this.head.revision + 1n || metadata.prevHash !== this.head.hash) {
        throw new LogMismatch(
          `${this.stream}: revision ${stored.revision} does not follow the head ${this.head.revision}`,
        )
      }
      this.fold(event, { revision: stored.revision, hash: metadata.hash })
      count += 1
    }
    return count
  }

  /** Folds events of our own that were just committed, the last of them at `head`. */
  committed(events: readonly CustomerEvent[], head: Head): void {
    let revision = head.revision - BigInt(events.length)
    for (const event of events) this.fold(event, { revision: ++revision, hash: head.hash })
  }

  private fold(event: CustomerEvent, head: Head): void {
    this.state = evolve(this.state, event)
    this.head = head
    this.tail.add(head.revision, event)
  }
}

function hashOf(event: StoredEvent): string {
  const { hash } = event.metadata as { hash?: unknown }
  if (typeof hash !== 'string') throw new LogMismatch(`${event.stream} revision ${event.revision} has no hash`)
  return hash
}

async function hashAt(store: EventStore, stream: string, revision: bigint): Promise<string | null> {
  for await (const event of store.readForward(stream, revision, 1)) return hashOf(event)
  return null
}
