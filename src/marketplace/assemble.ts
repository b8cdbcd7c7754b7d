/** Puts the Marketplace side together with AWS's real clients. */
import { defaultPatience } from '../commands/attempt.ts'
import { entitlementClient, meteringClient } from './aws.ts'
import { awsEntitlements } from './entitlements.ts'
import { createRegister, type Register } from './registration.ts'
import { awsResolveCustomer, rememberingResolve } from './resolve-customer.ts'
import type { MarketplaceDeps } from './settle.ts'

type Given = Pick<MarketplaceDeps, 'pool' | 'store' | 'ledgers' | 'clock' | 'onAlarm'>

export const marketplaceDeps = ({ pool, store, ledgers, clock, onAlarm }: Given): MarketplaceDeps => ({
  pool,
  store,
  ledgers,
  clock,
  onAlarm,
  patience: defaultPatience,
  readEntitlements: awsEntitlements(entitlementClient),
})

export interface Listing {
  /** MARKETPLACE_REGION. */
  readonly region: string
  /** MARKETPLACE_PRODUCT_CODE: of a listing older than June 2026. */
  readonly legacyProductCode: string | undefined
}

export function marketplaceRegister(deps: MarketplaceDeps, { region, legacyProductCode }: Listing): Register {
  return createRegister(
    deps,
    rememberingResolve(
      deps.pool,
      awsResolveCustomer(() => meteringClient(region), legacyProductCode),
    ),
  )
}
