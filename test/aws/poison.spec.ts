/** Each rule by which one record makes AWS refuse the whole call. Sources as in metering-rules.spec.ts. */
import type { UsageRecord } from '@aws-sdk/client-marketplace-metering'
import { describe, expect, test } from 'vitest'
import { givenCustomer } from './support.ts'

const noon = '2026-08-10T12:00:00.000Z'
const outOfBounds = { name: 'TimestampOutOfBoundsException' }

describe('time', () => {
  const at = (time: string) => ({ Timestamp: new Date(time) })

  test('[sdk] "if any of the records are outside of the allowed range, the entire batch is not processed"', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    await expect(send([record(), record(at('2026-08-01T00:00:00Z'))])).rejects.toMatchObject(outOfBounds)
    expect(aws.ledger()).toEqual([])
    expect((await send([record()])).Results?.[0]?.Status).toBe('Success')
  })

  test('[sdk] "Usage records aren\'t accepted 24 hours or more after an event."', async () => {
    const { send, record } = await givenCustomer(noon)
    await expect(send([record(at('2026-08-09T12:00:00Z'))])).rejects.toMatchObject(outOfBounds)
    await expect(send([record(at('2026-08-09T12:00:01Z'))])).resolves.toBeDefined()
  })

  test('older AWS pages: "up to six hours in the past", so the window is a setting', async () => {
    const { aws, send, record } = await givenCustomer(noon)
    aws.setLimits({ windowHours: 6 })
    await expect(send([record(at('2026-08-10T06:00:00Z'))])).rejects.toMatchObject(outOfBounds)
    await expect(send([record(at('2026-08-10T06:00:01Z'))])).resolves.toBeDefined()
  })

  test('[sdk] "After 06:00 UTC on April 1, March records are rejected regardless of the normal 24-hour submission window."', async () => {
    const { send, record, setClock } = await givenCustomer('2026-04-01T05:59:59.999Z')
    await expect(send([record(at('2026-03-31T23:00:00Z'))])).resolves.toBeDefined()
    setClock('2026-04-01T06:00:00.000Z')
    await expect(send([record(at('2026-03-31T23:59:59Z'))])).rejects.toMatchObject(outOfBounds)
    await expect(send([record(at('2026-04-01T00:00:00Z'))])).resolves.toBeDefined()
  })

  test('the same at the end of a year and of a leap February', async () => {
    const { send, record, setClock } = await givenCustomer('2027-01-01T06:00:00Z')
    await expect(send([record(at('2026-12-31T23:00:00Z'))])).rejects.toMatchObject(outOfBounds)
    setClock('2028-02-29T06:00:00Z')
    await expect(send([record(at('2028-02-28T23:00:00Z'))])).resolves.toBeDefined()
    setClock('2028-03-01T06:00:00Z')
    await expect(send([record(at('2028-02-29T23:00:00Z'))])).rejects.toMatchObject(outOfBounds)
  })

  test('usage of the future is refused', async () => {
    const { send, record } = await givenCustomer(noon)
    await expect(send([record(at('2026-08-10T12:00:01Z'))])).rejects.toMatchObject(outOfBounds)
    await expect(send([record(at('2026-08-10T12:00:00Z'))])).resolves.toBeDefined()
  })

  test('[sdk] "Make sure the timestamp value is not before the start of the software usage."', async () => {
    const startsAt = Date.parse('2026-08-10T10:30:00Z')
    const { send, record } = await givenCustomer(noon, { licenceArn: null, startsAt })
    const options = { ProductCode: 'product-liveness' }
    await expect(send([record(at('2026-08-10T10:29:59Z'))], options)).rejects.toMatchObject(outOfBounds)
    await expect(send([record(at('2026-08-10T10:30:00Z'))], options)).resolves.toBeDefined()
  })
})

describe('[sdk] InvalidLicenseException: "Ensure the LicenseArn is valid, matches the customer, and usage is within the license activation period."', () => {
  const invalidLicence = { name: 'InvalidLicenseException' }

  test('a licence that does not exist', async () => {
    const { send, record } = await givenCustomer(noon)
    const LicenseArn = 'arn:aws:license-manager::000000000000:license:l-none'
    await expect(send([record({ LicenseArn })])).rejects.toMatchObject(invalidLicence)
  })
  test("another customer's licence", async () => {
    const { aws, send, record } = await givenCustomer(noon)
    aws.addSubscription({ awsAccountId: '444' })
    await expect(send([record({ CustomerAWSAccountId: '444' })])).rejects.toMatchObject(invalidLicence)
  })
  test('usage before the activation and after the end', async () => {
    const startsAt = Date.parse('2026-08-10T10:30:00Z')
    const { aws, send, record, subscription, setClock } = await givenCustomer(noon, { startsAt })
    const at = (time: string) => [record({ Timestamp: new Date(time) })]
    await expect(send(at('2026-08-10T10:29:59Z'))).rejects.toMatchObject(invalidLicence)
    await expect(send(at('2026-08-10T10:30:00Z'))).resolves.toBeDefined()
    aws.endSubscription(subscription.id)
    setClock('2026-08-10T12:30:00Z')
    await expect(send(at('2026-08-10T12:00:00Z'))).resolves.toBeDefined()
    await expect(send(at('2026-08-10T12:00:01Z'))).rejects.toMatchObject(invalidLicence)
  })
})

describe('names', () => {
  const legacy = { licenceArn: null, customerIdentifier: 'customer-1' }
  const ProductCode = 'product-liveness'

  test('[sdk] "The usage dimension does not match one of the UsageDimensions associated with products."', async () => {
    const { send, record } = await givenCustomer(noon)
    await expect(send([record({ Dimension: 'none' })])).rejects.toMatchObject({
      name: 'InvalidUsageDimensionException',
    })
  })
  test('[sdk] "You have metered usage for a CustomerIdentifier that does not exist."', async () => {
    const { send, record } = await givenCustomer(noon, legacy)
    const { CustomerAWSAccountId: _, ...unnamed } = record()
    const unknown = send([{ ...unnamed, CustomerIdentifier: 'nobody' }], { ProductCode })
    await expect(unknown).rejects.toMatchObject({ name: 'InvalidCustomerIdentifierException' })
  })
  test('CustomerIdentifier and CustomerAWSAccountId are mutually exclusive, and one is needed', async () => {
    const { send, record } = await givenCustomer(noon, legacy)
    const { CustomerAWSAccountId: _, ...unnamed } = record()
    for (const one of [unnamed, record({ CustomerIdentifier: 'customer-1' })]) {
      await expect(send([one], { ProductCode })).rejects.toMatchObject({ name: 'InvalidCustomerIdentifierException' })
    }
  })
  test('[sdk] InvalidProductCodeException: "The product code passed does not match the product code used for publishing the product."', async () => {
    const { send, record } = await givenCustomer(noon, legacy)
    for (const options of [{ ProductCode: 'another' }, {}]) {
      await expect(send([record()], options)).rejects.toMatchObject({ name: 'InvalidProductCodeException' })
    }
  })
  test('a product with licences cannot be metered by product code', async () => {
    const { send, record } = await givenCustomer(noon)
    const { LicenseArn: _, ...byProduct } = record()
    expect((await send([byProduct], { ProductCode })).Results?.[0]?.Status).toBe('CustomerNotSubscribed')
  })
  test.each<[string, Partial<UsageRecord>]>([
    ['an empty dimension', { Dimension: '' }],
    ['a dimension of 256 letters', { Dimension: 'd'.repeat(256) }],
    ['an account with letters', { CustomerAWSAccountId: '12a' }],
    ['a licence that is no ARN', { LicenseArn: 'l-1' }],
  ])('the service model: %s is no valid request', async (_, change) => {
    const { send, record } = await givenCustomer(noon)
    await expect(send([record(change)])).rejects.toMatchObject({ name: 'ValidationException' })
  })
})

describe('quantities', () => {
  test('the service model: an int32 from 0 to 2,147,483,647, no negative one', async () => {
    const { send, record } = await givenCustomer(noon)
    for (const Quantity of [-1, 2_147_483_648, 0.5]) {
      await expect(send([record({ Quantity })])).rejects.toMatchObject({ name: 'ValidationException' })
    }
    await expect(send([record({ Quantity: 2_147_483_647 })])).resolves.toBeDefined()
  })

  const allocated = (AllocatedUsageQuantity: number, Tags?: { Key: string; Value: string }[]) => ({
    AllocatedUsageQuantity,
    ...(Tags === undefined ? {} : { Tags }),
  })
  test('[sdk] "The sum of all UsageAllocation quantities must equal the Quantity", each with "a unique set of tags"', async () => {
    const { send, record } = await givenCustomer(noon)
    const tagged = [{ Key: 'team', Value: 'a' }]
    const invalid = { name: 'InvalidUsageAllocationsException' }
    for (const UsageAllocations of [[allocated(6)], [allocated(3), allocated(4)]]) {
      await expect(send([record({ UsageAllocations })])).rejects.toMatchObject(invalid)
    }
    await expect(send([record({ UsageAllocations: [allocated(3), allocated(4, tagged)] })])).resolves.toBeDefined()
  })
  test('the service model: at most 2,500 allocations, of 0 to 2,147,483,647 each', async () => {
    const { send, record } = await givenCustomer(noon)
    const many = Array.from({ length: 2501 }, (_, place) => allocated(0, [{ Key: 'n', Value: String(place) }]))
    for (const UsageAllocations of [[], many, [allocated(-1), allocated(8)]]) {
      await expect(send([record({ UsageAllocations })])).rejects.toMatchObject({ name: 'ValidationException' })
    }
  })
  test('[sdk] InvalidTagException: "The tag is invalid, or the number of tags is greater than 5."', async () => {
    const { send, record } = await givenCustomer(noon)
    const six = Array.from({ length: 6 }, (_, place) => ({ Key: `k${place}`, Value: 'v' }))
    for (const Tags of [
      six,
      [{ Key: '', Value: 'v' }],
      [{ Key: 'k', Value: 'v'.repeat(257) }],
      [{ Key: 'k', Value: 'ü' }],
    ]) {
      const sent = send([record({ UsageAllocations: [allocated(7, Tags)] })])
      await expect(sent).rejects.toMatchObject({ name: 'InvalidTagException' })
    }
  })
})
