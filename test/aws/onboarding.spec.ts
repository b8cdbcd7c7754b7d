/** ResolveCustomer and GetEntitlements of the stand-in, through the real SDK clients. [sdk]: their documentation. */
import {
  type GetEntitlementFilterName,
  GetEntitlementsCommand,
  type GetEntitlementsCommandInput,
} from '@aws-sdk/client-marketplace-entitlement-service'
import { ResolveCustomerCommand } from '@aws-sdk/client-marketplace-metering'
import { describe, expect, test } from 'vitest'
import { entitlementClient, meteringClient } from '../../src/marketplace/aws.ts'
import { givenAws, productCode } from './support.ts'

const noon = '2026-08-10T12:00:00.000Z'

describe('ResolveCustomer', () => {
  const resolve = async (RegistrationToken: string) =>
    (await meteringClient('us-east-1')).send(new ResolveCustomerCommand({ RegistrationToken }))

  test('[sdk] "For new SaaS product integrations, the CustomerIdentifier field is not populated"', async () => {
    const { aws } = await givenAws(noon)
    const { id, licenceArn } = aws.addSubscription({ awsAccountId: '111' })
    aws.addRegistrationToken({ token: 't', subscriptionId: id })
    const { $metadata: _, ...customer } = await resolve('t')
    expect(customer).toEqual({ ProductCode: productCode, CustomerAWSAccountId: '111', LicenseArn: licenceArn })
  })

  test('a legacy customer has an identifier and no licence', async () => {
    const { aws } = await givenAws(noon)
    const { id } = aws.addSubscription({ awsAccountId: '111', licenceArn: null, customerIdentifier: 'c' })
    aws.addRegistrationToken({ token: 't', subscriptionId: id })
    const { $metadata: _, ...customer } = await resolve('t')
    expect(customer).toEqual({ ProductCode: productCode, CustomerAWSAccountId: '111', CustomerIdentifier: 'c' })
  })

  test('[sdk] ExpiredTokenException: "the buyer has resubmitted the registration token"', async () => {
    const { aws } = await givenAws(noon)
    aws.addRegistrationToken({ token: 't', subscriptionId: aws.addSubscription({ awsAccountId: '111' }).id })
    await resolve('t')
    await expect(resolve('t')).rejects.toMatchObject({ name: 'ExpiredTokenException' })
  })

  test('[sdk] ExpiredTokenException: "your application has held on to the registration token for too long"', async () => {
    const { aws, setClock } = await givenAws(noon)
    aws.addRegistrationToken({ token: 't', subscriptionId: aws.addSubscription({ awsAccountId: '111' }).id })
    setClock('2026-08-10T16:00:00.000Z')
    await expect(resolve('t')).rejects.toMatchObject({ name: 'ExpiredTokenException' })
  })

  test('[sdk] InvalidTokenException: "Registration token is invalid."', async () => {
    await givenAws(noon)
    await expect(resolve('t')).rejects.toMatchObject({ name: 'InvalidTokenException' })
  })
})

describe('GetEntitlements', () => {
  const entitled = (
    CustomerAWSAccountId: string,
    Dimension = 'basic',
    ExpirationDate = Date.parse(noon) / 1000 + 60,
  ) => ({
    ProductCode: productCode,
    CustomerAWSAccountId,
    Dimension,
    ExpirationDate,
    Value: { IntegerValue: 1 },
  })
  const get = async (input: Partial<GetEntitlementsCommandInput> = {}) =>
    (await entitlementClient()).send(new GetEntitlementsCommand({ ProductCode: productCode, ...input }))
  const found = async (Filter: Partial<Record<GetEntitlementFilterName, string[]>>) =>
    (await get({ Filter })).Entitlements?.map((one) => [one.CustomerAWSAccountId, one.Dimension])

  test('[sdk] "unioned for each value in the value list, and then intersected for each filter key"', async () => {
    const { aws } = await givenAws(noon)
    aws.setEntitlements([entitled('1'), entitled('1', 'pro'), entitled('2'), entitled('3')])
    expect(await found({ CUSTOMER_AWS_ACCOUNT_ID: ['1', '2'], DIMENSION: ['basic'] })).toEqual([
      ['1', 'basic'],
      ['2', 'basic'],
    ])
  })

  test('a page may be empty and still have a NextToken', async () => {
    const { aws } = await givenAws(noon)
    aws.setEntitlements([entitled('1'), entitled('2'), entitled('3')])
    const Filter = { CUSTOMER_AWS_ACCOUNT_ID: ['3'] }
    const first = await get({ Filter, MaxResults: 2 })
    expect(first).toMatchObject({ Entitlements: [], NextToken: expect.any(String) })
    const second = await get({ Filter, MaxResults: 2, NextToken: first.NextToken })
    expect(second.Entitlements).toMatchObject([{ CustomerAWSAccountId: '3', ExpirationDate: expect.any(Date) }])
    expect(second.NextToken).toBeUndefined()
  })

  test('what has expired, and what is of another product, is not there', async () => {
    const { aws } = await givenAws(noon)
    aws.setEntitlements([entitled('1', 'basic', Date.parse(noon) / 1000), { ...entitled('1'), ProductCode: 'another' }])
    expect((await get()).Entitlements).toEqual([])
  })

  test('[sdk] InvalidParameterException: pages of 1 to 25, and "mutually exclusive parameters"', async () => {
    await givenAws(noon)
    const invalid = { name: 'InvalidParameterException' }
    const both = { CUSTOMER_IDENTIFIER: ['c'], CUSTOMER_AWS_ACCOUNT_ID: ['1'] }
    for (const input of [{ MaxResults: 0 }, { MaxResults: 26 }, { NextToken: 'x' }, { Filter: both }]) {
      await expect(get(input)).rejects.toMatchObject(invalid)
    }
  })

  test('AWS quotas: 20 calls a second', async () => {
    await givenAws(noon)
    for (let call = 0; call < 20; call += 1) await get()
    await expect(get()).rejects.toMatchObject({ name: 'ThrottlingException' })
  })
})
