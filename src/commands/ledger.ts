/**
 * The ledger of one customer in this process: one writer at a time, and everything that waits goes out together.
 *
 * While an append is in flight, further commands queue; then the whole queue is decided in order on the folded state
 * and sent as one attempt (group commit). No timer: the batch adapts to the load by itself. Other instances have
 * ledgers of the same stream; the exact expected revision decides between them.
 */
import type { CustomerEvent } from '../events/catalogue.ts'
import { type Attempt, type EventStore, EventStoreUnavailable } from '../eventstore/store.ts'
import { type Caused, freeze, type Origin, type Patience, sendUntilKnown } from './attempt.ts'
import type { Clock } from './clock.ts'
import { type CustomerCommand, decide, isRefusal, type RefusalKind } from './customer.ts'
import { CustomerLog, type LoadSnapshot } from './customer-log.ts'
import type { Doubt, Doubts } from './doubts.ts'
import { AttemptInDoubt, ClientGone, LedgerUnavailable, Undeliverable } from './errors.ts'
import { type IdempotencyKey, type KeyHit, type KeyLookup, tablesBehind } from './idempotency.ts'
import { settle } from './settle.ts'
import { type CustomerState, evolve, openMonth } from './state.ts'

export interface LedgerRequest {
  readonly command: CustomerCommand
  readonly origin: Origin
  /** With RecordDetection or Observe: a detection found under this key is replayed instead. */
  readonly idempotency?: { readonly key: IdempotencyKey; readonly lookup: KeyLookup } | undefined
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

export interface LedgerDeps {
  readonly store: EventStore
  readonly loadSnapshot: LoadSnapshot
  readonly doubts: Doubts
  readonly clock: Clock
  readonly patience: Patience
}

const maxQueued = 2_048
const maxEventsPerAttempt = 256
const maxBytesPerAttempt = 512 * 1024 // the server refuses above 1 MiB
const maxPassMs = 10_000
const recordDoubtMs = 4_000

interface Pending {
  readonly request: LedgerRequest
  readonly resolve: (executed: Executed) => void
  readonly reject: (error: Error) => void
}

const settling: Origin = { correlationId: 'settlement', causationId: 'settlement', actor: 'system' }

export class Ledger {
  private readonly customerId: string
  private readonly deps: LedgerDeps
  private log: CustomerLog | undefined
  private queue: Pending[] = []
  private running: Promise<void> | undefined
  /** Attempts given up here, and rows found in Postgres: settled before the next command is taken. */
  private unsettled = new Map<string, Doubt>()

  constructor(customerId: string, deps: LedgerDeps) {
    this.customerId = customerId
    this.deps = deps
  }

  /** Nothing queued, in flight or in doubt: may be forgotten. */
  get idle(): boolean {
    return this.running === undefined && this.unsettled.size === 0
  }

  /** Resolves when nothing is queued or in flight any more. */
  async drained(): Promise<void> {
    while (this.running !== undefined) await this.running
  }

  /** Settles the noted doubts though no command waits. @throws LedgerUnavailable and what `execute` throws */
  async settleNow(): Promise<void> {
    await this.execute({ command: { type: 'Observe' }, origin: settling })
  }

  /** The state as last folded, possibly behind other instances; undefined before the first command. */
  get lastKnown(): CustomerState | undefined {
    return this.log?.state
  }

  /**
   * Decides and commits a command.
   * @throws LedgerUnavailable, AttemptInDoubt, Undeliverable, ClientGone, ClockOutOfService, LogMismatch, UnreadableEvent
   */
  execute(request: LedgerRequest): Promise<Executed> {
    if (this.queue.length >= maxQueued) return Promise.reject(new LedgerUnavailable('too many commands wait'))
    return new Promise((resolve, reject) => {
      this.queue.push({ request, resolve, reject })
      this.running ??= this.drain()
    })
  }

  /** Notes doubts found in Postgres. They are settled before the next command. */
  doubt(doubts: readonly Doubt[]): void {
    for (const doubt of doubts) this.unsettled.set(doubt.firstEventId, doubt)
  }

  private async drain(): Promise<void> {
    await undefined // commands of the same tick go out together
    while (this.queue.length > 0) {
      const batch = this.queue.splice(0, maxEventsPerAttempt)
      try {
        this.log ??= await this.open()
        await this.settleAll(this.log)
        await this.pass(this.log, batch)
      } catch (error) {
        // Whatever was folded halfway is read again from the log.
        this.log = undefined
        for (const pending of batch) pending.reject(asLedgerError(error))
      }
    }
    this.running = undefined // in the same tick as the look at the queue, so that no command is left behind
  }

  private async open(): Promise<CustomerLog> {
    const [log, standing] = await Promise.all([
      CustomerLog.open(this.deps.store, this.deps.loadSnapshot, this.customerId),
      this.deps.doubts.standing(this.customerId),
    ])
    this.doubt(standing)
    return log
  }

  private async settleAll(log: CustomerLog): Promise<void> {
    for (const doubt of this.unsettled.values()) {
      await settle(log, doubt, this.deps)
      await this.deps.doubts.remove(doubt.firstEventId)
      this.unsettled.delete(doubt.firstEventId)
    }
  }

  private async pass(log: CustomerLog, batch: Pending[]): Promise<void> {
    const giveUpAt = performance.now() + maxPassMs
    let sawHead = false
    let begunMonth = ''
    for (let round = 0; performance.now() < giveUpAt; round++) {
      batch = batch.filter(({ request, reject }) => {
        if (request.signal?.aborted) reject(new ClientGone('the client went away'))
        return !request.signal?.aborted
      })
      if (batch.length === 0) return
      const plan = planBatch(log, batch, this.deps.clock.now())
      if (plan.caused.length === 0) {
        // A refusal is never given on state that might be stale: look at the head once in this pass, decide again.
        if (!sawHead) {
          sawHead = true
          if ((await log.catchUp()) > 0) continue
        }
        return this.answer(plan, batch)
      }
      const opened = openedMonth(plan)
      if (opened !== undefined && opened !== begunMonth) {
        await this.deps.clock.monthHasBegun(opened)
        begunMonth = opened
        continue // that may have taken a while: who is still there, and what time is it now?
      }
      const { attempt, head } = freeze(log.stream, log.head, plan.caused)
      const outcome = await sendUntilKnown(this.deps.store, attempt, this.deps.patience)
      switch (outcome.kind) {
        case 'appended':
          log.committed(
            plan.caused.map(({ event }) => event),
            head,
          )
          return this.answer(plan, batch)
        case 'conflict':
          sawHead = true
          await log.catchUp()
          await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(round * 2, 20)))
          continue
        case 'refused':
          throw outcome.cause
        case 'unknown':
          return this.giveUp(attempt, batch.slice(0, plan.outcomes.length), outcome.cause, batch)
      }
    }
    throw new LedgerUnavailable('too many writers compete for this customer')
  }

  /** Answers what the plan covers; what did not fit goes back to the front of the queue. */
  private answer(plan: Plan, batch: Pending[]): void {
    this.queue.unshift(...batch.slice(plan.outcomes.length))
    for (const [index, outcome] of plan.outcomes.entries()) batch[index]?.resolve(outcome)
  }

  /** Patience is at its end: the attempt becomes a doubt, durably, before anybody is told. From here on no 200 follows. */
  private async giveUp(attempt: Attempt, sent: Pending[], cause: Error, batch: Pending[]): Promise<void> {
    this.queue.unshift(...batch.slice(sent.length))
    const error = await this.noteDoubt(attempt, cause)
    for (const pending of sent) pending.reject(error)
  }

  private async noteDoubt(attempt: Attempt, cause: Error): Promise<Error> {
    const firstEventId = attempt.events[0]?.id
    // A registration is never fenced: that would block its stream for ever. Whoever asked, asks again.
    if (attempt.expectedRevision === 'no_stream' || firstEventId === undefined) {
      this.log = undefined
      return new LedgerUnavailable('the outcome is unknown: repeat the registration with the same id', { cause })
    }
    const doubt: Doubt = {
      firstEventId,
      customerId: this.customerId,
      expectedRevision: attempt.expectedRevision,
      detectionIds: attempt.events.filter(({ type }) => type === 'DetectionSucceeded').map(({ id }) => id),
    }
    this.doubt([doubt])
    try {
      await withDeadline(this.deps.doubts.record(doubt), recordDoubtMs)
      return new AttemptInDoubt('the event store did not answer', { cause })
    } catch (recordCause) {
      return new Undeliverable('the event store did not answer, and Postgres took no note of it', {
        cause: recordCause,
      })
    }
  }
}

interface Plan {
  /** One for each command of the batch that fitted, in order. */
  readonly outcomes: readonly Executed[]
  readonly caused: readonly Caused[]
}

/** The month that a plan opens: an opener comes first, or right behind a registration. */
function openedMonth({ caused }: Plan): string | undefined {
  for (const { event } of caused.slice(0, 2)) {
    if (event.type === 'MonthlyCreditsGranted') return event.data.yearMonth
  }
  return undefined
}

/** Decides commands in order, each on the state that the one before it leaves behind. */
function planBatch(log: CustomerLog, batch: readonly Pending[], now: string): Plan {
  let state = log.state
  let revision = log.head.revision
  let bytes = 0
  const outcomes: Executed[] = []
  const caused: Caused[] = []
  const uncommitted: [bigint, CustomerEvent][] = []
  for (const { request } of batch) {
    let { command } = request
    let hit: KeyHit | null = null
    if (request.idempotency !== undefined) {
      const { key, lookup } = request.idempotency
      const found = log.tail.find(key, lookup, now, uncommitted)
      if (found === tablesBehind) {
        outcomes.push({ kind: 'tables_behind', state: openMonth(state, now), revision })
        continue
      }
      if (found !== null && found.body !== key.body) {
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

async function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, deadline])
  } finally {
    clearTimeout(timer)
  }
}

function asLedgerError(error: unknown): Error {
  if (error instanceof EventStoreUnavailable)
    return new LedgerUnavailable('the event store is out of reach', { cause: error })
  return error instanceof Error ? error : new Error(String(error))
}
