/**
 * A buyer comes from AWS Marketplace with a token: who they are, what they bought, and the customer that is theirs. The
 * reservation of the licence decides; everything after it is found and finished when the buyer comes again.
 */
import { randomUUID } from 'node:crypto'
import { LedgerUnavailable } from '../commands/errors.ts'
import { licenceIdentity } from '../commands/plans.ts'
import type { PlanName } from '../events/catalogue.ts'
import { customersOfAccount } from './customers.ts'
import { type Contract, contractOf, type Entitlement, entitlementsOf } from './entitlements.ts'
import { continuesAnother, type LifecycleMessage, standingOf } from './lifecycle.ts'
import { messagesOf } from './messages.ts'
import type { Party } from './party.ts'
import { type Holder, holderOf, reserve } from './reservation.ts'
import type { ResolveCustomer } from './resolve-customer.ts'
import { type MarketplaceDeps, origin, settle, stateOf, undecided } from './settle.ts'

export type Registration =
  | { readonly kind: 'customer'; readonly customerId: string; readonly plan: PlanName }
  /** AWS does not know the token, or it is of another product. */
  | { readonly kind: 'invalid' }
  /** The token is too old, or was used. */
  | { readonly kind: 'expired' }
  /** AWS lists nothing bought: too early, or over. */
  | { readonly kind: 'nothing_bought' }
  /** Whose licence it is, or what was bought, a human must say first. */
  | { readonly kind: 'undecided' }
  /** The customer was deactivated by the operator. */
  | { readonly kind: 'closed' }

export type Register = (token: string, requestId: string) => Promise<Registration>

/** @returns a function that throws AwsUnavailable, EventStoreUnavailable and what Ledger.execute throws: come again */
export const createRegister =
  (deps: MarketplaceDeps, resolve: ResolveCustomer): Register =>
  async (token, requestId) => {
    const resolved = await resolve(token)
    switch (resolved.kind) {
      case 'party':
        return register(deps, resolved.party, requestId)
      case 'unexpected':
        deps.onAlarm(`A buyer could not register: ${resolved.reason}`, { requestId })
        return { kind: 'invalid' }
      default:
        return resolved
    }
  }

async function register(deps: MarketplaceDeps, party: Party, requestId: string): Promise<Registration> {
  const { licence } = party
  const messages = await messagesOf(deps.pool, licence)
  if (standingOf(messages).kind === 'ended') return { kind: 'nothing_bought' }
  const all = await deps.readEntitlements(party)
  const contract = contractOf(entitlementsOf(all, party))
  if (contract.kind === 'over') return { kind: 'nothing_bought' }
  if (contract.kind === 'unclear') {
    deps.onAlarm(`A buyer could not register: ${contract.reason}`, { licence: licenceIdentity(licence) })
    return { kind: 'undecided' }
  }
  const holder = (await holderOf(deps.store, licence)) ?? (await choose(deps, party, messages, all, requestId))
  if (holder === null) return { kind: 'undecided' }

  const { customerId } = holder
  const state = await stateOf(deps, customerId, requestId)
  if (state.deactivated) return { kind: 'closed' }
  if (state.customerId === '') await makeCustomer(deps, party, holder, contract, requestId)
  // Takes in what AWS said meanwhile, and finishes a change of licence.
  await settle(deps, party, requestId)
  return { kind: 'customer', customerId, plan: contract.plan }
}

/**
 * Reserves the licence: for the customer whose licence it continues, or for a new one. Null where a human must say.
 *
 * One AWS account may hold several agreements at a time. A licence that AWS says continues another, or that comes when
 * the account's only customer has nothing bought any more, is that customer's; beside licences that still run it is a
 * further purchase, and a customer of its own.
 */
async function choose(
  deps: MarketplaceDeps,
  party: Party,
  messages: readonly LifecycleMessage[],
  entitlements: readonly Entitlement[],
  requestId: string,
): Promise<Holder | null> {
  const { licence } = party
  const candidates = licence.kind === 'licence' ? await customersOfAccount(deps.pool, licence.awsAccountId) : []
  const without =
    continuesAnother(messages) === true ? candidates : await idle(deps, candidates, entitlements, requestId)
  if (without.length > 0 && candidates.length > 1) {
    await undecided(deps, party, candidates)
    return null
  }
  const customerId = without[0] ?? randomUUID()
  return reserve(deps, { licence, customerId, now: deps.clock.now(), origin: origin(requestId) })
}

/** Those of an account's customers whose own licence has ended, or of which AWS lists nothing any more. */
async function idle(
  deps: MarketplaceDeps,
  customerIds: readonly string[],
  entitlements: readonly Entitlement[],
  requestId: string,
): Promise<string[]> {
  const found: string[] = []
  for (const customerId of customerIds) {
    const { licence, ended } = await stateOf(deps, customerId, requestId)
    if (licence.kind !== 'licence') continue
    const own = entitlementsOf(entitlements, { productCode: '', licence })
    if (ended !== undefined || contractOf(own).kind === 'over') found.push(customerId)
  }
  return found
}

const maxTries = 4

/** Registers the customer; their keys are issued when the account is activated. */
async function makeCustomer(
  deps: MarketplaceDeps,
  { licence }: Party,
  { customerId, reservedAt }: Holder,
  { plan, monthlyLimit, termEnd }: Contract & { readonly kind: 'plan' },
  requestId: string,
): Promise<void> {
  const command = {
    type: 'RegisterCustomer',
    customerId,
    plan,
    monthlyLimit,
    hardCap: false,
    licence: { ...licence, termStart: reservedAt, ...(termEnd === undefined ? {} : { termEnd }) },
  } as const
  for (let tries = 1; ; tries++) {
    try {
      const executed = await deps.ledgers.execute(customerId, { command, origin: origin(requestId) })
      if (executed.kind === 'refused' && executed.refusal !== 'already_registered') throw new Error(executed.message)
      return
    } catch (error) {
      // An unknown outcome of a registration is repeated with the same id; nothing else is in that stream.
      if (!(error instanceof LedgerUnavailable) || tries === maxTries) throw error
    }
  }
}
