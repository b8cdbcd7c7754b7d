/**
 * A metering record: the overage calls of one customer, licence, dimension and UTC hour, from the first call to AWS's
 * answer. Pure. Two streams make it: the customer's (which calls it holds) and the metering stream (what was sealed,
 * sent and answered), and whoever folds both gets the same record, whenever.
 */
import type { MeteringDataOf, MeteringEvent } from '../events/metering.ts'

export const recordStates = [
  'open',
  'sealed',
  'unknown',
  'accepted',
  'refused',
  'carried_forward',
  'unbillable',
  'written_off',
  'not_submittable',
] as const
/** A record is in exactly one of these: an invariant of metering (docs/design.md). */
export type RecordState = (typeof recordStates)[number]

/** States that something still follows: a call, the seal, an answer, an operator's word. */
export const unsettledStates: readonly RecordState[] = ['open', 'sealed', 'unknown', 'refused']

/** What the customer's stream says belongs to a record. */
export interface FoldedCalls {
  /** Overage calls, voided ones subtracted. */
  readonly quantity: number
  /** The part of them that belonged to an earlier hour, which was sealed already. */
  readonly late: number
  /** Hex SHA-256, chained over the hashes of the events (calls and voids) in the order of the stream. */
  readonly digest: string
}
export const noCalls: FoldedCalls = { quantity: 0, late: 0, digest: '0'.repeat(64) }

type Sealed = Omit<MeteringDataOf<'RecordSealed'>, 'customerId' | 'recordId' | 'yearMonth' | 'hour' | 'dimension'>

export interface MeteringRecord {
  /** The bucket key, or the overflow key of its month. */
  readonly recordId: string
  readonly customerId: string
  readonly yearMonth: string
  /** Start of the UTC hour; of the month, for the overflow record. */
  readonly hour: string
  /** licenceIdentity of the licence. */
  readonly licence: string
  readonly dimension: string
  readonly state: RecordState
  readonly calls: FoldedCalls
  readonly carriedFrom: readonly { readonly recordId: string; readonly quantity: number }[]
  /** Sealed before its hour is over: the subscription ended, or the licence was replaced. */
  readonly sealEarly: 'subscription_ended' | 'licence_replaced' | null
  /** RecordSealed as it stands in the log; null while open. */
  readonly sealed: Sealed | null
  /** Number of the last attempt; 0 when never sent. */
  readonly attempts: number
  readonly lastAttemptAt: string | null
  /** The last attempt has no answer (yet). */
  readonly unanswered: boolean
  /** Some attempt was never answered, or with a 5xx: AWS may hold this record. Only an acceptance clears it. */
  readonly doubtful: boolean
  /** AWS objected to the record itself at some attempt, whatever it said later: its quantity is never carried. */
  readonly objected: boolean
  /** What AWS said last, in its words. */
  readonly lastAnswer: string | null
  readonly meteringRecordId: string | null
  readonly carriedTo: string | null
  /** Why it is unbillable or written off. */
  readonly reason: string | null
}

export function newRecord(
  key: Pick<MeteringRecord, 'recordId' | 'customerId' | 'hour' | 'licence' | 'dimension'>,
): MeteringRecord {
  return {
    ...key,
    yearMonth: key.hour.slice(0, 7),
    state: 'open',
    calls: noCalls,
    carriedFrom: [],
    sealEarly: null,
    sealed: null,
    attempts: 0,
    lastAttemptAt: null,
    unanswered: false,
    doubtful: false,
    objected: false,
    lastAnswer: null,
    meteringRecordId: null,
    carriedTo: null,
    reason: null,
  }
}

type OfRecord = Exclude<MeteringEvent, { type: 'MonthClosed' | 'AdjustmentNoted' | 'RecordCarriedForward' }>

/** Folds one event of the metering stream into the record it names. Never refuses: what is in the log has happened. */
export function evolveRecord(record: MeteringRecord, event: OfRecord): MeteringRecord {
  switch (event.type) {
    case 'RecordSealed': {
      const { customerId: _, recordId: __, yearMonth: ___, hour: ____, dimension: _____, ...sealed } = event.data
      const state =
        sealed.submission === 'due' ? 'sealed' : sealed.submission === 'no_hour_left' ? 'unbillable' : 'not_submittable'
      const { cause, carriedFrom } = sealed
      // From the seal, not from what stood here: whoever folds the seal first never saw the record open.
      const sealEarly = cause === 'subscription_ended' || cause === 'licence_replaced' ? cause : null
      return { ...record, sealed, state, carriedFrom, sealEarly }
    }
    case 'SubmissionAttempted':
      return withDoubt({
        ...record,
        attempts: event.data.attempt,
        lastAttemptAt: event.data.occurredAt,
        unanswered: true,
        doubtful: record.doubtful || record.unanswered,
      })
    case 'SubmissionAnswered': {
      const { answer, detail } = event.data
      return withDoubt({
        ...record,
        unanswered: false,
        doubtful: record.doubtful || answer === 'server_error',
        objected: record.objected || answer === 'not_subscribed',
        lastAnswer: detail === '' ? answer : `${answer}: ${detail}`,
      })
    }
    case 'RecordAccepted': {
      const { meteringRecordId } = event.data
      return {
        ...record,
        state: 'accepted',
        unanswered: false,
        doubtful: false,
        lastAnswer: 'Success',
        meteringRecordId,
      }
    }
    case 'RecordRefused': {
      const { code, message } = event.data
      return {
        ...record,
        state: 'refused',
        unanswered: false,
        // DuplicateRecord: AWS bills that hour already. Too old is no objection: a younger hour can be billed.
        objected: record.objected || code !== 'TimestampOutOfBoundsException',
        lastAnswer: message === '' ? code : `${code}: ${message}`,
      }
    }
    case 'RecordRetried':
      return withDoubt({ ...record, state: 'sealed' })
    case 'RecordUnbillable':
      return { ...record, state: 'unbillable', reason: event.data.reason }
    case 'RecordWrittenOff':
      return { ...record, state: 'written_off', reason: event.data.reason }
    default:
      return event satisfies never
  }
}

/** While AWS may hold it without our knowing, a record that waits for an answer is `unknown`, not `sealed`. */
function withDoubt(record: MeteringRecord): MeteringRecord {
  if (record.state !== 'sealed' && record.state !== 'unknown') return record
  return { ...record, state: record.doubtful || record.unanswered ? 'unknown' : 'sealed' }
}

/** The source of a carry: it is over, its quantity lives on in the target. */
export const carriedAway = (record: MeteringRecord, toRecordId: string): MeteringRecord => ({
  ...record,
  state: 'carried_forward',
  carriedTo: toRecordId,
})

/** The target of a carry, still open. */
export const carriedIn = (record: MeteringRecord, from: { recordId: string; quantity: number }): MeteringRecord => ({
  ...record,
  carriedFrom: [...record.carriedFrom, from],
})

/** What the record is to be sealed with: its own calls and what was carried into it. */
export const quantityOf = ({ calls, carriedFrom }: Pick<MeteringRecord, 'calls' | 'carriedFrom'>): number =>
  carriedFrom.reduce((sum, { quantity }) => sum + quantity, calls.quantity)
