/** Whom AWS Marketplace means: a licence, or for listings older than June 2026 a customer of a product. */
import type { Licence } from '../events/catalogue.ts'
import type { Said } from './lifecycle.ts'

export type MarketplaceLicence = Exclude<Licence, { kind: 'none' }>

export interface Party {
  /** Every question about entitlements names the product, also where the licence does not. */
  readonly productCode: string
  /** Without its term. */
  readonly licence: MarketplaceLicence
}

/** Whom a message means; undefined where it names an agreement only. */
export function partyOf(said: Said): Party | undefined {
  switch (said.kind) {
    case 'licence-updated':
    case 'licence-deprovisioned': {
      const { awsAccountId, licenceArn, productCode } = said
      return { productCode, licence: { kind: 'licence', awsAccountId, licenceArn } }
    }
    case 'agreement-created':
    case 'agreement-amended':
    case 'agreement-ended':
    case 'unknown':
      return undefined
    default: {
      const { productCode, customerIdentifier } = said
      return { productCode, licence: { kind: 'product', productCode, customerIdentifier } }
    }
  }
}
