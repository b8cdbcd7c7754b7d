/**
 * THE decider: what may happen to a customer. Pure. Read this first.
 *
 * `decide` gets the folded state, a command that carries every id and secret's hash, and the clock's `now`; it returns
 * the events that the command causes, or a refusal. It invents nothing, so deciding again after a lost race is safe.
 */
import { isDeepStrictEqual } from 'node:util'
import type { CustomerEvent, DataOf, Licence, PlanName, Slot, Verdict } from '../events/catalogue.ts'
import type { NewApiKey } from './keys.ts'
import { bucketKey, downgradeMonth, isUpgrade, licenceIdentity, monthEnd, nextHour, termsOf } from './plans.ts'
import { type CustomerState, dueAt, evolve, hardCapHolds, keyIsValid, lifted, openerAt, stopsAtLimit } from './state.ts'

export interface Replayable {
  readonly detectionId: string
  readonly revision: bigint
  /** A DetectionReplayed of it is in the log already. */
  readonly replayed: boolean
}

export type CustomerCommand =
  | {
      readonly type: 'RegisterCustomer'
      readonly customerId: string
      readonly plan: PlanName
      readonly monthlyLimit?: number | undefined
      readonly hardCap: boolean
      readonly licence: Licence
      /** Absent when the customer is to get their keys at activation. */
      readonly keys?: Readonly<Record<Slot, NewApiKey>> | undefined
    }
  | {
      readonly type: 'RegenerateApiKey'
      readonly slot: Slot
      readonly key: NewApiKey
      readonly expiresAt?: string | undefined
    }
  | { readonly type: 'DeactivateApiKey'; readonly slot: Slot; readonly reason: string }
  | { readonly type: 'EnableHardCap' }
  | { readonly type: 'DisableHardCap' }
  | {
      readonly type: 'SetPlan'
      readonly plan: PlanName
      readonly monthlyLimit?: number | undefined
      readonly origin: 'operator' | 'marketplace'
      readonly reason: string
    }
  | { readonly type: 'CancelScheduledPlanChange' }
  | { readonly type: 'ChangeLicence'; readonly licence: Licence; readonly reason: string }
  | { readonly type: 'EndSubscription'; readonly licence: Licence; readonly reason: string }
  | { readonly type: 'ResumeSubscription'; readonly licence: Licence }
  | { readonly type: 'DeactivateCustomer'; readonly reason: string }
  | { readonly type: 'OpenMonth' }
  | {
      readonly type: 'RecordDetection'
      readonly detectionId: string
      readonly keyId: string
      readonly verdict: Verdict
      readonly modelSet: string
      readonly modelVersion: string
      readonly idempotency?: { readonly key: string; readonly body: string } | undefined
    }
  | { readonly type: 'ReplayDetection'; readonly keyId: string; readonly detection: Replayable }
  | { readonly type: 'VoidDetections'; readonly detections: readonly Voidable[] }
  | { readonly type: 'FenceAttempt'; readonly firstEventId: string }
  /** Changes nothing: asks whether the key is good and what the month's figures are, at the head of the stream. */
  | { readonly type: 'Observe'; readonly keyId?: string | undefined }

/** What a void repeats of the detection it voids. */
export type Voidable = Pick<
  DataOf<'DetectionVoided'>,
  'detectionId' | 'revision' | 'yearMonth' | 'funding' | 'bucketKey'
>

export type RefusalKind =
  | 'no_such_customer'
  | 'already_registered'
  | 'invalid_api_key'
  | 'quota_exceeded'
  | 'hard_cap_fixed'
  | 'no_such_key'
  | 'nothing_scheduled'
  | 'scheduled_by_marketplace'
  | 'customer_deactivated'

export interface Refusal {
  readonly refusal: RefusalKind
  readonly message: string
}

export type Decision = readonly CustomerEvent[] | Refusal
export const isRefusal = (decision: Decision): decision is Refusal => 'refusal' in decision

const refuse = (refusal: RefusalKind, message: string): Refusal => ({ refusal, message })

/**
 * Decides a command at `now` (ISO 8601 UTC), lifted to the stream's last instant. What the time has brought (dueAt)
 * comes before what the command causes. An empty list means: granted, nothing to record.
 */
export function decide(state: CustomerState, command: CustomerCommand, now: string): Decision {
  const at = lifted(state, now)
  if (command.type === 'RegisterCustomer') return register(state, command, at)
  if (state.customerId === '') return refuse('no_such_customer', 'There is no such customer.')
  const due = dueAt(state, at)
  if (command.type === 'OpenMonth') return due
  const decision = decideInMonth(due.reduce(evolve, state), command, at)
  if (isRefusal(decision)) return decision
  const isWritten = decision.length > 0 || (command.type in writesDue && due.some(({ type }) => type in takesOver))
  return isWritten ? [...due, ...decision] : []
}

/** Commands whose wish may be what is due already. */
const writesDue = { ChangeLicence: true, ResumeSubscription: true }
const takesOver = { LicenceChanged: true, SubscriptionResumed: true }

type Of<T extends CustomerCommand['type']> = Extract<CustomerCommand, { type: T }>
type InMonth = Exclude<CustomerCommand, { type: 'RegisterCustomer' }>

function decideInMonth(state: CustomerState, command: InMonth, at: string): Decision {
  const base = { customerId: state.customerId, occurredAt: at }
  if (state.deactivated && needsActive.has(command.type)) return deactivated
  switch (command.type) {
    case 'RecordDetection':
      return recordDetection(state, command, at)
    case 'ReplayDetection': {
      if (!keyIsValid(state, command.keyId, at)) return invalidKey
      const { detectionId, replayed } = command.detection
      return replayed ? [] : [{ type: 'DetectionReplayed', data: { ...base, detectionId } }]
    }
    case 'Observe':
      return command.keyId === undefined || keyIsValid(state, command.keyId, at) ? [] : invalidKey
    case 'VoidDetections':
      return command.detections.map((voidable) => ({ type: 'DetectionVoided', data: { ...base, ...voidable } }))
    case 'FenceAttempt':
      return [{ type: 'AttemptFenced', data: { ...base, firstEventId: command.firstEventId } }]
    case 'OpenMonth':
      return []
    case 'RegenerateApiKey':
      return regenerateKey(state, command, at)
    case 'DeactivateApiKey': {
      const key = state.keys[command.slot]
      if (key === undefined) return refuse('no_such_key', `There is no ${command.slot} key to deactivate.`)
      const { slot, reason } = command
      return [{ type: 'ApiKeyDeactivated', data: { ...base, slot, keyId: key.keyId, reason } }]
    }
    case 'EnableHardCap':
      return hardCapHolds(state) ? [] : [{ type: 'HardCapEnabled', data: base }]
    case 'DisableHardCap':
      if (state.terms.plan === 'free') return refuse('hard_cap_fixed', 'The hard cap is always ON on the free plan.')
      return state.hardCap ? [{ type: 'HardCapDisabled', data: base }] : []
    case 'SetPlan':
      return setPlan(state, command, at)
    case 'CancelScheduledPlanChange':
      if (state.scheduled === undefined) return refuse('nothing_scheduled', 'No plan change is scheduled.')
      return state.scheduled.origin === 'marketplace' ? scheduledThere : [cancelled(base, state.scheduled)]
    case 'ChangeLicence': {
      const { licence, reason } = command
      if (isDeepStrictEqual(state.licence, licence)) return []
      return moves(state, licence, reason, at) ?? [{ type: 'LicenceChanged', data: { ...base, licence, reason } }]
    }
    case 'EndSubscription': {
      // An end of another licence than the current one is late news about a licence that was replaced.
      const named = licenceIdentity(command.licence)
      const isCurrent = [state.licence, state.moving?.licence].some((one) => one && licenceIdentity(one) === named)
      if (state.ended !== undefined || !isCurrent) return []
      const { licence, reason } = command
      const paidUntil = monthEnd(state.yearMonth)
      return [{ type: 'SubscriptionEnded', data: { ...base, licence, paidUntil, reason } }]
    }
    case 'ResumeSubscription': {
      if (state.ended === undefined) return []
      const { licence } = command
      return (
        moves(state, licence, 'the subscription goes on', at) ?? [
          { type: 'SubscriptionResumed', data: { ...base, licence } },
        ]
      )
    }
    case 'DeactivateCustomer':
      return state.deactivated ? [] : [{ type: 'CustomerDeactivated', data: { ...base, reason: command.reason } }]
    default:
      return command satisfies never
  }
}

/**
 * AWS bills an hour twice that is reported by product code and by licence. So between the two a customer moves at the
 * start of the next hour, even where this one begins at this very instant: it may have calls already. Null where both
 * are of one kind.
 */
function moves({ customerId, licence: before, moving }: CustomerState, licence: Licence, reason: string, at: string) {
  if (before.kind === 'none' || licence.kind === 'none' || before.kind === licence.kind) return null
  if (isDeepStrictEqual(moving?.licence, licence)) return []
  const effectiveAt = nextHour(at)
  const data = { customerId, occurredAt: at, licence, effectiveAt, reason }
  return [{ type: 'LicenceChangeScheduled', data }] satisfies CustomerEvent[]
}

const deactivated = refuse('customer_deactivated', 'The customer is deactivated.')
const needsActive: ReadonlySet<CustomerCommand['type']> = new Set([
  'RegenerateApiKey',
  'DeactivateApiKey',
  'EnableHardCap',
  'DisableHardCap',
  'SetPlan',
  'CancelScheduledPlanChange',
])
const scheduledThere = refuse(
  'scheduled_by_marketplace',
  'The scheduled change was made in AWS Marketplace and is cancelled there.',
)
const invalidKey = refuse('invalid_api_key', 'The API key is not valid.')

function register(state: CustomerState, command: Of<'RegisterCustomer'>, at: string): Decision {
  if (state.customerId !== '') return refuse('already_registered', 'This customer is registered already.')
  const { customerId, licence } = command
  const base = { customerId, occurredAt: at }
  const registered: CustomerEvent = {
    type: 'CustomerRegistered',
    data: {
      ...base,
      ...termsOf(command.plan, command.monthlyLimit),
      hardCap: command.plan === 'free' || command.hardCap,
      licence,
    },
  }
  const opener = openerAt(evolve(state, registered), at)
  const keys = Object.entries(command.keys ?? {}) as [Slot, NewApiKey][]
  return [
    registered,
    opener,
    ...keys.map(([slot, key]): CustomerEvent => ({ type: 'ApiKeyIssued', data: { ...base, slot, ...key } })),
  ]
}

/** Credits first, overage past them where that is allowed. The funding stands for ever (invariant 4). */
function recordDetection(state: CustomerState, command: Of<'RecordDetection'>, at: string): Decision {
  if (!keyIsValid(state, command.keyId, at)) return invalidKey
  const { plan, monthlyLimit, overageUnitPrice } = state.terms
  const hasCredit = state.creditCalls < monthlyLimit
  if (!hasCredit && stopsAtLimit(state)) {
    return refuse('quota_exceeded', `The monthly limit of ${monthlyLimit} calls is reached.`)
  }
  const { detectionId, keyId, verdict, modelSet, modelVersion, idempotency } = command
  const { customerId, licence, yearMonth } = state
  return [
    {
      type: 'DetectionSucceeded',
      data: {
        customerId,
        occurredAt: at,
        detectionId,
        yearMonth,
        sequence: state.sequence + 1,
        funding: hasCredit ? 'credit' : 'overage',
        plan,
        overageUnitPrice,
        bucketKey: bucketKey(customerId, licence, plan, at),
        keyId,
        verdict,
        modelSet,
        modelVersion,
        ...(idempotency === undefined ? {} : { idempotency }),
      },
    },
  ]
}

function regenerateKey(state: CustomerState, command: Of<'RegenerateApiKey'>, at: string): Decision {
  const { slot, key, expiresAt } = command
  const data = {
    customerId: state.customerId,
    occurredAt: at,
    slot,
    ...key,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  }
  const replaced = state.keys[slot]
  return replaced === undefined
    ? [{ type: 'ApiKeyIssued', data }]
    : [{ type: 'ApiKeyRegenerated', data: { ...data, replacedKeyId: replaced.keyId } }]
}

/**
 * An upgrade (a larger plan, or more credits on the same plan) takes effect at once and clears a scheduled change; the
 * present terms clear one of the same origin, and are an operator's who names the plan alone; a downgrade waits for the
 * UTC month that begins with or after the contract's renewal, else for the next one (docs/design.md, "Two clocks").
 */
function setPlan(state: CustomerState, command: Of<'SetPlan'>, at: string): Decision {
  const before = state.terms
  const samePlan = command.plan === before.plan
  const agreed = samePlan && command.origin === 'operator' ? before.monthlyLimit : undefined
  const after = termsOf(command.plan, command.monthlyLimit ?? agreed)
  const base = { customerId: state.customerId, occurredAt: at }
  if (samePlan && after.monthlyLimit === before.monthlyLimit) {
    // A downgrade is taken back before it takes effect, each where it was made: AWS confirms its plan again and again.
    if (state.scheduled === undefined) return []
    if (state.scheduled.origin === command.origin) return [cancelled(base, state.scheduled)]
    return command.origin === 'marketplace' ? [] : scheduledThere
  }
  if (samePlan ? after.monthlyLimit < before.monthlyLimit : !isUpgrade(before.plan, after.plan)) {
    const effectiveMonth = downgradeMonth(state.licence, at)
    if (isDeepStrictEqual(state.scheduled, { ...after, effectiveMonth, origin: command.origin })) return []
    return [{ type: 'PlanChangeScheduled', data: { ...base, ...after, effectiveMonth, origin: command.origin } }]
  }
  const change: CustomerEvent = samePlan
    ? { type: 'MonthlyLimitChanged', data: { ...base, from: before.monthlyLimit, ...after, reason: command.reason } }
    : { type: 'PlanChanged', data: { ...base, from: before.plan, ...after, reason: command.reason } }
  // On the free plan the cap was ON whatever the customer had set before, so it stays ON (docs/decisions/0005-ledger.md).
  const keepsCap = before.plan === 'free' && !samePlan && !state.hardCap
  const changed: CustomerEvent[] = keepsCap ? [{ type: 'HardCapEnabled', data: base }, change] : [change]
  return state.scheduled === undefined ? changed : [cancelled(base, state.scheduled), ...changed]
}

function cancelled(
  base: { readonly customerId: string; readonly occurredAt: string },
  { plan, effectiveMonth }: NonNullable<CustomerState['scheduled']>,
): CustomerEvent {
  return { type: 'ScheduledPlanChangeCancelled', data: { ...base, plan, effectiveMonth } }
}
