/**
 * Brings a customer in line with what AWS says of their licence: plan, term, end, resumption, change of licence. It
 * looks at everything that is known and does what is missing, so it may be run at any time, twice, or after a crash.
 */
import type pg from 'pg'
import type { Origin, Patience } from '../commands/attempt.ts'
import type { Clock } from '../commands/clock.ts'
import type { CustomerCommand } from '../commands/customer.ts'
import type { Ledgers } from '../commands/ledgers.ts'
import { licenceIdentity, termsOf } from '../commands/plans.ts'
import type { CustomerState } from '../commands/state.ts'
import type { EventStore } from '../eventstore/store.ts'
import { customersOfAccount } from './customers.ts'
import { type Contract, contractOf, entitlementsOf, type ReadEntitlements } from './entitlements.ts'
import { continuesAnother, type LifecycleMessage, type Standing, standingOf } from './lifecycle.ts'
import { forgetUndecided, keepUndecided, messagesOf, noteOutcome, type Outcome } from './messages.ts'
import type { MarketplaceLicence, Party } from './party.ts'
import { type Holder, holderOf, reserve } from './reservation.ts'

export interface MarketplaceDeps {
  readonly pool: pg.Pool
  readonly store: EventStore
  readonly ledgers: Pick<Ledgers, 'execute'>
  readonly clock: Pick<Clock, 'now'>
  readonly patience: Patience
  readonly readEntitlements: ReadEntitlements
  /** Somebody must look. */
  readonly onAlarm: (message: string, fields: Readonly<Record<string, unknown>>) => void
}

/** Metadata of what is done because of `cause`: a message's id or a request's. */
export const origin = (cause: string): Origin => ({ correlationId: cause, causationId: cause, actor: 'marketplace' })

/**
 * Settles a licence and notes the outcome on its messages.
 * @throws AwsUnavailable, EventStoreUnavailable, what Ledger.execute throws: try again later
 */
export async function settle(deps: MarketplaceDeps, party: Party, cause: string): Promise<Outcome> {
  let messages = await messagesOf(deps.pool, party.licence)
  for (;;) {
    const outcome = await outcomeOf(deps, party, messages, cause)
    // An end that another process took in meanwhile must not be undone by what was decided without it.
    const now = await messagesOf(deps.pool, party.licence)
    if (now.length === messages.length) {
      await noteOutcome(deps.pool, messages, outcome)
      if (outcome.state !== 'human') await forgetUndecided(deps.pool, party.licence)
      return outcome
    }
    messages = now
  }
}

const handled = (outcome: string): Outcome => ({ state: 'handled', outcome })
const waiting = (outcome: string): Outcome => ({ state: 'waiting', outcome })
const human = (outcome: string): Outcome => ({ state: 'human', outcome })

async function outcomeOf(
  deps: MarketplaceDeps,
  party: Party,
  messages: readonly LifecycleMessage[],
  cause: string,
): Promise<Outcome> {
  const standing = standingOf(messages)
  const found = (await holderOf(deps.store, party.licence)) ?? (await successor(deps, party, messages, standing, cause))
  if ('state' in found) return found
  const { customerId } = found
  const state = await stateOf(deps, customerId, cause)
  if (state.customerId === '') return waiting('the buyer has not finished the registration')
  const before = state.licence
  const named = licenceIdentity(party.licence)
  // One that takes over at the next hour is the customer's already; should it end before, its own end must hold.
  const current = [before, state.moving?.licence].some((one) => one !== undefined && licenceIdentity(one) === named)
  if (!current && !(await isNewer(deps, found, before))) return handled('the customer has a newer licence by now')
  if (standing.kind === 'ended') {
    return current
      ? end(deps, state, party, standing.reason, cause)
      : handled(`${standing.reason}, before it was taken up`)
  }
  if (standing.kind === 'replaced') return waiting(`${standing.reason}: waits for the licence that follows`)

  const contract = contractOf(entitlementsOf(await deps.readEntitlements(party), party))
  if (contract.kind === 'over') return end(deps, state, party, 'AWS Marketplace: no entitlement is left', cause)
  if (contract.kind === 'unclear') {
    deps.onAlarm(`AWS Marketplace entitlements are unclear: ${contract.reason}`, { customerId, ...party })
    return human(contract.reason)
  }
  await run(deps, customerId, commandsFor(state, party.licence, contract, found.reservedAt), cause)
  // What still waited for a successor of the licence before has it now.
  if (!current && before.kind !== 'none') {
    await noteOutcome(deps.pool, await messagesOf(deps.pool, before), handled('the customer has a newer licence'))
  }
  return handled(
    `${contract.plan}${contract.monthlyLimit === undefined ? '' : `, ${contract.monthlyLimit} calls a month`}`,
  )
}

/** A licence that nobody holds: its customer where it continues another of the same AWS account's, else it waits. */
async function successor(
  deps: MarketplaceDeps,
  party: Party,
  messages: readonly LifecycleMessage[],
  standing: Standing,
  cause: string,
): Promise<Holder | Outcome> {
  const { licence } = party
  if (standing.kind !== 'running') return handled(`${standing.reason}, before anybody registered`)
  if (licence.kind !== 'licence' || continuesAnother(messages) !== true)
    return waiting('the buyer has not registered yet')
  const candidates = await customersOfAccount(deps.pool, licence.awsAccountId)
  const [only, ...others] = candidates
  if (only === undefined) return waiting('a renewal of a licence that nobody registered')
  if (others.length > 0) return undecided(deps, party, candidates)
  return reserve(deps, { licence, customerId: only, now: deps.clock.now(), origin: origin(cause) })
}

/** Keeps a licence for a human, with one alarm. */
export async function undecided(deps: MarketplaceDeps, party: Party, candidates: readonly string[]): Promise<Outcome> {
  const reason = 'the AWS account has several customers: a human must say whose licence this is'
  if (await keepUndecided(deps.pool, { party, reason, candidates })) {
    deps.onAlarm(`AWS Marketplace: ${reason}`, { licence: licenceIdentity(party.licence), candidates })
  }
  return human(reason)
}

/** Whether a licence was reserved after the one the customer has: then a change to it was begun and not finished. */
async function isNewer(deps: MarketplaceDeps, holder: Holder, current: CustomerState['licence']): Promise<boolean> {
  if (current.kind === 'none') return true
  const holderOfCurrent = await holderOf(deps.store, current)
  return holderOfCurrent === null || holderOfCurrent.reservedAt < holder.reservedAt
}

async function end(
  deps: MarketplaceDeps,
  { customerId, licence: current }: CustomerState,
  { licence: named }: Party,
  reason: string,
  cause: string,
): Promise<Outcome> {
  const licence = licenceIdentity(current) === licenceIdentity(named) ? current : named
  await run(deps, customerId, [{ type: 'EndSubscription', licence, reason }], cause)
  return handled(`ended: ${reason}`)
}

/**
 * The commands that bring a customer to a contract. Pure. The plan comes before the licence: a downgrade waits for the
 * end of the term that was known until now, and the new one begins where that ended. What is scheduled already is not
 * scheduled again, or each reading after a renewal would push it into the next term.
 */
function commandsFor(
  state: CustomerState,
  licence: MarketplaceLicence,
  contract: Contract & { readonly kind: 'plan' },
  reservedAt: string,
): CustomerCommand[] {
  const { plan, monthlyLimit, termEnd } = contract
  const wanted = termsOf(plan, monthlyLimit)
  const { scheduled } = state
  const underWay =
    scheduled?.origin === 'marketplace' &&
    scheduled.plan === wanted.plan &&
    scheduled.monthlyLimit === wanted.monthlyLimit
  const current = state.licence
  const known = current.kind !== 'none' && licenceIdentity(current) === licenceIdentity(licence)
  const termStart = known ? current.termStart : reservedAt
  const next: MarketplaceLicence = {
    ...licence,
    ...(termStart === undefined ? {} : { termStart }),
    ...(termEnd === undefined ? {} : { termEnd }),
  }
  const reason = 'bought in AWS Marketplace'
  return [
    ...(underWay || state.deactivated
      ? []
      : [{ type: 'SetPlan', plan, monthlyLimit, origin: 'marketplace', reason } as const]),
    state.ended === undefined
      ? { type: 'ChangeLicence', licence: next, reason: known ? 'term of the contract' : 'renewed in AWS Marketplace' }
      : { type: 'ResumeSubscription', licence: next },
  ]
}

/** The customer's state at the head of their stream. */
export async function stateOf(deps: MarketplaceDeps, customerId: string, cause: string): Promise<CustomerState> {
  const { state } = await deps.ledgers.execute(customerId, { command: { type: 'Observe' }, origin: origin(cause) })
  return state
}

/** Sends commands in their order, in one append where that is possible. @throws Error when one is refused */
async function run(
  deps: MarketplaceDeps,
  customerId: string,
  commands: readonly CustomerCommand[],
  cause: string,
): Promise<void> {
  const outcomes = await Promise.all(
    commands.map((command) => deps.ledgers.execute(customerId, { command, origin: origin(cause) })),
  )
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.kind === 'refused') throw new Error(`${commands[index]?.type} was refused: ${outcome.message}`)
  }
}
