/** A batch of commands → outcomes and events: the decider run over a queue, with idempotency keys looked up. */
import type { CustomerEvent } from '../events/catalogue.ts'
import type { Caused, Origin } from './attempt.ts'
import { type CustomerCommand, decide, isRefusal, type RefusalKind } from './customer.ts'
import type { CustomerLog } from './customer-log.ts'
import { type IdempotencyKey, type KeyHit, type KeyLookup, tablesBehind } from './idempotency.ts'
import { type CustomerState, evolve, openMonth } from './state.ts'

export const maxEventsPerAttempt = 256
const maxBytesPerAttempt = 512 * 1024 // the server refuses above 1 MiB

export interface LedgerRequest {
  readonly command: CustomerCommand
  readonly origin: Origin
  /** With RecordDetection or Observe: a detection found under one of these names of its key is replayed instead. */
  readonly idempotency?: { readonly keys: readonly IdempotencyKey[]; readonly lookup: KeyLookup } | undefined
  /** Aborted when the client goes away: the command is dropped if it was not sent yet. */
  readonly signal?: AbortSignal | undefined
}

/** How a command ended, with the state right after it, at `revision` of the customer's stream. */
export type Executed = { readonly state: CustomerState; readonly revision: bigint } & (
  | { readonly kind: 'done'; readonly events: readonly CustomerEvent[] }
  | { readonly kind: 'replayed'; readonly hit: KeyHit }
  | { readonly kind: 'refused'; readonly refusal: RefusalKind; readonly message: string }
  | { readonly kind: 'key_reused' }
  | { readonly kind: 'tables_behind' }
)

/** What a batch of commands comes to. */
export interface Plan {
  /** One for each command of the batch that fitted, in order. */
  readonly outcomes: readonly Executed[]
  readonly caused: readonly Caused[]
}

/** The month that a plan opens: an opener comes first, or right behind a registration. */
export function openedMonth({ caused }: Plan): string | undefined {
  for (const { event } of caused.slice(0, 2)) {
    if (event.type === 'MonthlyCreditsGranted') return event.data.yearMonth
  }
  return undefined
}

/**
 * Decides commands in order, each on the state that the one before it leaves behind, as many as fit one attempt.
 * Pure: what it decided counts once it is committed at the log's head.
 */
export function planBatch(log: CustomerLog, requests: readonly LedgerRequest[], now: string): Plan {
  let state = log.state
  let revision = log.head.revision
  let bytes = 0
  const outcomes: Executed[] = []
  const caused: Caused[] = []
  const uncommitted: [bigint, CustomerEvent][] = []
  for (const request of requests) {
    let { command } = request
    let hit: KeyHit | null = null
    if (request.idempotency !== undefined) {
      const { keys, lookup } = request.idempotency
      const found = log.tail.find(keys, lookup, now, uncommitted)
      if (found === tablesBehind) {
        outcomes.push({ kind: 'tables_behind', state: openMonth(state, now), revision })
        continue
      }
      if (found !== null && keys.every(({ body }) => found.body !== body)) {
        outcomes.push({ kind: 'key_reused', state: openMonth(state, now), revision })
        continue
      }
      // A detection and its replay never share an attempt: in doubt, the replay would forbid to void what it repeats.
      if (found !== null && found.revision > log.head.revision && caused.length > 0) break
      hit = found
    }
    if (
      hit !== null &&
      (command.type === 'RecordDetection' || command.type === 'Observe') &&
      command.keyId !== undefined
    ) {
      command = { type: 'ReplayDetection', keyId: command.keyId, detection: hit }
    }
    const decision = decide(state, command, now)
    if (isRefusal(decision)) {
      outcomes.push({ kind: 'refused', ...decision, state: openMonth(state, now), revision })
      continue
    }
    const size = decision.reduce((sum, event) => sum + approximateBytes(event), 0)
    if (bytes > 0 && (bytes + size > maxBytesPerAttempt || caused.length + decision.length > maxEventsPerAttempt)) break
    bytes += size
    for (const event of decision) {
      state = evolve(state, event)
      revision += 1n
      caused.push({ event, origin: request.origin })
      uncommitted.push([revision, event])
    }
    const after = { state: decision.length === 0 ? openMonth(state, now) : state, revision }
    outcomes.push(hit === null ? { kind: 'done', events: decision, ...after } : { kind: 'replayed', hit, ...after })
  }
  return { outcomes, caused }
}

/** An upper estimate: an event of ours without rectangles is below 1.5 KiB with its metadata and framing. */
function approximateBytes(event: CustomerEvent): number {
  return event.type === 'DetectionSucceeded' ? 2_048 + 64 * event.data.verdict.faces.length : 2_560
}
