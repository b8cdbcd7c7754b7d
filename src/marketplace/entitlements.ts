/** What a buyer is entitled to, as AWS tells it, and which plan that is. */
import type { Entitlement, MarketplaceEntitlementServiceClient } from '@aws-sdk/client-marketplace-entitlement-service'
import { isUpgrade, planOfDimension } from '../commands/plans.ts'
import type { PlanName } from '../events/catalogue.ts'
import { asked } from './aws-calls.ts'
import type { Party } from './party.ts'

export type { Entitlement }

/**
 * Everything a buyer is entitled to of the product: with licences, those of all licences of the AWS account.
 * @throws AwsUnavailable
 */
export type ReadEntitlements = (party: Party) => Promise<readonly Entitlement[]>

/** @param createClient called with the first party */
export function awsEntitlements(createClient: () => Promise<MarketplaceEntitlementServiceClient>): ReadEntitlements {
  let created: Promise<MarketplaceEntitlementServiceClient> | undefined
  return async ({ productCode, licence }) => {
    created ??= createClient()
    const client = await created
    const { GetEntitlementsCommand } = await import('@aws-sdk/client-marketplace-entitlement-service')
    const filter =
      licence.kind === 'product' && licence.customerIdentifier !== undefined
        ? { CUSTOMER_IDENTIFIER: [licence.customerIdentifier] }
        : { CUSTOMER_AWS_ACCOUNT_ID: licence.awsAccountId === undefined ? [] : [licence.awsAccountId] }
    const found: Entitlement[] = []
    let token: string | undefined
    do {
      const page = await asked(
        'GetEntitlements',
        client.send(new GetEntitlementsCommand({ ProductCode: productCode, Filter: filter, NextToken: token })),
      )
      found.push(...(page.Entitlements ?? []))
      token = page.NextToken // an empty page may have one too
    } while (token !== undefined && token !== '')
    return found
  }
}

/** Those of one licence; a legacy subscription has no licences to tell apart. */
export function entitlementsOf(all: readonly Entitlement[], { licence }: Party): readonly Entitlement[] {
  return licence.kind === 'licence' ? all.filter((one) => one.LicenseArn === licence.licenceArn) : all
}

export type Contract =
  | {
      readonly kind: 'plan'
      readonly plan: PlanName
      /** Calls a month under an individual contract; absent: the plan's own. */
      readonly monthlyLimit?: number
      /** Renewal or end of the contract, ISO 8601 UTC; absent where there is none. */
      readonly termEnd?: string
    }
  /** Nothing is bought (any more). */
  | { readonly kind: 'over' }
  /** Somebody must look: the listing and this program's catalogue of plans do not agree. */
  | { readonly kind: 'unclear'; readonly reason: string }

/** The smallest monthly limit that is believed; below it, a value looks like a number of units. */
const smallestLimit = 100

/**
 * What is bought, by the entitlements of one licence. The dimension is the plan's name. Value 1 (or true, or "Enabled")
 * is the plan as listed; a larger one is the number of calls a month agreed in a private offer. Of several plans the
 * largest counts: AWS lists the old one and the new one side by side while an upgrade takes effect.
 */
export function contractOf(entitlements: readonly Entitlement[]): Contract {
  let best: (Contract & { kind: 'plan' }) | undefined
  const unknown: string[] = []
  for (const { Dimension = '', Value, ExpirationDate } of entitlements) {
    const amount = amountOf(Value)
    if (amount === 0) continue
    const plan = planOfDimension(Dimension)
    if (plan === undefined) {
      unknown.push(Dimension)
      continue
    }
    if (!Number.isSafeInteger(amount) || (amount !== 1 && amount < smallestLimit)) {
      return { kind: 'unclear', reason: `${JSON.stringify(Value)} of dimension ${Dimension} is no monthly limit` }
    }
    if (best !== undefined && !isUpgrade(best.plan, plan)) continue
    best = {
      kind: 'plan',
      plan,
      ...(amount === 1 ? {} : { monthlyLimit: amount }),
      ...termEndOf(ExpirationDate),
    }
  }
  if (best !== undefined) return best
  if (unknown.length > 0) return { kind: 'unclear', reason: `no plan is called ${unknown.join(' or ')}` }
  return { kind: 'over' }
}

function amountOf(value: Entitlement['Value']): number {
  const { IntegerValue, DoubleValue, BooleanValue, StringValue } = value ?? {}
  if (IntegerValue !== undefined) return IntegerValue
  if (DoubleValue !== undefined) return DoubleValue
  if (BooleanValue !== undefined) return BooleanValue ? 1 : 0
  return StringValue === undefined || StringValue === 'Enabled' ? 1 : Number(StringValue)
}

/** AWS writes the year 9999 where a subscription has no end. */
function termEndOf(expiration: Date | undefined): { readonly termEnd?: string } {
  if (expiration === undefined || expiration.getUTCFullYear() >= 9999) return {}
  return { termEnd: expiration.toISOString() }
}
