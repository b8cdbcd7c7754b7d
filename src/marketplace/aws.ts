/**
 * Clients of AWS. Addresses and credentials come from where every AWS program takes them (AWS_ENDPOINT_URL_…,
 * AWS_ACCESS_KEY_ID, AWS_PROFILE, the role of the machine): there is no setting of ours for either.
 *
 * The SDK is loaded with the first call to AWS: a start, and an installation that sells nothing there, do without it.
 */
import type { MarketplaceEntitlementServiceClient } from '@aws-sdk/client-marketplace-entitlement-service'
import type { MarketplaceMeteringClient } from '@aws-sdk/client-marketplace-metering'
import type { SQSClient } from '@aws-sdk/client-sqs'

// Node 20 is what this product runs on; the SDK would say at every start which Node its later versions will need.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'

/** Milliseconds. */
const connectionTimeout = 3_000
/** Milliseconds from sending a call to the head of its answer, and without a byte after that. */
const answerTimeout = 10_000
/** The longest a queue may keep a call open while it waits for a message (SQS's own limit), in seconds. */
export const longestPollSeconds = 20

/**
 * One attempt a call: whoever calls decides on a retry, because each attempt to bill somebody is recorded first.
 * A connection for each call: one kept open may have been closed by AWS in the meantime, which looks like a lost answer
 * and would put a record in doubt for nothing. Calls are few.
 */
const oneAttempt = (answerMs: number) => ({
  maxAttempts: 1,
  retryMode: 'standard',
  requestHandler: {
    connectionTimeout,
    requestTimeout: answerMs,
    throwOnRequestTimeout: true, // without it the time-out is a warning and nothing else
    socketTimeout: answerMs,
    httpsAgent: { keepAlive: false },
    httpAgent: { keepAlive: false },
  },
})

export async function meteringClient(
  region: string,
  { answerMs = answerTimeout } = {},
): Promise<MarketplaceMeteringClient> {
  const { MarketplaceMeteringClient } = await import('@aws-sdk/client-marketplace-metering')
  return new MarketplaceMeteringClient({ region, ...oneAttempt(answerMs) })
}

/** AWS offers entitlements in us-east-1 only, wherever the metering goes. */
export async function entitlementClient(): Promise<MarketplaceEntitlementServiceClient> {
  const { MarketplaceEntitlementServiceClient } = await import('@aws-sdk/client-marketplace-entitlement-service')
  return new MarketplaceEntitlementServiceClient({ region: 'us-east-1', ...oneAttempt(answerTimeout) })
}

/** For that queue, in the region its address names, else in `region`: AWS sends marketplace events in us-east-1 only. */
export async function queueClient(queueUrl: string, region: string): Promise<SQSClient> {
  const { SQSClient } = await import('@aws-sdk/client-sqs')
  return new SQSClient({
    region: queueRegion(queueUrl) ?? region,
    ...oneAttempt(longestPollSeconds * 1_000 + answerTimeout),
    // Else the queue's address would override AWS_ENDPOINT_URL_SQS.
    useQueueUrlAsEndpoint: false,
  })
}

/** https://sqs.us-east-1.amazonaws.com/… → us-east-1; null for other addresses. */
const queueRegion = (queueUrl: string): string | null =>
  /^https:\/\/sqs\.([a-z0-9-]+)\.amazonaws\.com/.exec(queueUrl)?.[1] ?? null
