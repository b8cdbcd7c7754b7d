/**
 * From records to attempts and from AWS's answers to events. Pure. Every answer has one end; what is not surely known
 * to have failed leaves the record in doubt.
 */
import type { MeteringDataOf, MeteringEvent } from '../events/metering.ts'
import type { CallOutcome, RecordAnswer } from '../marketplace/batch-meter-usage.ts'
import type { CustomerBooks } from './books.ts'
import { giveUp, isPastDeadline, mayBeBilled } from './give-up.ts'
import { evolveRecord, type MeteringRecord } from './record.ts'
import type { MeteringRules } from './rules.ts'

/** How an attempt ended for one record; `none`: AWS may or may not have taken it. */
export type AttemptEnd =
  | { readonly kind: 'accepted'; readonly meteringRecordId: string }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | {
      readonly kind: 'answered'
      readonly answer: MeteringDataOf<'SubmissionAnswered'>['answer']
      readonly detail: string
    }
  | { readonly kind: 'none' }

/** Waits to be sent: sealed as due, and not at an end. */
export const isWaiting = ({ state, sealed }: MeteringRecord): boolean =>
  sealed?.submission === 'due' && (state === 'sealed' || state === 'unknown')

/** Sealed while a clock was ahead: AWS takes no usage of the future, so it waits for its hour. */
export const isToCome = ({ sealed }: Pick<MeteringRecord, 'sealed'>, now: string): boolean =>
  sealed !== null && sealed.timestamp > now

/** The attempts to begin now, of the records as they were `seen`: whoever was faster with one takes it over. */
export function decideAttempts(
  { meter, records }: CustomerBooks,
  seen: readonly MeteringRecord[],
  callId: string,
  now: string,
): MeteringEvent[] {
  const attempts = new Map(seen.map((record) => [record.recordId, record.attempts]))
  return records
    .filter((record) => isWaiting(record) && attempts.get(record.recordId) === record.attempts)
    .filter((record) => !isPastDeadline(record, now) && !isToCome(record, now))
    .map(({ recordId, attempts }) => ({
      type: 'SubmissionAttempted',
      data: { customerId: meter.customerId, occurredAt: now, recordId, attempt: attempts + 1, callId },
    }))
}

/** What a call's outcome says of one of the records it held. */
export function endOf(outcome: CallOutcome, recordId: string, recordsInCall: number): AttemptEnd {
  switch (outcome.kind) {
    case 'answered':
      return endOfAnswer(outcome.answers.get(recordId))
    case 'throttled':
      return answered('throttled')
    case 'server_error':
      return answered('server_error', outcome.detail)
    case 'no_answer':
      return { kind: 'none' }
    case 'refused': {
      const { code, message } = outcome
      // Only a record that was alone in its call is surely the one that is meant.
      return recordsInCall === 1 ? { kind: 'refused', code, message } : answered('batch_refused', `${code}: ${message}`)
    }
    case 'disabled':
      return answered('batch_refused', `DisabledApiException: ${outcome.message}`)
    case 'misconfigured':
      return answered('batch_refused', `${outcome.code}: ${outcome.message}`)
  }
}

function endOfAnswer(answer: RecordAnswer | undefined): AttemptEnd {
  switch (answer?.kind) {
    case 'accepted':
      return answer
    case 'duplicate':
      return { kind: 'refused', code: 'DuplicateRecord', message: 'AWS holds another quantity for this hour' }
    case 'not_subscribed':
      return answered('not_subscribed')
    case 'unprocessed':
      return answered('unprocessed')
    default:
      return { kind: 'none' }
  }
}

/** The log keeps what AWS said, but no page of a proxy in full; in characters. */
const longestDetail = 500
const answered = (answer: MeteringDataOf<'SubmissionAnswered'>['answer'], detail = ''): AttemptEnd => ({
  kind: 'answered',
  answer,
  detail: detail.slice(0, longestDetail),
})

/** The events that a call's answers become. An attempt that another one has overtaken can still tell of acceptance. */
export function decideAnswers(
  books: CustomerBooks,
  ends: ReadonlyMap<string, { readonly attempt: number; readonly end: AttemptEnd }>,
  now: string,
  rules: MeteringRules,
): MeteringEvent[] {
  return books.records.flatMap((record) => {
    const ended = ends.get(record.recordId)
    if (ended === undefined) return []
    const of = { customerId: record.customerId, occurredAt: now, recordId: record.recordId, attempt: ended.attempt }
    const { end } = ended
    if (end.kind === 'accepted') {
      // True whatever has become of the record here: AWS bills it.
      if (record.state === 'accepted') return []
      return [{ type: 'RecordAccepted', data: { ...of, meteringRecordId: end.meteringRecordId } }]
    }
    const isNewest = isWaiting(record) && record.attempts === ended.attempt && record.unanswered
    if (!isNewest || end.kind === 'none') return []
    if (end.kind === 'answered') {
      return [{ type: 'SubmissionAnswered', data: { ...of, answer: end.answer, detail: end.detail } }]
    }
    return refusal(record, books, of, end, rules)
  })
}

/**
 * AWS refuses this record itself. It is parked for a person; but one that is too old for AWS, though not for our
 * settings, ends like every other that missed its deadline.
 */
function refusal(
  record: MeteringRecord,
  books: CustomerBooks,
  of: { readonly customerId: string; readonly occurredAt: string; readonly recordId: string; readonly attempt: number },
  { code, message }: { readonly code: string; readonly message: string },
  rules: MeteringRules,
): MeteringEvent[] {
  const refused = {
    type: 'RecordRefused',
    data: { ...of, code, message: message.slice(0, longestDetail) },
  } as const
  if (code !== 'TimestampOutOfBoundsException') return [refused]
  if (record.doubtful) {
    // AWS may have taken an earlier attempt: no answer about its age can settle that.
    const detail = `${code}: ${message}`.slice(0, longestDetail)
    return [{ type: 'SubmissionAnswered', data: { ...of, answer: 'batch_refused', detail } }]
  }
  const end = giveUp(evolveRecord(record, refused), books, of.occurredAt, rules)
  return end === null ? [refused] : [refused, end]
}

/** Whether an answer leaves the record in doubt that only AWS's records or an operator can end. */
export const isLost = (record: MeteringRecord, now: string): boolean =>
  isWaiting(record) && isPastDeadline(record, now) && mayBeBilled(record)
