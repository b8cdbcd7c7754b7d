/**
 * The rules that a customer's stream keeps besides its hash chain (docs/audit.md, "Rules of a customer's stream"): what
 * a correct writer can have written behind what stands before. Pure. The fold is the ledger's own, so the state here is
 * the state that decided each call; terms and prices come from the events, never from today's catalogue.
 */
import { isDeepStrictEqual } from 'node:util'
import { downgradeMonth, licenceIdentity, monthOf, nextHour } from '../commands/plans.ts'
import { type CustomerState, evolve, initialState, keyIsValid, openerAt, stopsAtLimit } from '../commands/state.ts'
import type { CustomerEvent, DataOf, Licence } from '../events/catalogue.ts'

/** The call at the revision that a void names; null where no call stands there. */
export type VoidTarget = Pick<
  DataOf<'DetectionSucceeded'>,
  'detectionId' | 'yearMonth' | 'funding' | 'bucketKey'
> | null

export interface StreamRules {
  /**
   * Moves over the next event and returns what is wrong with it.
   * @param target of a DetectionVoided; undefined where the revision it names cannot be looked up
   */
  pass(event: CustomerEvent, target?: VoidTarget): string[]
  /** After the last event; null until the first event that tells everything, which a month's opener is. */
  readonly state: CustomerState | null
}

/**
 * @param wholeMonth null where the first event to pass is the stream's first. Else the events begin somewhere in the
 *   middle, and this month (`YYYY-MM`) must be whole among them
 */
export function streamRules(customerId: string, wholeMonth: string | null): StreamRules {
  let state: CustomerState | null = wholeMonth === null ? initialState : null
  let hasBegun = wholeMonth === null
  let due: Due
  let lastOccurredAt = ''
  const voided = new Set<string>()
  const replayed = new Set<string>()

  function ofReplayAndVoid(event: CustomerEvent, target: VoidTarget | undefined): string[] {
    if (event.type === 'DetectionReplayed') {
      const { detectionId } = event.data
      const faults = [
        ...(voided.has(detectionId) ? ['it replays a call that was voided'] : []),
        ...(replayed.has(detectionId) ? ['its call was noted as replayed before'] : []),
      ]
      replayed.add(detectionId)
      return faults
    }
    if (event.type !== 'DetectionVoided') return []
    const { detectionId } = event.data
    const faults = [
      ...(voided.has(detectionId) ? ['its call was voided before'] : []),
      ...(replayed.has(detectionId) ? ['it voids a call whose answer was given again'] : []),
      ...(target === undefined || repeats(event.data, target)
        ? []
        : [`no such call stands at revision ${event.data.revision}`]),
    ]
    voided.add(detectionId)
    return faults
  }

  /** Where nothing is known of what stands before the event. */
  function withoutState(event: CustomerEvent): string[] {
    const month = monthOf(event.data.occurredAt)
    const isFirst = !hasBegun && wholeMonth !== null && month >= wholeMonth
    hasBegun ||= isFirst
    if (event.type === 'MonthlyCreditsGranted') return monthOfOpener(event.data)
    const faults = isFirst
      ? [`it is the first event of ${month} here, and not that month's opener: the beginning is left out`]
      : []
    if (event.type === 'CustomerRegistered') faults.push(isRegistered)
    if (event.type === 'DetectionSucceeded' && event.data.yearMonth !== month) faults.push(billedTo(event.data))
    return faults
  }

  return {
    get state() {
      return state
    },
    pass(event, target) {
      const { occurredAt } = event.data
      const faults: string[] = []
      if (event.data.customerId !== customerId) faults.push(`it names another customer, ${event.data.customerId}`)
      if (occurredAt < lastOccurredAt) faults.push(`its time ${occurredAt} lies before the event before it`)
      lastOccurredAt = occurredAt
      faults.push(...ofReplayAndVoid(event, target))
      faults.push(...(state === null ? withoutState(event) : faultsAfter(state, event, due)))
      due = dueBehind(state, event)
      if (state !== null || event.type === 'MonthlyCreditsGranted') state = evolve(state ?? initialState, event)
      return faults
    },
  }
}

export const repeats = (
  { detectionId, yearMonth, funding, bucketKey }: DataOf<'DetectionVoided'>,
  call: VoidTarget,
): boolean =>
  call?.detectionId === detectionId &&
  call.yearMonth === yearMonth &&
  call.funding === funding &&
  call.bucketKey === bucketKey

/** A licence that had to take over at an hour that has begun, where the state no longer says so. */
export type Due = CustomerState['moving'] | 'unknown'

/** What must stand right behind the event: a month's opener comes first, and does not repeat the licence that is due. */
export function dueBehind(before: CustomerState | null, { type }: CustomerEvent): Due {
  if (type !== 'MonthlyCreditsGranted') return undefined
  return before === null ? 'unknown' : before.moving
}

/**
 * What is wrong with an event behind the state that the events before it add up to.
 * @param due `dueBehind` the event before it
 */
export function faultsAfter(state: CustomerState, event: CustomerEvent, due: Due): string[] {
  const registered = state.customerId !== ''
  if ((event.type === 'CustomerRegistered') === registered) {
    return [registered ? isRegistered : "the stream's first event is no registration"]
  }
  if (event.type === 'CustomerRegistered') return []
  if (event.type === 'MonthlyCreditsGranted') return openerFaults(state, event.data)
  const month = monthOf(event.data.occurredAt)
  const faults = month === state.yearMonth ? [] : [`it is the first event of ${month}, and not that month's opener`]
  return [
    ...faults,
    ...licenceFaults(state, event, due ?? state.moving),
    ...(event.type === 'DetectionSucceeded' ? callFaults(state, event.data) : changeFaults(state, event)),
  ]
}

/**
 * AWS bills an hour twice that is told under a product code and under a licence. So a customer moves between the two at
 * the start of an hour: it is scheduled, and whatever is appended from then on begins with the licence that takes over.
 */
function licenceFaults(state: CustomerState, event: CustomerEvent, moving: Due): string[] {
  const { occurredAt } = event.data
  const licence = event.type === 'LicenceChanged' || event.type === 'SubscriptionResumed' ? event.data.licence : null
  // Whatever was due when the month began stands at the opener's own instant.
  if (moving === 'unknown' && occurredAt === state.lastOccurredAt) return []
  if (moving !== undefined && moving !== 'unknown' && moving.effectiveAt <= occurredAt) {
    const takesOver = state.ended === undefined ? 'LicenceChanged' : 'SubscriptionResumed'
    return event.type === takesOver && isDeepStrictEqual(plain(licence), plain(moving.licence))
      ? []
      : [`a licence was to take over at ${moving.effectiveAt}, before this event`]
  }
  if (licence === null || !isMove(state.licence, licence)) return []
  return ['it moves the customer between product code and licence, which is not due']
}

const isMove = (before: Licence, after: Licence): boolean =>
  before.kind !== after.kind && before.kind !== 'none' && after.kind !== 'none'

const isRegistered = 'the customer is registered already'
const billedTo = ({ yearMonth }: DataOf<'DetectionSucceeded'>): string => `it is billed to ${yearMonth}`
const monthOfOpener = ({ yearMonth, occurredAt }: DataOf<'MonthlyCreditsGranted'>): string[] =>
  yearMonth === monthOf(occurredAt) ? [] : [`it opens ${yearMonth} at ${occurredAt}`]

/** An opener is wholly determined by what stands before it. */
function openerFaults(state: CustomerState, data: DataOf<'MonthlyCreditsGranted'>): string[] {
  const ofMonth = monthOfOpener(data)
  if (ofMonth.length > 0) return ofMonth
  if (data.yearMonth <= state.yearMonth) return [`${data.yearMonth} was opened before`]
  const expected: Record<string, unknown> = openerAt(state, data.occurredAt).data
  const found: Record<string, unknown> = data
  const names = new Set([...Object.keys(expected), ...Object.keys(found)])
  return [...names]
    .filter((name) => !isDeepStrictEqual(plain(expected[name]), plain(found[name])))
    .map((name) => `its ${name} is not what held before it`)
}

/** Without keys whose value is undefined: the log cannot hold them. */
const plain = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

function callFaults(state: CustomerState, data: DataOf<'DetectionSucceeded'>): string[] {
  const { terms, creditCalls } = state
  const funding = creditCalls < terms.monthlyLimit ? 'credit' : 'overage'
  const checks: [boolean, string][] = [
    [data.yearMonth === state.yearMonth, billedTo(data)],
    [data.sequence === state.sequence + 1, `its number is ${data.sequence}, expected ${state.sequence + 1}`],
    [data.plan === terms.plan, `its plan is ${data.plan}, ${terms.plan} held`],
    [
      data.overageUnitPrice === terms.overageUnitPrice,
      `its unit price is ${data.overageUnitPrice}, ${terms.overageUnitPrice} held`,
    ],
    [
      data.funding === funding,
      `it is paid by ${data.funding}: ${creditCalls} of ${terms.monthlyLimit} credits were used`,
    ],
    [data.funding === 'credit' || !stopsAtLimit(state), 'it lies past the limit while calls had to stop there'],
    [keyIsValid(state, data.keyId, data.occurredAt), `its key ${data.keyId} was not valid`],
    [isBucketOf(state, data), `its bucket key ${data.bucketKey} is not that of its customer, licence and hour`],
  ]
  return checks.filter(([holds]) => !holds).map(([, fault]) => fault)
}

/** The dimension is the plan's name at AWS: it stands in the event, and no catalogue of today says what it was. */
function isBucketOf(
  { customerId, licence }: CustomerState,
  { bucketKey, occurredAt }: DataOf<'DetectionSucceeded'>,
): boolean {
  const [customer, identity, dimension, hour, ...rest] = bucketKey.split('|')
  return (
    customer === customerId &&
    identity === licenceIdentity(licence) &&
    dimension !== undefined &&
    dimension !== '' &&
    hour === `${occurredAt.slice(0, 13)}Z` &&
    rest.length === 0
  )
}

/** Changes that name what they replace, or when they take effect. */
function changeFaults(state: CustomerState, event: CustomerEvent): string[] {
  const { terms, keys, scheduled } = state
  switch (event.type) {
    case 'PlanChanged':
      return event.data.from === terms.plan ? [] : [`it changes plan ${event.data.from}, ${terms.plan} held`]
    case 'MonthlyLimitChanged': {
      const { from, plan } = event.data
      const holds = from === terms.monthlyLimit && plan === terms.plan
      return holds ? [] : [`it changes ${from} calls of ${plan}, ${terms.monthlyLimit} of ${terms.plan} held`]
    }
    case 'PlanChangeScheduled': {
      const { effectiveMonth, occurredAt } = event.data
      const month = downgradeMonth(state.licence, occurredAt)
      return effectiveMonth === month ? [] : [`it takes effect in ${effectiveMonth}, the contract lets it in ${month}`]
    }
    case 'LicenceChangeScheduled': {
      const { effectiveAt, occurredAt } = event.data
      const hour = nextHour(occurredAt)
      return effectiveAt === hour
        ? []
        : [`its licence takes over at ${effectiveAt}, and not with the next hour, ${hour}`]
    }
    case 'ScheduledPlanChangeCancelled': {
      const { plan, effectiveMonth } = event.data
      const holds = scheduled?.plan === plan && scheduled.effectiveMonth === effectiveMonth
      return holds ? [] : ['no such change was scheduled']
    }
    case 'ApiKeyIssued':
      return keys[event.data.slot] === undefined ? [] : [`the ${event.data.slot} slot holds a key already`]
    case 'ApiKeyRegenerated':
      return keys[event.data.slot]?.keyId === event.data.replacedKeyId ? [] : ['it replaces a key that was not there']
    case 'ApiKeyDeactivated':
      return keys[event.data.slot]?.keyId === event.data.keyId ? [] : ['it deactivates a key that was not there']
    default:
      return []
  }
}
