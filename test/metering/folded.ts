/** Rows as the consumer would have folded them: customers whom AWS knows, their calls, and how far hours are judged. */
import { randomUUID } from 'node:crypto'
import { bucketKey, licenceIdentity } from '../../src/commands/plans.ts'
import type { Licence } from '../../src/events/catalogue.ts'
import { emptyHead } from '../../src/events/chain.ts'
import { type MeteringRecord, newRecord } from '../../src/metering/record.ts'
import { parseBucketKey } from '../../src/metering/rules.ts'
import type { MeteringTables, MeterState } from '../../src/metering/tables.ts'
import type { AwsStandIn } from '../aws/stand-in.ts'

export interface FoldedCustomer {
  readonly customerId: string
  readonly licence: Extract<Licence, { kind: 'licence' }>
  /** Of the stand-in; '' when AWS does not know the licence. */
  readonly subscriptionId: string
}

/** All are in partition 0, so that one watermark speaks for all of them. */
export async function foldedCustomer(
  tables: MeteringTables,
  aws: AwsStandIn,
  state: Partial<MeterState> = {},
  { unknownToAws = false, since = '2026-01-01T00:00:00.000Z' } = {},
): Promise<FoldedCustomer> {
  const customerId = randomUUID()
  const awsAccountId = String(Math.floor(Math.random() * 1e12)).padStart(12, '0')
  const licenceArn = `arn:aws:license-manager::000000000000:license:l-${customerId}`
  const licence: FoldedCustomer['licence'] = { kind: 'licence', awsAccountId, licenceArn }
  const subscriptionId = unknownToAws ? '' : aws.addSubscription({ awsAccountId, licenceArn }).id
  const meter = {
    customerId,
    partition: 0,
    head: { revision: 40n, hash: 'a'.repeat(64) },
    meteringHead: emptyHead,
    sealedUpTo: '',
    closed: [],
    state: {
      licence,
      plan: 'standard' as const,
      licences: { [licenceArn]: licence },
      since: { [licenceArn]: since },
      ends: {},
      months: {},
      ...state,
    },
  }
  await tables.transaction((tx) => tx.save({ customers: [meter] }))
  return { customerId, licence, subscriptionId }
}

/** So many overage calls in that hour (`2026-03-10T14`). Returns the record's id. */
export async function foldedCalls(
  tables: MeteringTables,
  { customerId, licence }: FoldedCustomer,
  hour: string,
  quantity: number,
  change: Partial<MeteringRecord> = {},
): Promise<string> {
  const recordId = bucketKey(customerId, licence, 'standard', `${hour}:00:00.000Z`)
  const { dimension, hour: start } = parseBucketKey(recordId)
  await changeMeter(tables, customerId, ({ months }) => {
    const month = start.slice(0, 7)
    const { credit = 0, overage = 0 } = months[month] ?? {}
    return { months: { ...months, [month]: { credit, overage: overage + quantity } } }
  })
  await tables.transaction(async (tx) => {
    const there = (await tx.recordsById([recordId])).get(recordId)
    const before =
      there ?? newRecord({ recordId, customerId, hour: start, licence: licenceIdentity(licence), dimension })
    const calls = { quantity: before.calls.quantity + quantity, late: 0, digest: 'd'.repeat(64) }
    await tx.save({ records: [{ ...before, calls, ...change }] })
  })
  return recordId
}

/** The subscription has ended: what SubscriptionEnded makes of the customer. */
export const endSubscription = (tables: MeteringTables, { customerId, licence }: FoldedCustomer, at: string) =>
  changeMeter(tables, customerId, () => ({ ends: { [licence.licenceArn]: at } }))

async function changeMeter(
  tables: MeteringTables,
  customerId: string,
  change: (state: MeterState) => Partial<MeterState>,
): Promise<void> {
  await tables.transaction(async (tx) => {
    const [meter] = (await tx.lockCustomers([customerId])).values()
    if (meter === undefined) throw new Error(`there is no customer ${customerId}`)
    await tx.save({ customers: [{ ...meter, state: { ...meter.state, ...change(meter.state) } }] })
  })
}

/** A watermark was judged, on every partition or on that of the customers. */
export async function judge(tables: MeteringTables, judgedThrough: string, partitions = [0]): Promise<void> {
  for (const partition of partitions) {
    await tables.transaction(async (tx) => {
      await tx.save({ partition: { ...(await tx.lockPartition(partition)), judgedThrough } })
    })
  }
}
