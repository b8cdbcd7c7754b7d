/** The Marketplace side of the program: what a buyer's registration and AWS's messages stand on. */

import type { Logger } from 'pino'
import type { SecretsKeys } from '../accounts/seal.ts'
import type { Config } from '../config.ts'
import type { MarketplaceDependencies } from '../http/marketplace.tsx'
import { type Mail, MailFailed } from '../mail/mail.ts'
import { marketplaceDeps, marketplaceRegister } from '../marketplace/assemble.ts'
import { createBuyerAccounts } from '../marketplace/buyer-account.ts'
import type { MarketplaceDeps } from '../marketplace/settle.ts'
import { isTransient } from '../marketplace/transient.ts'
import { version } from '../version.ts'
import { publicUrlOf } from './console.ts'
import type { System } from './system.ts'

export const openMarketplace = ({ pool, store, ledgers, clock }: System, log: Logger): MarketplaceDeps =>
  marketplaceDeps({
    pool,
    store,
    ledgers,
    clock,
    onAlarm: (message, fields) => log.error({ ...fields, alarm: 'marketplace' }, message),
  })

export interface LandingParts {
  readonly config: Config
  readonly system: System
  readonly marketplace: MarketplaceDeps
  readonly mail: Mail
  readonly secretsKeys: SecretsKeys
}

/** For the page to which AWS Marketplace sends its buyers. */
export function marketplacePages(parts: LandingParts): MarketplaceDependencies {
  const { config, system, marketplace, mail, secretsKeys } = parts
  const { MARKETPLACE_REGION: region, MARKETPLACE_PRODUCT_CODE: legacyProductCode } = config
  return {
    version,
    secretsKeys,
    register: marketplaceRegister(marketplace, { region, legacyProductCode }),
    ...createBuyerAccounts({ pool: system.pool, mail, publicUrl: publicUrlOf(config) }),
    isUnavailable: (error) => isTransient(error) || error instanceof MailFailed,
  }
}
