/** What the stand-in for AWS Marketplace knows, and the words it is told in. */
import { z } from 'zod'

/** The request as the SDK sends it (JSON 1.1). Timestamps are seconds since 1970; ranges are judged by the rules. */
export const usageRecord = z.object({
  Timestamp: z.number(),
  Dimension: z.string(),
  Quantity: z.number().optional(),
  CustomerIdentifier: z.string().optional(),
  CustomerAWSAccountId: z.string().optional(),
  LicenseArn: z.string().optional(),
  UsageAllocations: z
    .array(
      z.object({
        AllocatedUsageQuantity: z.number(),
        Tags: z.array(z.object({ Key: z.string(), Value: z.string() })).optional(),
      }),
    )
    .optional(),
})
export const batchMeterUsageRequest = z.object({
  UsageRecords: z.array(usageRecord),
  ProductCode: z.string().optional(),
})
export type UsageRecord = z.infer<typeof usageRecord>
export type BatchMeterUsageRequest = z.infer<typeof batchMeterUsageRequest>

/** A buyer's agreement for a product. All times are milliseconds since 1970. */
export interface Subscription {
  readonly id: string
  readonly productCode: string
  readonly awsAccountId: string
  /** Null: a legacy product without licences. */
  readonly licenceArn: string | null
  /** Null for products listed since June 2026. Both this and a licence: a legacy customer who may move to the licence. */
  readonly customerIdentifier: string | null
  readonly startsAt: number
  /** When AWS announced the end; from then on the last hour runs. */
  readonly endedAt: number | null
  readonly suspended: boolean
}

/** What a test must say of one; the rest is filled in by the stand-in. */
export const newSubscription = z.object({
  awsAccountId: z.string(),
  /** Default: the only product. */
  productCode: z.string().optional(),
  id: z.string().optional(),
  /** Default: a licence of its own. */
  licenceArn: z.string().nullable().optional(),
  customerIdentifier: z.string().nullable().optional(),
  /** Default: 1970. */
  startsAt: z.int().optional(),
})
export type NewSubscription = z.infer<typeof newSubscription>

/** A quantity on the buyer's bill. */
export interface BilledUsage {
  readonly region: string
  readonly subscriptionId: string
  /** What names the buyer in the record: it is part of what AWS removes duplicates by. */
  readonly by: 'licence' | 'product'
  readonly dimension: string
  /** Start of the UTC hour, ISO 8601. */
  readonly hour: string
  readonly quantity: number
  readonly meteringRecordId: string
  /** Milliseconds since 1970, as is acceptedAt. */
  readonly timestamp: number
  readonly acceptedAt: number
}

export interface AwsState {
  /** The window was 6 hours in older SDKs, so it is a setting here too. */
  readonly limits: { readonly windowHours: number; readonly monthCloseHour: number; readonly callsPerSecond: number }
  /** Dimensions by product code. */
  readonly products: ReadonlyMap<string, readonly string[]>
  readonly subscriptions: readonly Subscription[]
  readonly disabledRegions: readonly string[]
  /** By what AWS removes duplicates by, see `billingKeys`. */
  readonly billed: ReadonlyMap<string, BilledUsage>
  /** Times of the calls of the last second, by operation and region. */
  readonly recentCalls: ReadonlyMap<string, readonly number[]>
}

export const emptyAws: AwsState = {
  limits: { windowHours: 24, monthCloseHour: 6, callsPerSecond: 10 },
  products: new Map(),
  subscriptions: [],
  disabledRegions: [],
  billed: new Map(),
  recentCalls: new Map(),
}

/** The agreement a record names. Licences name one; ProductCode and a customer name the legacy way. */
export function subscriptionOf(
  state: AwsState,
  productCode: string | undefined,
  record: UsageRecord,
): Subscription | undefined {
  if (record.LicenseArn !== undefined) return state.subscriptions.find((one) => one.licenceArn === record.LicenseArn)
  return state.subscriptions.find(
    (one) =>
      one.productCode === productCode &&
      (one.customerIdentifier !== null || one.licenceArn === null) &&
      (record.CustomerIdentifier === undefined
        ? one.awsAccountId === record.CustomerAWSAccountId
        : one.customerIdentifier === record.CustomerIdentifier),
  )
}
