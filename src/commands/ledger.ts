/**
 * The ledger of one customer in this process: one writer at a time, and everything that waits goes out together.
 *
 * While an append is in flight, further commands queue; then the whole queue is decided in order on the folded state
 * and sent as one attempt (group commit). No timer: the batch adapts to the load by itself. Other instances have
 * ledgers of the same stream; the exact expected revision decides between them.
 */
import { asError } from '../as-error.ts'
import { type Attempt, type EventStore, EventStoreUnavailable } from '../eventstore/store.ts'
import { freeze, type Origin, type Patience, sendUntilKnown } from './attempt.ts'
import { type Executed, type LedgerRequest, maxEventsPerAttempt, openedMonth, type Plan, planBatch } from './batch.ts'
import type { Clock } from './clock.ts'
import { CustomerLog, type LoadSnapshot } from './customer-log.ts'
import type { Doubt, Doubts } from './doubts.ts'
import { AttemptInDoubt, ClientGone, LedgerUnavailable, Undeliverable } from './errors.ts'
import { settle } from './settle.ts'
import type { CustomerState } from './state.ts'

export interface LedgerDeps {
  readonly store: EventStore
  readonly loadSnapshot: LoadSnapshot
  readonly doubts: Doubts
  readonly clock: Clock
  readonly patience: Patience
}

const maxQueued = 2_048
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
      const plan = planBatch(
        log,
        batch.map(({ request }) => request),
        this.deps.clock.now(),
      )
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
  return asError(error)
}
