/** ResolveCustomer and GetEntitlements as AWS Marketplace answers them. Pure; sources as in rules.ts. */
import { z } from 'zod'
import type { Refusal } from './poison.ts'
import type { Subscription } from './state.ts'

/** What a buyer's browser brings as x-amzn-marketplace-token. */
export interface RegistrationToken {
  readonly token: string
  readonly subscriptionId: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  readonly usesLeft: number
}
export const newToken = z.object({
  token: z.string(),
  subscriptionId: z.string(),
  /** Default: in four hours. */
  expiresAt: z.int().optional(),
  /** Default: 1. */
  usesLeft: z.int().optional(),
})
export const resolveCustomerRequest = z.object({ RegistrationToken: z.string() })

export interface ResolveCustomerResult {
  readonly ProductCode: string
  readonly CustomerAWSAccountId: string
  readonly LicenseArn?: string
  readonly CustomerIdentifier?: string
}
interface Resolved {
  readonly tokens: readonly RegistrationToken[]
  readonly answer: { readonly kind: 'answered'; readonly result: ResolveCustomerResult } | Refusal
}

export function resolveCustomer(
  tokens: readonly RegistrationToken[],
  subscriptions: readonly Subscription[],
  token: string,
  now: number,
): Resolved {
  const found = tokens.find((one) => one.token === token)
  const subscription = subscriptions.find((one) => one.id === found?.subscriptionId)
  // [sdk] InvalidTokenException: "Registration token is invalid."
  if (found === undefined || subscription === undefined) {
    return {
      tokens,
      answer: { kind: 'exception', name: 'InvalidTokenException', message: 'Registration token is invalid.' },
    }
  }
  // [sdk] ExpiredTokenException: "if the buyer's browser takes too long to redirect to your page, the buyer has
  // resubmitted the registration token, or your application has held on to the registration token for too long".
  if (now >= found.expiresAt || found.usesLeft < 1) {
    return {
      tokens,
      answer: { kind: 'exception', name: 'ExpiredTokenException', message: 'The registration token has expired.' },
    }
  }
  const { productCode, awsAccountId, licenceArn, customerIdentifier } = subscription
  return {
    tokens: tokens.map((one) => (one === found ? { ...found, usesLeft: found.usesLeft - 1 } : one)),
    answer: {
      kind: 'answered',
      result: {
        ProductCode: productCode,
        CustomerAWSAccountId: awsAccountId,
        ...(licenceArn === null ? {} : { LicenseArn: licenceArn }),
        // [sdk] "For new SaaS product integrations, the CustomerIdentifier field is not populated"
        ...(customerIdentifier === null ? {} : { CustomerIdentifier: customerIdentifier }),
      },
    },
  }
}

/** As in the answer's JSON; ExpirationDate in seconds since 1970. */
export const entitlement = z.object({
  ProductCode: z.string(),
  Dimension: z.string(),
  CustomerAWSAccountId: z.string(),
  CustomerIdentifier: z.string().optional(),
  LicenseArn: z.string().optional(),
  Value: z.object({
    IntegerValue: z.int().optional(),
    DoubleValue: z.number().optional(),
    BooleanValue: z.boolean().optional(),
    StringValue: z.string().optional(),
  }),
  ExpirationDate: z.number().optional(),
})
export type Entitlement = z.infer<typeof entitlement>

const fieldOf = {
  CUSTOMER_AWS_ACCOUNT_ID: 'CustomerAWSAccountId',
  CUSTOMER_IDENTIFIER: 'CustomerIdentifier',
  LICENSE_ARN: 'LicenseArn',
  DIMENSION: 'Dimension',
} as const

export const getEntitlementsRequest = z.object({
  ProductCode: z.string(),
  Filter: z
    .partialRecord(
      z.enum(['CUSTOMER_AWS_ACCOUNT_ID', 'CUSTOMER_IDENTIFIER', 'LICENSE_ARN', 'DIMENSION']),
      z.array(z.string()),
    )
    .optional(),
  NextToken: z.string().optional(),
  MaxResults: z.int().optional(),
})

export interface GetEntitlementsResult {
  readonly Entitlements: readonly Entitlement[]
  readonly NextToken?: string
}

/**
 * [sdk] "Filtered requests are unioned for each value in the value list, and then intersected for each filter key", and
 * a page may be empty although there is a NextToken: here pages are cut before they are filtered, so that this happens
 * whenever a product has more customers than fit a page.
 */
export function getEntitlements(
  all: readonly Entitlement[],
  { ProductCode, Filter = {}, NextToken, MaxResults = 25 }: z.infer<typeof getEntitlementsRequest>,
  now: number,
): { readonly kind: 'answered'; readonly result: GetEntitlementsResult } | Refusal {
  const invalid = (message: string): Refusal => ({ kind: 'exception', name: 'InvalidParameterException', message })
  if (MaxResults < 1 || MaxResults > 25) return invalid('MaxResults: 1 to 25.')
  // [sdk] "CustomerIdentifier and CustomerAWSAccountId are mutually exclusive parameters."
  if (Filter.CUSTOMER_IDENTIFIER !== undefined && Filter.CUSTOMER_AWS_ACCOUNT_ID !== undefined) {
    return invalid('CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID are mutually exclusive.')
  }
  const from = NextToken === undefined ? 0 : Number(/^from-(\d+)$/.exec(NextToken)?.[1])
  if (Number.isNaN(from)) return invalid('NextToken is invalid.')

  const ofProduct = all.filter(
    (one) => one.ProductCode === ProductCode && (one.ExpirationDate === undefined || one.ExpirationDate * 1000 > now),
  )
  const keys = Object.keys(fieldOf) as (keyof typeof fieldOf)[]
  const Entitlements = ofProduct
    .slice(from, from + MaxResults)
    .filter((one) => keys.every((key) => Filter[key]?.includes(one[fieldOf[key]] ?? '') ?? true))
  const next = from + MaxResults
  return {
    kind: 'answered',
    result: { Entitlements, ...(next < ofProduct.length ? { NextToken: `from-${next}` } : {}) },
  }
}
