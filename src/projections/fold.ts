/**
 * Stored events → statements: checks that each event follows the head of its stream, folds the customer's state, and
 * lets each projection say which rows change. Heads and states are the rows of `ledger_snapshots`, kept in memory while
 * this is their only writer.
 */
import { LRUCache } from 'lru-cache'
import type pg from 'pg'
import { LogMismatch } from '../commands/errors.ts'
import { type CustomerState, evolve, initialState } from '../commands/state.ts'
import { customerStream } from '../events/catalogue.ts'
import { emptyHead, type Head } from '../events/chain.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import type { FoldedEvent, Projection, Statement } from './projection.ts'

interface Known {
  readonly head: Head
  readonly state: CustomerState
}
const unknown: Known = { head: emptyHead, state: initialState }

export interface Fold {
  /**
   * Folds a batch. Streams not in memory are loaded through `client`, whose search_path names the generation. What it
   * keeps in memory is true only once the statements are committed: after a failure begin with a new one.
   * @throws LogMismatch, UnreadableEvent
   */
  batch(client: pg.ClientBase, events: readonly StoredEvent[]): Promise<FoldedBatch>
}

export interface FoldedBatch {
  readonly statements: readonly Statement[]
  /** Customer id → the revision their rows now stand at. */
  readonly revisions: ReadonlyMap<string, bigint>
}

const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const maxKnown = 10_000

export function createFold(projections: readonly Projection[]): Fold {
  const cache = new LRUCache<string, Known>({ max: maxKnown })

  return {
    async batch(client, events) {
      const known = await knownStreams(client, cache, new Set(events.map(({ stream }) => stream)))
      const folded: FoldedEvent[] = []
      const revisions = new Map<string, bigint>()
      // This loop runs once per event of a replay: as little as possible is made in it.
      for (const stored of events) {
        const before = known.get(stored.stream) ?? unknown
        if (stored.revision <= before.head.revision) continue // delivered twice
        const { event, metadata } = parseCustomerEvent(stored)
        const { customerId } = event.data
        const fault = placeFault(before.head, stored, metadata.prevHash, customerId)
        if (fault !== null) {
          throw new LogMismatch(
            `${stored.stream} revision ${stored.revision} does not follow what was folded: ${fault}`,
          )
        }
        const { hash } = metadata
        const state = evolve(before.state, event)
        known.set(stored.stream, { head: { revision: stored.revision, hash }, state })
        folded.push({ customerId, revision: stored.revision, hash, event, before: before.state, after: state })
      }
      for (const [stream, value] of known) cache.set(stream, value)
      for (const { customerId, revision } of folded) revisions.set(customerId, revision)
      if (folded.length === 0) return { statements: [], revisions }
      return { statements: projections.flatMap((projection) => projection.fold(folded)), revisions }
    },
  }
}

function placeFault(head: Head, stored: StoredEvent, prevHash: string, customerId: string): string | null {
  if (stored.revision !== head.revision + 1n) return `revision ${head.revision + 1n} is missing`
  if (prevHash !== head.hash) return 'its prevHash is not the hash of the event before it'
  if (stored.stream !== customerStream(customerId)) return `its customerId is ${customerId}`
  return null
}

async function knownStreams(client: pg.ClientBase, cache: LRUCache<string, Known>, streams: ReadonlySet<string>) {
  const known = new Map<string, Known>()
  const missing: string[] = []
  for (const stream of streams) {
    const value = cache.get(stream)
    if (value === undefined) missing.push(stream.slice('customer-'.length))
    else known.set(stream, value)
  }
  if (missing.length === 0) return known
  const { rows } = await client.query<{
    customer_id: string
    revision: bigint | string
    last_hash: string
    state: CustomerState
  }>({
    name: 'ledger_snapshots.load',
    text: 'select customer_id, revision, last_hash, state from ledger_snapshots where customer_id = any($1::uuid[])',
    // A stream that only looks like a customer's has no row; parsing its events says what is wrong with it.
    values: [missing.filter((id) => isUuid.test(id))],
  })
  for (const { customer_id, revision, last_hash, state } of rows) {
    known.set(customerStream(customer_id), { head: { revision: BigInt(revision), hash: last_hash }, state })
  }
  return known
}
