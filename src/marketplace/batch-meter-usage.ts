/**
 * The one place that sends usage to AWS Marketplace, and the one that reads its answers. Source of the rules: AWS
 * Marketplace Metering Service, BatchMeterUsage (the documentation of @aws-sdk/client-marketplace-metering).
 */
import type {
  BatchMeterUsageRequest,
  BatchMeterUsageResult,
  MarketplaceMeteringClient,
  UsageRecord,
  UsageRecordResult,
} from '@aws-sdk/client-marketplace-metering'
import type { Identity } from '../events/metering.ts'
import { meteringClient } from './aws.ts'

/** A sealed record, as far as AWS is told of it. */
export interface UsageToSend {
  readonly recordId: string
  readonly identity: Exclude<Identity, { kind: 'none' }>
  readonly dimension: string
  /** ISO 8601, whole seconds. */
  readonly timestamp: string
  /** From 0 to 2,147,483,647. */
  readonly quantity: number
}

/** What AWS said about one record. */
export type RecordAnswer =
  | { readonly kind: 'accepted'; readonly meteringRecordId: string }
  /** AWS holds another quantity for that hour. */
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'not_subscribed' }
  /** A transient fault of AWS; the record was not taken. */
  | { readonly kind: 'unprocessed' }
  /** AWS answered the call but not this record, or in words not known here: it may hold the record. */
  | { readonly kind: 'unanswered'; readonly detail: string }

/** What became of a call. Only after `server_error`, `no_answer` and `unanswered` may AWS hold what nobody knows of. */
export type CallOutcome =
  /** One answer for each record that was sent. */
  | { readonly kind: 'answered'; readonly answers: ReadonlyMap<string, RecordAnswer> }
  | { readonly kind: 'throttled' }
  | { readonly kind: 'server_error'; readonly detail: string }
  /** Time-out, lost connection, or an answer that cannot be read. */
  | { readonly kind: 'no_answer'; readonly detail: string }
  /** Nothing was taken, because of something in at least one record. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  /** The region does not offer the API. */
  | { readonly kind: 'disabled'; readonly message: string }
  /**
   * No credentials to be had (a role's may be missing for a while), or AWS does not accept them; a wrong address.
   * Nothing was taken, and no record is to blame.
   */
  | { readonly kind: 'misconfigured'; readonly code: string; readonly message: string }

/** Never throws. All usages of a call must be of one product (`batches` sees to it). */
export type BatchMeterUsage = (region: string, usages: readonly UsageToSend[]) => Promise<CallOutcome>

export function awsBatchMeterUsage(options: { readonly answerMs?: number } = {}): BatchMeterUsage {
  const clients = new Map<string, Promise<MarketplaceMeteringClient>>()
  return async (region, usages) => {
    const { BatchMeterUsageCommand, MarketplaceMeteringServiceException } = await import(
      '@aws-sdk/client-marketplace-metering'
    )
    const created = clients.get(region) ?? meteringClient(region, options)
    clients.set(region, created)
    const client = await created
    try {
      // Ahead of the call, so that a failure to get them is not taken for a call without an answer.
      await client.config.credentials()
      await client.config.region()
    } catch (error) {
      return { kind: 'misconfigured', ...described(error) }
    }
    try {
      const result = await client.send(new BatchMeterUsageCommand(requestOf(usages)))
      return { kind: 'answered', answers: answersOf(usages, result) }
    } catch (error) {
      return outcomeOfError(error, error instanceof MarketplaceMeteringServiceException)
    }
  }
}

/** The same usages give the same bytes, attempt for attempt: the members are written in this order. */
export function requestOf(usages: readonly UsageToSend[]): BatchMeterUsageRequest {
  const product = usages.map(({ identity }) => identity).find((identity) => identity.kind === 'product')
  return {
    UsageRecords: usages.map(recordOf),
    // "do NOT include ProductCode" with licences: sending both bills the hour twice.
    ...(product === undefined ? {} : { ProductCode: product.productCode }),
  }
}

function recordOf({ identity, dimension, timestamp, quantity }: UsageToSend): UsageRecord {
  const usage = { Timestamp: new Date(timestamp), Dimension: dimension, Quantity: quantity }
  if (identity.kind === 'licence') {
    return { ...usage, CustomerAWSAccountId: identity.awsAccountId, LicenseArn: identity.licenceArn }
  }
  const { awsAccountId, customerIdentifier } = identity
  // Mutually exclusive; the account is what AWS names first.
  if (awsAccountId !== undefined) return { ...usage, CustomerAWSAccountId: awsAccountId }
  return customerIdentifier === undefined ? usage : { ...usage, CustomerIdentifier: customerIdentifier }
}

/** AWS returns records without an id of ours, so they are found again by their content, each answer once. */
export function answersOf(
  usages: readonly UsageToSend[],
  { Results = [], UnprocessedRecords = [] }: BatchMeterUsageResult,
): ReadonlyMap<string, RecordAnswer> {
  const results = [...Results]
  const unprocessed = [...UnprocessedRecords]
  const takeOut = <T>(list: T[], matches: (one: T) => boolean): T | undefined => {
    const place = list.findIndex(matches)
    return place < 0 ? undefined : list.splice(place, 1)[0]
  }
  return new Map(
    usages.map((usage): [string, RecordAnswer] => {
      const sent = recordOf(usage)
      const result = takeOut(results, ({ UsageRecord }) => isSame(sent, UsageRecord))
      if (result !== undefined) return [usage.recordId, answerOf(result)]
      if (takeOut(unprocessed, (record) => isSame(sent, record)) !== undefined) {
        return [usage.recordId, { kind: 'unprocessed' }]
      }
      return [usage.recordId, { kind: 'unanswered', detail: 'neither in Results nor in UnprocessedRecords' }]
    }),
  )
}

/** Members that were not sent are not compared: AWS may add an account to a customer identifier. */
function isSame(sent: UsageRecord, returned: UsageRecord | undefined): boolean {
  return (
    returned !== undefined &&
    sent.Timestamp?.getTime() === returned.Timestamp?.getTime() &&
    sent.Dimension === returned.Dimension &&
    sent.Quantity === (returned.Quantity ?? 0) &&
    (['CustomerAWSAccountId', 'CustomerIdentifier', 'LicenseArn'] as const).every(
      (member) => sent[member] === undefined || sent[member] === returned[member],
    )
  )
}

/** "Being in Results" is no acceptance: the status decides. */
function answerOf({ Status, MeteringRecordId }: UsageRecordResult): RecordAnswer {
  switch (Status) {
    case 'Success':
      return MeteringRecordId === undefined
        ? { kind: 'unanswered', detail: 'Success without a MeteringRecordId' }
        : { kind: 'accepted', meteringRecordId: MeteringRecordId }
    case 'DuplicateRecord':
      return { kind: 'duplicate' }
    case 'CustomerNotSubscribed':
      return { kind: 'not_subscribed' }
    default:
      return { kind: 'unanswered', detail: `status ${Status}` }
  }
}

const described = (error: unknown): { readonly code: string; readonly message: string } =>
  error instanceof Error ? { code: error.name, message: error.message } : { code: 'Error', message: String(error) }

/** Whatever the SDK throws has the status of the answer in `$metadata`, if an answer came; even if it was no JSON. */
function outcomeOfError(error: unknown, isService: boolean): CallOutcome {
  const { code, message } = described(error)
  const { httpStatusCode: status } =
    (error as { readonly $metadata?: { readonly httpStatusCode?: number } }).$metadata ?? {}
  if (status === undefined) return { kind: 'no_answer', detail: `${code}: ${message}` }
  // `Unknown` is the SDK's word for an error that has no name.
  const isNamed = isService && code !== 'Unknown'
  return outcomeOfStatus(status, isNamed ? code : null, message)
}

/** @param code the exception AWS named; null when the answer is not the service's, such as a proxy's page */
export function outcomeOfStatus(status: number, code: string | null, message: string): CallOutcome {
  const name = code ?? `HTTP ${status}`
  if (status >= 500 || status === 408) return { kind: 'server_error', detail: `${name}: ${message}` }
  if (status < 300) return { kind: 'no_answer', detail: `unreadable answer: ${message}` }
  if (status === 429 || throttlings.has(name)) return { kind: 'throttled' }
  if (name === 'DisabledApiException') return { kind: 'disabled', message }
  if (status === 413) return { kind: 'refused', code: name, message }
  if (code === null || status === 401 || status === 403 || misconfigurations.has(code)) {
    return { kind: 'misconfigured', code: name, message }
  }
  return { kind: 'refused', code, message }
}

/** AWS General Reference, common errors: these are about calls too many, */
const throttlings = new Set(['ThrottlingException', 'Throttling', 'TooManyRequestsException', 'RequestLimitExceeded'])
/** and these about who calls, or where. */
const misconfigurations = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'ExpiredToken',
  'ExpiredTokenException',
  'IncompleteSignature',
  'IncompleteSignatureException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'MissingAuthenticationToken',
  'MissingAuthenticationTokenException',
  'NotAuthorized',
  'OptInRequired',
  'RequestExpired',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'UnknownOperationException',
  'UnrecognizedClientException',
])

const mostRecords = 25
/** "less than 1 MB": the smaller of the two readings, in bytes. */
const mostBytes = 1_000_000
/** {"UsageRecords":[],"ProductCode":"…"} without the code. */
const envelopeBytes = 64

/**
 * Groups records into calls: at most 25 and less than 1 MB, of one product and one region. Keeps their order within a
 * product and region. A record that is too big by itself gets a call of its own, for AWS to refuse.
 */
export function batches<T extends UsageToSend & { readonly region: string }>(records: readonly T[]): T[][] {
  const all: T[][] = []
  const open = new Map<string, { readonly batch: T[]; bytes: number }>()
  for (const record of records) {
    const product = record.identity.kind === 'product' ? record.identity.productCode : ''
    const key = JSON.stringify([record.region, record.identity.kind, product])
    // The time stands here in ISO 8601, which is longer than the seconds that are sent.
    const bytes = Buffer.byteLength(JSON.stringify(recordOf(record))) + 1
    const current = open.get(key)
    if (current !== undefined && current.batch.length < mostRecords && current.bytes + bytes < mostBytes) {
      current.batch.push(record)
      current.bytes += bytes
    } else {
      const batch = [record]
      all.push(batch)
      open.set(key, { batch, bytes: envelopeBytes + Buffer.byteLength(product) + bytes })
    }
  }
  return all
}
