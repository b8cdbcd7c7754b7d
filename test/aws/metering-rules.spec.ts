/**
 * Each rule of BatchMeterUsage that the stand-in enforces, through the real SDK client. Quoted: [sdk] documentation of
 * @aws-sdk/client-marketplace-metering 3.1138.0; [guide] AWS Marketplace seller guide.
 */
import { describe, expect, test } from 'vitest'
import { givenCustomer } from './support.ts'

const noon = '2026-08-10T12:00:00.000Z'
const legacy = { licenceArn: null, customerIdentifier: 'customer-1' }

describe('one call', () => {
  test('[sdk] "can process up to 25 UsageRecords at a time"; 0 are allowed', async () => {
    const { send, record } = await givenCustomer(noon)
    const many = (count: number) =>
      Array.from({ length: count }, (_, place) => record({ Timestamp: new Date(Date.parse(noon) - place * 1000) }))
    expect((await send([])).Results).toEqual([])
    expect((await send(many(25))).Results).toHaveLength(25)
    await expect(send(many(26))).rejects.toThrow('at most 25')
  })

  test('[sdk] "each request must be less than 1 MB in size"', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    const allocations = Array.from({ length: 2500 }, (_, place) => ({
      AllocatedUsageQuantity: 0,
      Tags: [{ Key: 'k'.repeat(100), Value: `${place}-`.padEnd(250, 'v') }],
    }))
    const big = record({ Quantity: 0, UsageAllocations: allocations })
    await expect(send([big])).rejects.toThrow('smaller than 1 MB')
    expect(aws.calls.at(-1)?.body.length).toBeGreaterThan(1_000_000)
    const smaller = record({ Quantity: 0, UsageAllocations: allocations.slice(0, 2000) })
    expect((await send([smaller])).Results?.[0]?.Status).toBe('Success')
  })

  test('[sdk] "Each BatchMeterUsage request is for only one product."', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    aws.addProduct('another', ['overage_basic'])
    const other = aws.addSubscription({ awsAccountId: '444', productCode: 'another' })
    const theirs = record({ CustomerAWSAccountId: other.awsAccountId, LicenseArn: other.licenceArn ?? '' })
    await expect(send([record(), theirs])).rejects.toMatchObject({ name: 'InvalidProductCodeException' })
    expect((await send([theirs])).Results?.[0]?.Status).toBe('Success')
  })

  test('AWS quotas: 10 calls a second, per account and region', async () => {
    const { send, setClock } = await givenCustomer(noon)
    for (let call = 0; call < 10; call += 1) await send([])
    await expect(send([])).rejects.toMatchObject({ name: 'ThrottlingException' })
    await expect(send([], { region: 'eu-west-1' })).resolves.toBeDefined()
    setClock('2026-08-10T12:00:00.999Z')
    await expect(send([])).rejects.toMatchObject({ name: 'ThrottlingException' })
    setClock('2026-08-10T12:00:01.000Z')
    await expect(send([])).resolves.toBeDefined()
  })

  test('[sdk] DisabledApiException: "The API is disabled in the Region."', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    aws.disableRegions(['eu-west-3'])
    await expect(send([record()], { region: 'eu-west-3' })).rejects.toMatchObject({ name: 'DisabledApiException' })
    await expect(send([record()])).resolves.toBeDefined()
  })
})

describe('what is billed', () => {
  test('an accepted record stands in the ledger of its region, with its hour', async () => {
    const { aws, send, record, subscription } = await givenCustomer(noon)
    const { Results } = await send([record({ Timestamp: new Date('2026-08-10T09:10:11Z') })])
    expect(Results?.[0]?.Status).toBe('Success')
    expect(aws.ledger('us-east-1')).toEqual([
      {
        region: 'us-east-1',
        subscriptionId: subscription.id,
        by: 'licence',
        dimension: 'overage_basic',
        hour: '2026-08-10T09:00:00.000Z',
        quantity: 7,
        meteringRecordId: Results?.[0]?.MeteringRecordId,
        timestamp: Date.parse('2026-08-10T09:10:11Z'),
        acceptedAt: Date.parse(noon),
      },
    ])
    expect(aws.ledger('eu-west-1')).toEqual([])
  })

  test('[sdk] "Identical requests are idempotent and can be retried with the same records or a subset of records"', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    const [one, two] = [record(), record({ Dimension: 'overage_pro' })]
    const first = await send([one, two])
    const again = await send([one, two])
    const subset = await send([two])
    expect(again.Results).toEqual(first.Results)
    expect(subset.Results).toEqual([first.Results?.[1]])
    expect(new Set(first.Results?.map((result) => result.MeteringRecordId)).size).toBe(2)
    expect(aws.ledger()).toHaveLength(2)
  })

  test('[sdk] DuplicateRecord: "the same customer, dimension, and time, but a different quantity" is "not honored"', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    await send([record({ Quantity: 7 })])
    const { Results } = await send([record({ Quantity: 8 })])
    expect(Results?.[0]).toMatchObject({ Status: 'DuplicateRecord' })
    expect(Results?.[0]?.MeteringRecordId).toBeUndefined()
    expect(aws.ledger().map((one) => one.quantity)).toEqual([7])
  })

  test('[guide] records are "de-duplicated on the hour", so 10:59:59 is the time of 10:00 and 11:00 is another', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    const at = (time: string, Quantity: number) => record({ Timestamp: new Date(`2026-08-10T${time}Z`), Quantity })
    await send([at('10:00:00', 1)])
    const { Results } = await send([at('10:59:59', 2), at('11:00:00', 2)])
    expect(Results?.map(({ Status }) => Status)).toEqual(['DuplicateRecord', 'Success'])
    expect(aws.ledger()).toHaveLength(2)
  })

  test('[guide] a zero is a record too: the real quantity after it is a duplicate', async () => {
    const { send, record } = await givenCustomer(noon)
    const { Quantity: _, ...unstated } = record()
    await send([unstated]) // [sdk] "Defaults to 0 if not specified"
    expect((await send([record({ Quantity: 0 })])).Results?.[0]?.Status).toBe('Success')
    expect((await send([record({ Quantity: 1 })])).Results?.[0]?.Status).toBe('DuplicateRecord')
  })

  test('AWS agent toolkit: duplicates are found within a region; sent in two regions, the hour is billed twice', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    await send([record()])
    expect(aws.billedTwice()).toEqual([])
    await send([record()], { region: 'eu-west-1' })
    expect(aws.billedTwice().map((same) => same.map((one) => one.region))).toEqual([['us-east-1', 'eu-west-1']])
  })

  test('[sdk] "both ProductCode and LicenseArn for the same customer within the same hour will result in duplicate billing"', async () => {
    const { aws, send, record } = await givenCustomer(noon, { customerIdentifier: 'customer-1' })
    await send([record()], { ProductCode: 'product-liveness' })
    expect(aws.billedTwice().map((same) => same.map((one) => one.by))).toEqual([['licence', 'product']])
  })

  test('the same, in two calls: one names the customer by product, the other by licence', async () => {
    const { aws, send, record } = await givenCustomer(noon, { customerIdentifier: 'customer-1' })
    const { LicenseArn: _, ...byProduct } = record()
    await send([byProduct], { ProductCode: 'product-liveness' })
    expect(aws.billedTwice()).toEqual([])
    await send([record()])
    expect(aws.billedTwice()).toHaveLength(1)
  })

  test('a legacy customer is the same by identifier and by account', async () => {
    const { aws, send, record } = await givenCustomer(noon, legacy)
    const { CustomerAWSAccountId: _, ...rest } = record()
    await send([record()], { ProductCode: 'product-liveness' })
    const { Results } = await send([{ ...rest, CustomerIdentifier: 'customer-1' }], { ProductCode: 'product-liveness' })
    expect(Results?.[0]?.Status).toBe('Success')
    expect(aws.ledger().map((one) => one.by)).toEqual(['product'])
  })
})

describe('CustomerNotSubscribed', () => {
  test('[sdk] "The customer identifier is invalid": an account without agreement; the other records are taken', async () => {
    const { send, record } = await givenCustomer(noon, legacy)
    const { Results } = await send([record({ CustomerAWSAccountId: '999' }), record()], {
      ProductCode: 'product-liveness',
    })
    expect(Results?.map(({ Status }) => Status)).toEqual(['CustomerNotSubscribed', 'Success'])
  })

  test('[sdk] "does not have an active agreement"; [guide] about one hour for the last records after the end', async () => {
    const { aws, send, record, subscription, setClock } = await givenCustomer(noon)
    aws.endSubscription(subscription.id)
    setClock('2026-08-10T12:59:59.999Z')
    expect((await send([record()])).Results?.[0]?.Status).toBe('Success')
    setClock('2026-08-10T13:00:00.000Z')
    expect((await send([record({ Dimension: 'overage_pro' })])).Results?.[0]?.Status).toBe('CustomerNotSubscribed')
    expect(aws.ledger()).toHaveLength(1)
  })

  test('[sdk] "The customer\'s Amazon Web Services account was suspended."', async () => {
    const { aws, send, record, subscription } = await givenCustomer(noon)
    aws.suspend(subscription.id)
    expect((await send([record()])).Results?.[0]?.Status).toBe('CustomerNotSubscribed')
    aws.suspend(subscription.id, false)
    expect((await send([record()])).Results?.[0]?.Status).toBe('Success')
  })
})
