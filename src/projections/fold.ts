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
      // This loop runs once per event of a replay: a run of one stream, as group commits make them, looks it up once.
      let stream = ''
      let { head, state } = unknown
      for (const stored of events) {
        if (stored.stream !== stream) {
          if (stream !== '') known.set(stream, { head, state })
          stream = stored.stream
          ;({ head, state } = known.get(stream) ?? unknown)
        }
        if (stored.revision <= head.revision) continue // delivered twice
        const { event, metadata } = parseCustomerEvent(stored)
        const { customerId } = event.data
        const fault = placeFault(head, stored, metadata.prevHash, customerId)
        if (fault !== null) {
          throw new LogMismatch(`${stream} revision ${stored.revision} does not follow what was folded: ${fault}`)
        }
        const before = state
        state = evolve(before, event)
        head = { revision: stored.revision, hash: metadata.hash }
        const { actor } = metadata
        folded.push({ customerId, ...head, eventId: stored.id, actor, event, before, after: state })
      }
      if (stream !== '') known.set(stream, { head, state })
      for (const [name, value] of known) cache.set(name, value)
      const last = lastOfEach(folded)
      const revisions = new Map(last.map(({ customerId, revision }) => [customerId, revision]))
      return { statements: projections.flatMap((projection) => projection.fold(folded, last)), revisions }
    },
  }
}

/** The last event of each customer. Backwards, so that a run of one customer is looked up once. */
function lastOfEach(folded: readonly FoldedEvent[]): FoldedEvent[] {
  const last = new Map<string, FoldedEvent>()
  let customerId = ''
  for (let i = folded.length - 1; i >= 0; i--) {
    const candidate = folded[i]
    if (candidate === undefined || candidate.customerId === customerId) continue
    customerId = candidate.customerId
    if (!last.has(customerId)) last.set(customerId, candidate)
  }
  return [...last.values()]
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
