/** The customer's state: the fold of their stream. Bounded whatever the volume; plain JSON, so that it can be kept. */
import type { CustomerEvent, DataOf, Licence, Slot } from '../events/catalogue.ts'
import { licenceIdentity, monthOf, type Terms } from './plans.ts'

/** Raise when the shape of CustomerState or the meaning of evolve changes: older snapshots then become invisible. */
export const foldVersion = 2

export type ApiKey = NonNullable<DataOf<'MonthlyCreditsGranted'>['keys']['primary']>
type Scheduled = NonNullable<DataOf<'MonthlyCreditsGranted'>['scheduled']>
type Moving = Pick<DataOf<'LicenceChangeScheduled'>, 'licence' | 'effectiveAt' | 'reason'>
type Ended = NonNullable<DataOf<'MonthlyCreditsGranted'>['ended']>

export interface CustomerState {
  /** '' until CustomerRegistered. */
  readonly customerId: string
  readonly terms: Terms
  /** As the customer set it; the free plan stops at its limit whatever stands here, and who leaves it has it ON. */
  readonly hardCap: boolean
  readonly keys: { readonly [slot in Slot]?: ApiKey | undefined }
  readonly licence: Licence
  /** A licence that takes over at the start of the next hour. No opener repeats it: a month begins with an hour. */
  readonly moving?: Moving | undefined
  readonly scheduled?: Scheduled | undefined
  readonly ended?: Ended | undefined
  readonly deactivated: boolean
  /** The UTC month that is open, `YYYY-MM`; '' before the first opener. */
  readonly yearMonth: string
  /** The number of the month's last detection, voided ones included. */
  readonly sequence: number
  /** Calls of the month that were not voided, by what paid for them. */
  readonly creditCalls: number
  readonly overageCalls: number
  /** Time never runs backwards along a stream. */
  readonly lastOccurredAt: string
}

export const initialState: CustomerState = {
  customerId: '',
  terms: { plan: 'free', monthlyLimit: 1, monthlyFee: '0', overageUnitPrice: '0' },
  hardCap: false,
  keys: {},
  licence: { kind: 'none' },
  deactivated: false,
  yearMonth: '',
  sequence: 0,
  creditCalls: 0,
  overageCalls: 0,
  lastOccurredAt: '',
}

/** Folds one event into the state. Never decides and never refuses: what is in the log has happened. */
export function evolve(before: CustomerState, event: CustomerEvent): CustomerState {
  const state = { ...before, lastOccurredAt: event.data.occurredAt }
  switch (event.type) {
    case 'CustomerRegistered': {
      const { customerId, hardCap, licence } = event.data
      return { ...state, customerId, terms: termsIn(event.data), hardCap, licence }
    }
    case 'ApiKeyIssued':
    case 'ApiKeyRegenerated': {
      const { slot, keyId, keyHash, prefix, expiresAt, occurredAt: issuedAt } = event.data
      const key = { keyId, keyHash, prefix, issuedAt, ...(expiresAt === undefined ? {} : { expiresAt }) }
      return { ...state, keys: { ...state.keys, [slot]: key } }
    }
    case 'ApiKeyDeactivated': {
      const { [event.data.slot]: _, ...keys } = state.keys
      return { ...state, keys }
    }
    case 'HardCapEnabled':
      return { ...state, hardCap: true }
    case 'HardCapDisabled':
      return { ...state, hardCap: false }
    case 'PlanChanged':
    case 'MonthlyLimitChanged':
      return { ...state, terms: termsIn(event.data) }
    case 'PlanChangeScheduled': {
      const { effectiveMonth, origin } = event.data
      return { ...state, scheduled: { ...termsIn(event.data), effectiveMonth, origin } }
    }
    case 'ScheduledPlanChangeCancelled':
      return { ...state, scheduled: undefined }
    case 'LicenceChanged':
      return withLicence(state, event.data.licence)
    case 'LicenceChangeScheduled': {
      const { licence, effectiveAt, reason } = event.data
      return { ...state, moving: { licence, effectiveAt, reason } }
    }
    case 'SubscriptionEnded': {
      const { licence, paidUntil, reason } = event.data
      const { moving, ...others } = state
      const endsMoving = moving !== undefined && licenceIdentity(moving.licence) === licenceIdentity(licence)
      return { ...(endsMoving ? others : state), ended: { licence, paidUntil, reason } }
    }
    case 'SubscriptionResumed':
      return { ...withLicence(state, event.data.licence), ended: undefined }
    case 'CustomerDeactivated':
      return { ...state, deactivated: true }
    case 'MonthlyCreditsGranted': {
      const { customerId, yearMonth, hardCap, keys, licence, scheduled, ended, deactivated, occurredAt } = event.data
      // Built from the event alone: a cold ledger that begins here reaches the same state as one that read everything.
      return {
        customerId,
        terms: termsIn(event.data),
        hardCap,
        keys,
        licence,
        scheduled,
        ended,
        deactivated,
        yearMonth,
        sequence: 0,
        creditCalls: 0,
        overageCalls: 0,
        lastOccurredAt: occurredAt,
      }
    }
    case 'DetectionSucceeded':
      return { ...state, sequence: event.data.sequence, ...paidCalls(state, event.data.funding, 1) }
    case 'DetectionVoided':
      // Gives back what the call took. A call of an earlier month took nothing from this one.
      return event.data.yearMonth === state.yearMonth
        ? { ...state, ...paidCalls(state, event.data.funding, -1) }
        : state
    case 'DetectionReplayed':
    case 'AttemptFenced':
      return state
    default:
      return event satisfies never
  }
}

/** What was to take over has done so, or has been overtaken by it; a new term of the old licence changes nothing. */
function withLicence(state: CustomerState, licence: Licence): CustomerState {
  if (state.moving !== undefined && licence.kind !== state.moving.licence.kind) return { ...state, licence }
  const { moving: _, ...others } = state
  return { ...others, licence }
}

function paidCalls(state: CustomerState, funding: 'credit' | 'overage', by: 1 | -1) {
  return funding === 'credit' ? { creditCalls: state.creditCalls + by } : { overageCalls: state.overageCalls + by }
}

const termsIn = ({ plan, monthlyLimit, monthlyFee, overageUnitPrice }: Terms): Terms => ({
  plan,
  monthlyLimit,
  monthlyFee,
  overageUnitPrice,
})

/** The event that opens the UTC month of `at`: grants its credits and lets a scheduled change take effect. */
export function openerAt(state: CustomerState, at: string): CustomerEvent & { type: 'MonthlyCreditsGranted' } {
  const { customerId, hardCap, keys, licence, ended, deactivated } = state
  const yearMonth = monthOf(at)
  const due = state.scheduled !== undefined && state.scheduled.effectiveMonth <= yearMonth
  return {
    type: 'MonthlyCreditsGranted',
    data: {
      customerId,
      occurredAt: at,
      yearMonth,
      ...termsIn(due && state.scheduled !== undefined ? state.scheduled : state.terms),
      hardCap,
      keys,
      licence,
      ...(state.scheduled === undefined || due ? {} : { scheduled: state.scheduled }),
      ...(ended === undefined ? {} : { ended }),
      deactivated,
    },
  }
}

/**
 * What the time brings that has come since the last event, at `at`: the opener of its month, and the licence that takes
 * over at an hour that has begun. The first events of whatever is appended next.
 */
export function dueAt(state: CustomerState, at: string): CustomerEvent[] {
  const due: CustomerEvent[] = monthOf(at) === state.yearMonth ? [] : [openerAt(state, at)]
  const { customerId, moving, ended } = state
  if (moving === undefined || at < moving.effectiveAt) return due
  const data = { customerId, occurredAt: at, licence: moving.licence }
  if (ended !== undefined) return [...due, { type: 'SubscriptionResumed', data }]
  return [...due, { type: 'LicenceChanged', data: { ...data, reason: moving.reason } }]
}

/** The later of the clock and the stream's last instant: a clock that lags is lifted, never followed. */
export const lifted = (state: CustomerState, now: string): string =>
  now > state.lastOccurredAt ? now : state.lastOccurredAt

/** The state as it stands at `now`: in a new month with that month's credits, though its opener is not yet written. */
export const openMonth = (state: CustomerState, now: string): CustomerState =>
  state.customerId === '' ? state : dueAt(state, lifted(state, now)).reduce(evolve, state)

/** Whether calls stop at the limit: the free plan, a hard cap that is ON, or a subscription that has ended. */
export function stopsAtLimit(state: CustomerState): boolean {
  return hardCapHolds(state) || state.ended !== undefined
}

/** The hard cap as the API reports it: always ON on the free plan. */
export const hardCapHolds = (state: CustomerState): boolean => state.terms.plan === 'free' || state.hardCap

export interface Counters {
  readonly remainingCalls: number
  readonly overLimitCalls: number
  readonly totalCalls: number
}

/** The month's figures as the API reports them (invariant 4). */
export function counters(state: CustomerState): Counters {
  return {
    remainingCalls: Math.max(0, state.terms.monthlyLimit - state.creditCalls),
    overLimitCalls: hardCapHolds(state) ? 0 : state.overageCalls,
    totalCalls: state.creditCalls + state.overageCalls,
  }
}

/** Whether no key works at `at`, whichever it is: of a customer deactivated, or past what an ended subscription paid. */
export function refusesEveryKey(
  {
    deactivated,
    ended,
  }: { readonly deactivated: boolean; readonly ended?: Pick<Ended, 'paidUntil'> | null | undefined },
  at: string,
): boolean {
  return deactivated || (ended ? at >= ended.paidUntil : false)
}

/** Whether a key may be used at `at`: in a slot, not expired, of a customer who is active. */
export function keyIsValid(state: CustomerState, keyId: string, at: string): boolean {
  if (refusesEveryKey(state, at)) return false
  const key = [state.keys.primary, state.keys.secondary].find((candidate) => candidate?.keyId === keyId)
  return key !== undefined && (key.expiresAt === undefined || key.expiresAt > at)
}
