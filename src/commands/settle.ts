/** Settles an attempt in doubt: afterwards it bills nobody, now or later. Safe to run anywhere, again and at once. */
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore } from '../eventstore/store.ts'
import { type Caused, freeze, type Origin, type Patience, sendUntilKnown } from './attempt.ts'
import type { Clock } from './clock.ts'
import { decide, isRefusal, type Voidable } from './customer.ts'
import type { CustomerLog } from './customer-log.ts'
import type { Doubt } from './doubts.ts'
import { LedgerUnavailable, LogMismatch } from './errors.ts'
import { monthOf } from './plans.ts'

interface SettleDeps {
  readonly store: EventStore
  readonly clock: Clock
  readonly patience: Patience
}

const maxRounds = 20

/**
 * Reads from the doubt's revision to the head. If the attempt landed, voids what it billed at that exact head, unless
 * a void or a replay stands there already; if its place is taken, it never lands; if its place is free, fences it.
 * @throws LedgerUnavailable when the store does not answer definitely; the doubt stays
 */
export async function settle(log: CustomerLog, doubt: Doubt, { store, clock, patience }: SettleDeps): Promise<void> {
  for (let round = 0; round < maxRounds; round++) {
    await log.catchUp()
    if (log.head.revision < doubt.expectedRevision) {
      throw new LogMismatch(`${log.stream} ends before revision ${doubt.expectedRevision}, where an attempt was made`)
    }
    const { landed, toVoid } = await whatHappened(store, log.stream, doubt)
    const placeIsTaken = log.head.revision > doubt.expectedRevision
    if (landed ? toVoid.length === 0 : placeIsTaken) return

    const decision = decide(
      log.state,
      landed
        ? { type: 'VoidDetections', detections: toVoid }
        : { type: 'FenceAttempt', firstEventId: doubt.firstEventId },
      clock.now(),
    )
    if (isRefusal(decision)) throw new Error(`a doubt of ${log.stream} cannot be settled: ${decision.message}`)
    const first = decision[0]
    if (first?.type === 'MonthlyCreditsGranted') await clock.monthHasBegun(monthOf(first.data.occurredAt))
    const origin: Origin = { correlationId: doubt.firstEventId, causationId: doubt.firstEventId, actor: 'system' }
    const caused = decision.map((event): Caused => ({ event, origin }))
    const { attempt, head } = freeze(log.stream, log.head, caused)
    const outcome = await sendUntilKnown(store, attempt, patience)
    if (outcome.kind === 'appended') {
      log.committed(decision, head)
      return
    }
    if (outcome.kind !== 'conflict')
      throw new LedgerUnavailable('an earlier attempt is not settled yet', { cause: outcome.cause })
  }
  throw new LedgerUnavailable('an earlier attempt is not settled yet: the stream is too busy')
}

async function whatHappened(store: EventStore, stream: string, doubt: Doubt) {
  const voidable = new Map<string, Voidable>()
  let landed = false
  let first = true
  for await (const stored of store.readForward(stream, doubt.expectedRevision + 1n)) {
    if (first && stored.id !== doubt.firstEventId) break
    first = false
    landed = true
    const { event } = parseCustomerEvent(stored)
    if (event.type === 'DetectionSucceeded' && doubt.detectionIds.includes(event.data.detectionId)) {
      const { detectionId, yearMonth, funding, bucketKey } = event.data
      voidable.set(detectionId, { detectionId, revision: Number(stored.revision), yearMonth, funding, bucketKey })
    } else if (event.type === 'DetectionVoided' || event.type === 'DetectionReplayed') {
      voidable.delete(event.data.detectionId)
    }
  }
  return { landed, toVoid: [...voidable.values()] }
}
