/**
 * Sends sealed records to AWS, most urgent first, and writes down each attempt before its first byte leaves and each
 * answer after it. Whatever is lost between the two (a crash, an answer) leaves the record in doubt, and the same bytes
 * are sent again: AWS bills them once.
 */
import { randomUUID } from 'node:crypto'
import { ClockOutOfService } from '../commands/clock.ts'
import { type BatchMeterUsage, batches, type CallOutcome, type UsageToSend } from '../marketplace/batch-meter-usage.ts'
import { type Alarms, ageOf, tellAges, tellOf } from './alarms.ts'
import { decideAnswers, decideAttempts, endOf, isLost, isToCome, isWaiting } from './answers.ts'
import { nextAttemptAt } from './backoff.ts'
import { type CustomerBooks, type DecideFor, forEachCustomer, howeverMany } from './books.ts'
import { afterCall, closedCircuit, probeOf } from './circuit.ts'
import { giveUp, isPastDeadline } from './give-up.ts'
import type { MeteringRecord } from './record.ts'
import { addMs, type MeteringRules } from './rules.ts'
import type { MeteringTables, SendCursor } from './tables.ts'

export interface SubmitDeps {
  readonly tables: Pick<MeteringTables, 'recordsToSend'>
  readonly decideFor: DecideFor
  readonly batchMeterUsage: BatchMeterUsage
  readonly rules: MeteringRules
  /** The clock that bills, ISO 8601. May throw ClockOutOfService: then nothing is begun. */
  readonly now: () => string
  readonly alarms: Alarms
  readonly onTrouble: (customerId: string, error: unknown) => void
}

export interface Submitter {
  /** One round. Begins no attempt once `signal` is aborted; what has begun is brought to its end. */
  step(signal: AbortSignal): Promise<void>
}

const pageSize = 500
/** Records dealt with in one round; what is sealed meanwhile may be more urgent. */
const roundSize = 1_000
/** Between two calls, in milliseconds: AWS takes 10 a second of an account and region, and others may call too. */
const callEveryMs = 125

export function createSubmitter(deps: SubmitDeps): Submitter {
  const { tables, decideFor, batchMeterUsage, rules, now, alarms, onTrouble } = deps
  let circuit = closedCircuit
  let lastCallAt = Number.NEGATIVE_INFINITY
  const toldLost = new Set<string>()
  const tellAge = tellAges(now, (age, fields) => {
    if (age === 'old') alarms.onWarn('metering_old', 'Records wait for AWS more than an hour after their own', fields)
    else alarms.onAlarm('metering_old', 'Records wait for AWS more than four hours after their own', fields)
  })

  async function step(signal: AbortSignal): Promise<void> {
    const { waiting, due, overdue } = await lookUp()
    const inTime = [...waiting, ...overdue.filter((record) => !isLost(record, now()))]
    tellAge(ageOf(inTime, now()), { records: inTime.length, nearestDeadline: inTime[0]?.sealed?.deadline })
    await end(overdue, signal)
    if (!rules.submit || now() < circuit.until) return
    if (circuit.failures > 0) {
      const probe = probeOf(circuit, waiting)
      if (probe !== undefined) await send([probe], signal)
    }
    for (const batch of batches(due.toSorted(mostUrgentFirst).flatMap(sendable))) {
      if (circuit.failures > 0) return
      await send(
        batch.map(({ record }) => record),
        signal,
      )
    }
  }

  /** Every record that waits, cut short where more are to be sent or ended than one round deals with. */
  async function lookUp() {
    const waiting: MeteringRecord[] = []
    const due: MeteringRecord[] = []
    const overdue: MeteringRecord[] = []
    let ending = 0
    let after: SendCursor | undefined
    do {
      const page = await tables.recordsToSend(pageSize, after)
      const at = now()
      for (const record of page) {
        if (isToCome(record, at)) continue
        if (isPastDeadline(record, at)) {
          overdue.push(record)
          if (!isLost(record, at)) ending += 1
          continue
        }
        waiting.push(record)
        if (nextAttemptAt(record) <= at) due.push(record)
      }
      const last = page.at(-1)
      after =
        page.length < pageSize || last?.sealed == null
          ? undefined
          : { deadline: last.sealed.deadline, recordId: last.recordId }
    } while (after !== undefined && due.length + ending < roundSize)
    return { waiting, due, overdue }
  }

  /** Records that missed their deadline: carried on, lost, or in doubt for good, which is told once. */
  async function end(overdue: readonly MeteringRecord[], signal: AbortSignal): Promise<void> {
    const at = now()
    for (const record of overdue) {
      if (!isLost(record, at) || toldLost.has(record.recordId)) continue
      toldLost.add(record.recordId)
      alarms.onAlarm(
        'metering_unknown',
        `Nobody here knows whether AWS took ${record.recordId}: hold it against CloudTrail (\`liveness audit reconcile\`); ` +
          'what AWS took, `liveness metering accept`, what it surely did not take, `liveness metering write-off`',
        { recordId: record.recordId, customerId: record.customerId, quantity: record.sealed?.quantity },
      )
    }
    const ending = overdue.filter((record) => !isLost(record, at))
    await forEachCustomer(customersOf(ending), signal, onTrouble, async (customerId) => {
      const decide = (books: CustomerBooks) => {
        const at = now()
        return books.records
          .filter((record) => isWaiting(record) && isPastDeadline(record, at))
          .flatMap((record) => giveUp(record, books, at, rules) ?? [])
      }
      const events = await decideFor(customerId, decide, { ahead: whereLicencesEnd })
      tellOf(events ?? [], ending, alarms)
    })
  }

  /** One call to AWS, and more of them where it was refused because of records that are still to be found. */
  async function send(records: readonly MeteringRecord[], signal: AbortSignal): Promise<void> {
    const begunAt = now()
    if (signal.aborted || begunAt < circuit.until) return
    const answeredAt = clockFrom(begunAt, now)
    const attempted = await begin(records)
    const usages = attempted.flatMap(sendable)
    const [first] = usages
    if (first === undefined) return
    await pace()
    const outcome = await batchMeterUsage(first.region, usages)
    const failedBefore = circuit.failures > 0
    circuit = afterCall(circuit, outcome.kind, answeredAt())
    tellCall(outcome, failedBefore)
    await conclude(attempted, outcome, answeredAt)
    if (outcome.kind !== 'refused' || attempted.length === 1) return
    const middle = Math.ceil(attempted.length / 2)
    await send(attempted.slice(0, middle), signal)
    await send(attempted.slice(middle), signal)
  }

  /** Writes the attempts down; returns the records, with that attempt in them, whose attempt is in the log. */
  async function begin(records: readonly MeteringRecord[]): Promise<MeteringRecord[]> {
    const callId = randomUUID()
    const attempts = new Map<string, number>()
    await forEachCustomer(customersOf(records), untilDone, onTrouble, async (customerId) => {
      const events = await decideFor(customerId, (books) => decideAttempts(books, records, callId, now()), {
        recordIds: idsOf(customerId, records),
      })
      for (const { type, data } of events ?? []) {
        if (type === 'SubmissionAttempted') attempts.set(data.recordId, data.attempt)
      }
    })
    return records.flatMap((record) => {
      const attempt = attempts.get(record.recordId)
      return attempt === undefined ? [] : [{ ...record, attempts: attempt }]
    })
  }

  /** Writes the answers down. What cannot be written is sent again, and answered again. */
  async function conclude(
    attempted: readonly MeteringRecord[],
    outcome: CallOutcome,
    answeredAt: () => string,
  ): Promise<void> {
    const ends = new Map(
      attempted.map(({ recordId, attempts: attempt }) => [
        recordId,
        { attempt, end: endOf(outcome, recordId, attempted.length) },
      ]),
    )
    // Where a quantity may have to be carried on, the hours it may go to must be in the books too.
    const mayBeCarried = outcome.kind === 'refused' && attempted.length === 1
    await forEachCustomer(customersOf(attempted), untilDone, onTrouble, async (customerId) => {
      const events = await decideFor(
        customerId,
        (books) => decideAnswers(books, ends, answeredAt(), rules),
        mayBeCarried ? { ahead: whereLicencesEnd } : { recordIds: idsOf(customerId, attempted) },
      )
      tellOf(events ?? [], attempted, alarms)
    })
  }

  async function pace(): Promise<void> {
    const pause = lastCallAt + callEveryMs - performance.now()
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause))
    lastCallAt = performance.now()
  }

  function tellCall(outcome: CallOutcome, failedBefore: boolean): void {
    if (outcome.kind === 'disabled' || outcome.kind === 'misconfigured') {
      const fields = { code: outcome.kind === 'disabled' ? 'DisabledApiException' : outcome.code }
      alarms.onAlarm('metering_misconfigured', `Nothing can be sent to AWS: ${outcome.message}`, fields)
    } else if ((outcome.kind === 'server_error' || outcome.kind === 'no_answer') && !failedBefore) {
      alarms.onWarn('metering_no_answer', `AWS did not answer a call: ${outcome.detail}`, {})
    }
  }

  return { step }
}

/** What cannot be sent goes where its licence still reaches, and the feed may not have brought the licence's end. */
const whereLicencesEnd = () => howeverMany

/** What is done after an attempt has begun is not interrupted. */
const untilDone = new AbortController().signal

/**
 * For the answers of what began at `begunAt`: the clock, or the time that has passed since where it has left service
 * meanwhile. An answer that is not written down leaves the record in doubt.
 */
function clockFrom(begunAt: string, now: () => string): () => string {
  const startedAt = performance.now()
  return () => {
    try {
      return now()
    } catch (error) {
      if (!(error instanceof ClockOutOfService)) throw error
      return addMs(begunAt, performance.now() - startedAt)
    }
  }
}

const customersOf = (records: readonly MeteringRecord[]): Set<string> =>
  new Set(records.map(({ customerId }) => customerId))

const idsOf = (customerId: string, records: readonly MeteringRecord[]): string[] =>
  records.filter((record) => record.customerId === customerId).map(({ recordId }) => recordId)

/** Ended and replaced licences have least time, whatever the hour's own deadline says; then by deadline. */
function mostUrgentFirst(a: MeteringRecord, b: MeteringRecord): number {
  const rank = ({ sealEarly, sealed }: MeteringRecord) => `${sealEarly === null ? 1 : 0} ${sealed?.deadline}`
  const [left, right] = [rank(a), rank(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

type Sendable = UsageToSend & { readonly region: string; readonly record: MeteringRecord }

function sendable(record: MeteringRecord): Sendable[] {
  const { recordId, dimension, sealed } = record
  if (sealed === null || sealed.identity.kind === 'none') return []
  const { identity, timestamp, quantity, region } = sealed
  return [{ recordId, identity, dimension, timestamp, quantity, region, record }]
}
