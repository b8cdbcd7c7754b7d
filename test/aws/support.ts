import { BatchMeterUsageCommand, type UsageRecord } from '@aws-sdk/client-marketplace-metering'
import { onTestFinished, vi } from 'vitest'
import { meteringClient } from '../../src/marketplace/aws.ts'
import { startAwsStandIn } from './stand-in.ts'
import type { NewSubscription } from './state.ts'

export const productCode = 'product-liveness'
export const dimension = 'overage_basic'

/** A stand-in with one product, on a clock that stands still until it is set, and the environment that leads to it. */
export async function givenAws(time: string) {
  let at = Date.parse(time)
  const aws = await startAwsStandIn({ now: () => at })
  for (const [name, value] of Object.entries(aws.env)) vi.stubEnv(name, value)
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    await aws.stop()
  })
  aws.addProduct(productCode, [dimension, 'overage_pro'])
  return {
    aws,
    setClock: (to: string) => {
      at = Date.parse(to)
    },
  }
}

export type GivenAws = Awaited<ReturnType<typeof givenAws>>

/** The stand-in with one customer; `send` sends records of theirs with the real SDK client. */
export async function givenCustomer(time: string, customer: Partial<NewSubscription> = {}) {
  const given = await givenAws(time)
  const subscription = given.aws.addSubscription({ awsAccountId: '111122223333', ...customer })
  const { awsAccountId, licenceArn } = subscription
  const record = (changes: Partial<UsageRecord> = {}): UsageRecord => ({
    Timestamp: new Date(Date.parse(time) - 3_600_000),
    Dimension: dimension,
    Quantity: 7,
    CustomerAWSAccountId: awsAccountId,
    ...(licenceArn === null ? {} : { LicenseArn: licenceArn }),
    ...changes,
  })
  const send = async (UsageRecords: UsageRecord[], options: { region?: string; ProductCode?: string } = {}) => {
    const { region = 'us-east-1', ...rest } = options
    return (await meteringClient(region)).send(new BatchMeterUsageCommand({ UsageRecords, ...rest }))
  }
  return { ...given, subscription, record, send }
}
