/** What metering keeps of a customer besides the records: the fold of the customer's stream. Pure. */
import { licenceIdentity } from '../commands/plans.ts'
import type { CustomerEvent, Funding, Licence } from '../events/catalogue.ts'
import { emptyHead } from '../events/chain.ts'
import { partitionOf } from '../relay/feed.ts'
import type { MeteringRecord } from './record.ts'
import type { CustomerMeter, MeterState } from './tables.ts'

/** A customer of whom nothing is folded. */
export const newMeter = (customerId: string): CustomerMeter => ({
  customerId,
  partition: partitionOf(customerId),
  head: emptyHead,
  meteringHead: emptyHead,
  state: { licence: { kind: 'none' }, plan: 'free', licences: {}, since: {}, ends: {}, months: {} },
  sealedUpTo: '',
  closed: [],
})

/** Folds one event. A closed month is counted in its MonthClosed and nowhere else. */
export function evolveMeter(state: MeterState, event: CustomerEvent, closed: readonly string[]): MeterState {
  switch (event.type) {
    case 'CustomerRegistered': {
      const { licence, plan, occurredAt } = event.data
      return { ...named(state, licence, occurredAt), licence, plan }
    }
    case 'MonthlyCreditsGranted': {
      const { licence, plan, occurredAt } = event.data
      return { ...named(state, licence, occurredAt), plan }
    }
    case 'PlanChanged':
    case 'MonthlyLimitChanged':
      return { ...state, plan: event.data.plan }
    case 'LicenceChanged': {
      const { licence, occurredAt } = event.data
      // A new term of the same licence is news about its dates, not about its end.
      const isSame = licenceIdentity(licence) === licenceIdentity(state.licence)
      return { ...named(isSame ? state : running(state, licence), licence, occurredAt), licence }
    }
    case 'SubscriptionEnded': {
      const { licence, occurredAt: at } = event.data
      return { ...named(state, licence, at), ends: { ...state.ends, [licenceIdentity(licence)]: at } }
    }
    case 'SubscriptionResumed': {
      const { licence, occurredAt } = event.data
      return { ...named(running(state, licence), licence, occurredAt), licence }
    }
    case 'DetectionSucceeded':
      return counted(state, event.data, 1, closed)
    case 'DetectionVoided':
      return counted(state, event.data, -1, closed)
    default:
      return state
  }
}

function named(state: MeterState, licence: Licence, at: string): MeterState {
  const id = licenceIdentity(licence)
  return { ...state, licences: { ...state.licences, [id]: licence }, since: { [id]: at, ...state.since } }
}

/** A licence that runs from now on, whether or not it had ended. */
function running(state: MeterState, licence: Licence): MeterState {
  const { [licenceIdentity(licence)]: _, ...ends } = state.ends
  return { ...state, ends }
}

function counted(
  state: MeterState,
  { yearMonth, funding }: { readonly yearMonth: string; readonly funding: Funding },
  by: 1 | -1,
  closed: readonly string[],
): MeterState {
  if (closed.includes(yearMonth)) return state
  const { [yearMonth]: calls = { credit: 0, overage: 0 } } = state.months
  return { ...state, months: { ...state.months, [yearMonth]: { ...calls, [funding]: calls[funding] + by } } }
}

/** Events after which other records may have to be sealed before their hours are over. */
export const changesLicence = ({ type }: CustomerEvent): boolean =>
  type === 'CustomerRegistered' ||
  type === 'LicenceChanged' ||
  type === 'SubscriptionEnded' ||
  type === 'SubscriptionResumed'

/**
 * Why an open record of a licence is sealed before its hour is over; null when it is not. A function of what holds now,
 * so that a record opened later, by a late call, gets the same.
 */
export function sealEarlyOf({ licence, ends }: MeterState, ofRecord: string): MeteringRecord['sealEarly'] {
  if (ends[ofRecord] !== undefined) return 'subscription_ended'
  return licenceIdentity(licence) === ofRecord ? null : 'licence_replaced'
}
