/**
 * What AWS Marketplace's metering service does with a BatchMeterUsage call, as a pure function: state + request + now →
 * new state + answer. No clock, no chance, no input or output, so that the deterministic simulation can use it too.
 *
 * Each rule quotes its source: [sdk] is the documentation in @aws-sdk/client-marketplace-metering 3.1138.0, [guide] the
 * AWS Marketplace seller guide. Where AWS says nothing, the stricter reading is taken and called an assumption.
 */
import { poisonOf, type Refusal } from './poison.ts'
import {
  type AwsState,
  type BatchMeterUsageRequest,
  type BilledUsage,
  type Subscription,
  subscriptionOf,
  type UsageRecord,
} from './state.ts'

export interface Call {
  /** Milliseconds since 1970. */
  readonly now: number
  readonly region: string
  /** Length of the request's body. */
  readonly bytes: number
  /** Records to hand back as UnprocessedRecords, a transient fault; by their place in the request. */
  readonly unprocessed?: (index: number) => boolean
}

export interface UsageRecordResult {
  readonly UsageRecord: UsageRecord
  readonly Status: 'Success' | 'CustomerNotSubscribed' | 'DuplicateRecord'
  readonly MeteringRecordId?: string
}
export interface BatchMeterUsageResult {
  readonly Results: readonly UsageRecordResult[]
  readonly UnprocessedRecords: readonly UsageRecord[]
}
export interface Answered<T> {
  readonly state: AwsState
  readonly answer: { readonly kind: 'answered'; readonly result: T } | Refusal
}

const hourMs = 3_600_000

export function batchMeterUsage(
  before: AwsState,
  request: BatchMeterUsageRequest,
  call: Call,
): Answered<BatchMeterUsageResult> {
  const { throttled, state } = throttle(before, 'BatchMeterUsage', call, before.limits.callsPerSecond)
  if (throttled !== null) return { state, answer: throttled }
  const refusal = refusalOf(state, request, call)
  if (refusal !== null) return { state, answer: refusal }

  const billed = new Map(state.billed)
  const Results: UsageRecordResult[] = []
  const UnprocessedRecords: UsageRecord[] = []
  for (const [index, record] of request.UsageRecords.entries()) {
    if (call.unprocessed?.(index)) UnprocessedRecords.push(record)
    else Results.push({ UsageRecord: record, ...bill(state, billed, request.ProductCode, record, call) })
  }
  return { state: { ...state, billed }, answer: { kind: 'answered', result: { Results, UnprocessedRecords } } }
}

/** Why the whole call is refused; null when each record gets an answer of its own. */
function refusalOf(state: AwsState, request: BatchMeterUsageRequest, call: Call): Refusal | null {
  const refuse = (name: string, message: string): Refusal => ({ kind: 'exception', name, message })
  // [sdk] DisabledApiException: "The API is disabled in the Region."
  if (state.disabledRegions.includes(call.region)) {
    return refuse('DisabledApiException', `The API is disabled in ${call.region}.`)
  }
  // [sdk] "can process up to 25 UsageRecords at a time, and each request must be less than 1 MB in size". The name of
  // the exception, and 1,000,000 rather than 1,048,576 bytes, are assumptions.
  if (request.UsageRecords.length > 25) return refuse('ValidationException', 'UsageRecords: at most 25 items.')
  if (call.bytes >= 1_000_000) return refuse('ValidationException', 'The request must be smaller than 1 MB.')
  if (request.ProductCode !== undefined && !state.products.has(request.ProductCode)) {
    return refuse('InvalidProductCodeException', `No product has the code ${request.ProductCode}.`)
  }
  for (const record of request.UsageRecords) {
    const poison = poisonOf(state, request.ProductCode, record, call.now)
    if (poison !== null) return poison
  }
  // [sdk] "Each BatchMeterUsage request is for only one product."
  const products = new Set(
    request.UsageRecords.map((record) => subscriptionOf(state, request.ProductCode, record)?.productCode),
  )
  products.delete(undefined)
  if (products.size > 1) return refuse('InvalidProductCodeException', 'The records are of more than one product.')
  return null
}

/** Adds what the record says to `billed` and tells its status. */
function bill(
  state: AwsState,
  billed: Map<string, BilledUsage>,
  productCode: string | undefined,
  record: UsageRecord,
  { now, region }: Call,
): Omit<UsageRecordResult, 'UsageRecord'> {
  const subscription = subscriptionOf(state, productCode, record)
  // [sdk] CustomerNotSubscribed: "The customer identifier is invalid", "does not have an active agreement or
  // subscription with this product", "The customer's Amazon Web Services account was suspended."
  // [guide] after an end there is about one hour for the last records.
  if (
    subscription === undefined ||
    subscription.suspended ||
    (subscription.endedAt !== null && now >= subscription.endedAt + hourMs)
  ) {
    return { Status: 'CustomerNotSubscribed' }
  }

  // [sdk] "Multiple requests with the same UsageRecords as input will be de-duplicated"; DuplicateRecord: "A previously
  // metered UsageRecord had the same customer, dimension, and time, but a different quantity." [guide] "de-duplicated
  // on the hour". Per region: AWS's agent toolkit.
  const quantity = record.Quantity ?? 0
  const keys = billingKeys(subscription, productCode, record, region)
  if (keys.some(({ key }) => (billed.get(key)?.quantity ?? quantity) !== quantity)) return { Status: 'DuplicateRecord' }
  for (const { key, by } of keys) {
    if (billed.has(key)) continue
    billed.set(key, {
      region,
      subscriptionId: subscription.id,
      by,
      dimension: record.Dimension,
      hour: hourOf(record),
      quantity,
      meteringRecordId: `00000000-0000-4000-8000-${String(billed.size + 1).padStart(12, '0')}`,
      timestamp: record.Timestamp * 1000,
      acceptedAt: now,
    })
  }
  const MeteringRecordId = billed.get(keys[0]?.key ?? '')?.meteringRecordId
  return { Status: 'Success', ...(MeteringRecordId === undefined ? {} : { MeteringRecordId }) }
}

/**
 * [sdk] "Sending metering records with both ProductCode and LicenseArn for the same customer within the same hour will
 * result in duplicate billing": each way of naming the customer is a key of its own, and a request that has both bills
 * both.
 */
function billingKeys(
  { licenceArn, awsAccountId, productCode }: Subscription,
  requestProductCode: string | undefined,
  record: UsageRecord,
  region: string,
): { readonly key: string; readonly by: 'licence' | 'product' }[] {
  const rest = [awsAccountId, record.Dimension, hourOf(record), region].join('|')
  const byLicence = { key: `licence|${licenceArn}|${rest}`, by: 'licence' } as const
  const byProduct = { key: `product|${productCode}|${rest}`, by: 'product' } as const
  if (record.LicenseArn === undefined) return [byProduct]
  return requestProductCode === undefined ? [byLicence] : [byLicence, byProduct]
}

const hourOf = ({ Timestamp }: UsageRecord): string =>
  new Date(Math.floor((Timestamp * 1000) / hourMs) * hourMs).toISOString()

/** AWS documentation on quotas: BatchMeterUsage 10, GetEntitlements 20 calls a second and region. Refused calls are free. */
export function throttle(
  state: AwsState,
  operation: string,
  { now, region }: Pick<Call, 'now' | 'region'>,
  perSecond: number,
): { readonly throttled: Refusal | null; readonly state: AwsState } {
  const key = `${operation}|${region}`
  const recent = (state.recentCalls.get(key) ?? []).filter((at) => at <= now && now - at < 1000)
  if (recent.length >= perSecond) {
    return { throttled: { kind: 'exception', name: 'ThrottlingException', message: 'Rate exceeded' }, state }
  }
  return {
    throttled: null,
    state: { ...state, recentCalls: new Map(state.recentCalls).set(key, [...recent, now]) },
  }
}

/** Hours a buyer pays more than once: named by licence and by product, or sent in two regions. Must stay empty. */
export function billedTwice(state: AwsState): BilledUsage[][] {
  const byHour = new Map<string, BilledUsage[]>()
  for (const one of state.billed.values()) {
    const key = [one.subscriptionId, one.dimension, one.hour].join('|')
    byHour.set(key, [...(byHour.get(key) ?? []), one])
  }
  return [...byHour.values()].filter((same) => same.length > 1)
}
