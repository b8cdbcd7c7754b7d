/** Registration token → whom AWS sent. A token is resolved by AWS for a short while, and remembered here as a hash. */
import { createHash } from 'node:crypto'
import type { MarketplaceMeteringClient, ResolveCustomerResult } from '@aws-sdk/client-marketplace-metering'
import type pg from 'pg'
import { asked } from './aws-calls.ts'
import type { MarketplaceLicence, Party } from './party.ts'

export type Resolved =
  | { readonly kind: 'party'; readonly party: Party }
  | { readonly kind: 'invalid' }
  /** Too old, or resolved before: AWS does not tell which. */
  | { readonly kind: 'expired' }
  /** The answer is not what the listing promises: the token is another product's, or the settings are wrong. */
  | { readonly kind: 'unexpected'; readonly reason: string }

/** @throws AwsUnavailable */
export type ResolveCustomer = (token: string) => Promise<Resolved>

/**
 * `legacyProductCode`: MARKETPLACE_PRODUCT_CODE. With it the listing knows its buyers by product and customer, without
 * it by licence; never both, for AWS bills an hour that is reported both ways twice.
 */
export function awsResolveCustomer(
  createClient: () => Promise<MarketplaceMeteringClient>,
  legacyProductCode: string | undefined,
): ResolveCustomer {
  let created: Promise<MarketplaceMeteringClient> | undefined
  return async (token) => {
    created ??= createClient()
    const client = await created
    const { ExpiredTokenException, InvalidTokenException, ResolveCustomerCommand } = await import(
      '@aws-sdk/client-marketplace-metering'
    )
    try {
      const known = (name: string) => name === 'InvalidTokenException' || name === 'ExpiredTokenException'
      const answer = await asked(
        'ResolveCustomer',
        client.send(new ResolveCustomerCommand({ RegistrationToken: token })),
        known,
      )
      return partyIn(answer, legacyProductCode)
    } catch (error) {
      if (error instanceof InvalidTokenException) return { kind: 'invalid' }
      if (error instanceof ExpiredTokenException) return { kind: 'expired' }
      throw error
    }
  }
}

function partyIn(answer: ResolveCustomerResult, legacyProductCode: string | undefined): Resolved {
  const { ProductCode: productCode, CustomerAWSAccountId: awsAccountId, LicenseArn, CustomerIdentifier } = answer
  if (!productCode) return { kind: 'unexpected', reason: 'the answer names no product' }
  if (legacyProductCode === undefined) {
    if (!LicenseArn || !awsAccountId) {
      return { kind: 'unexpected', reason: `product ${productCode} has no licences: set MARKETPLACE_PRODUCT_CODE` }
    }
    return { kind: 'party', party: { productCode, licence: { kind: 'licence', awsAccountId, licenceArn: LicenseArn } } }
  }
  if (productCode !== legacyProductCode) {
    return { kind: 'unexpected', reason: `the token is of product ${productCode}, not of ${legacyProductCode}` }
  }
  // The identifier where there is one: the messages of these listings know nothing else.
  if (CustomerIdentifier) {
    return {
      kind: 'party',
      party: { productCode, licence: { kind: 'product', productCode, customerIdentifier: CustomerIdentifier } },
    }
  }
  if (!awsAccountId) return { kind: 'unexpected', reason: 'the answer names no customer' }
  return { kind: 'party', party: { productCode, licence: { kind: 'product', productCode, awsAccountId } } }
}

/** How long a token is good here once AWS has resolved it: for a reload, and to finish what a crash left unfinished. */
const rememberedFor = '1 hour'

/** Resolves each token once and remembers the outcome, so that a reload finds it though AWS gives it only once. */
export const rememberingResolve =
  (pool: pg.Pool, resolve: ResolveCustomer): ResolveCustomer =>
  async (token) => {
    const hash = createHash('sha256').update(token).digest('hex')
    const { rows } = await pool.query<{ licence: MarketplaceLicence; product_code: string; fresh: boolean }>(
      `select licence, product_code, resolved_at > clock_timestamp() - $2::interval as fresh
       from marketplace_tokens where token_hash = $1`,
      [hash, rememberedFor],
    )
    const [known] = rows
    if (known !== undefined) {
      if (!known.fresh) return { kind: 'expired' }
      return { kind: 'party', party: { productCode: known.product_code, licence: known.licence } }
    }
    const resolved = await resolve(token)
    if (resolved.kind === 'party') {
      const { productCode, licence } = resolved.party
      await pool.query(
        `insert into marketplace_tokens (token_hash, licence, product_code) values ($1, $2, $3)
         on conflict (token_hash) do nothing`,
        [hash, licence, productCode],
      )
    }
    return resolved
  }
