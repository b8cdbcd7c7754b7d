import { describe, expect, test } from 'vitest'
import { entitlementClient } from '../../src/marketplace/aws.ts'
import { AwsUnavailable } from '../../src/marketplace/aws-calls.ts'
import { awsEntitlements, contractOf, entitlementsOf } from '../../src/marketplace/entitlements.ts'
import type { Party } from '../../src/marketplace/party.ts'
import { givenAws } from '../aws/support.ts'
import { accountId, licenceArn, productCode } from './said.ts'

describe('what is bought', () => {
  const of = (Dimension: string, Value: object = { IntegerValue: 1 }, more: object = {}) => ({
    Dimension,
    Value,
    ...more,
  })

  test('the dimension is the plan’s name, the expiration the end of the term', () => {
    const expires = { ExpirationDate: new Date('2026-09-20T14:23:11.013Z') }
    expect(contractOf([of('standard', { IntegerValue: 1 }, expires)])).toEqual({
      kind: 'plan',
      plan: 'standard',
      termEnd: '2026-09-20T14:23:11.013Z',
    })
  })
  test.each([
    ['true', { BooleanValue: true }],
    ['"Enabled"', { StringValue: 'Enabled' }],
    ['1.0', { DoubleValue: 1 }],
    ['"1"', { StringValue: '1' }],
    ['no value', {}],
  ])('%s is the plan as listed', (_, value) => {
    expect(contractOf([of('starter', value)])).toEqual({ kind: 'plan', plan: 'starter' })
  })
  test('a larger value is the monthly limit of a private offer', () => {
    expect(contractOf([of('enterprise', { IntegerValue: 250_000 })])).toEqual({
      kind: 'plan',
      plan: 'enterprise',
      monthlyLimit: 250_000,
    })
    expect(contractOf([of('starter', { IntegerValue: 500 })])).toMatchObject({ monthlyLimit: 500 })
  })
  test('a number of units, or half a call, is nobody’s monthly limit: a human looks', () => {
    expect(contractOf([of('standard', { IntegerValue: 3 })])).toMatchObject({ kind: 'unclear' })
    expect(contractOf([of('standard', { DoubleValue: 1500.5 })])).toMatchObject({ kind: 'unclear' })
    expect(contractOf([of('standard', { StringValue: 'lots' })])).toMatchObject({ kind: 'unclear' })
  })
  test('nothing listed, or everything withdrawn: the contract is over', () => {
    expect(contractOf([])).toEqual({ kind: 'over' })
    expect(contractOf([of('standard', { IntegerValue: 0 }), of('starter', { BooleanValue: false })])).toEqual({
      kind: 'over',
    })
  })
  test('a dimension that is no plan is unclear, but does not hide one that is', () => {
    expect(contractOf([of('gold')])).toEqual({ kind: 'unclear', reason: 'no plan is called gold' })
    expect(contractOf([of('gold'), of('starter')])).toMatchObject({ plan: 'starter' })
  })
  test('of several plans the largest counts, with its own term', () => {
    const old = of('starter', { IntegerValue: 1 }, { ExpirationDate: new Date('2026-09-01') })
    const bought = of('business', { IntegerValue: 1 }, { ExpirationDate: new Date('2027-01-01') })
    for (const list of [
      [old, bought],
      [bought, old],
    ]) {
      expect(contractOf(list)).toEqual({ kind: 'plan', plan: 'business', termEnd: '2027-01-01T00:00:00.000Z' })
    }
  })
  test('the year 9999 is no end', () => {
    expect(contractOf([of('standard', {}, { ExpirationDate: new Date('9999-01-01T00:00:00Z') })])).toEqual({
      kind: 'plan',
      plan: 'standard',
    })
  })
})

describe('asked of AWS', () => {
  const party: Party = { productCode, licence: { kind: 'licence', awsAccountId: accountId, licenceArn: licenceArn(1) } }
  const entitlement = (account: string, licence: string, Dimension = 'standard') => ({
    ProductCode: productCode,
    Dimension,
    CustomerAWSAccountId: account,
    LicenseArn: licence,
    Value: { IntegerValue: 1 },
  })

  test('pages are read to the last, also past empty ones', async () => {
    const { aws } = await givenAws('2026-08-20T15:00:00Z')
    const others = Array.from({ length: 60 }, (_, i) => entitlement('999900001111', licenceArn(`other-${i}`)))
    aws.setEntitlements([
      ...others,
      entitlement(accountId, licenceArn(1)),
      entitlement(accountId, licenceArn(2), 'starter'),
    ])
    const all = await awsEntitlements(entitlementClient)(party)
    expect(all.map(({ LicenseArn }) => LicenseArn)).toEqual([licenceArn(1), licenceArn(2)])
    expect(entitlementsOf(all, party)).toMatchObject([{ Dimension: 'standard' }])
    expect(aws.calls.filter(({ operation }) => operation === 'GetEntitlements')).toHaveLength(3)
  })
  test('a legacy customer is asked for by identifier', async () => {
    const { aws } = await givenAws('2026-08-20T15:00:00Z')
    aws.setEntitlements([
      { ...entitlement(accountId, licenceArn(1)), CustomerIdentifier: 'X01EXAMPLEX' },
      { ...entitlement(accountId, licenceArn(1), 'starter'), CustomerIdentifier: 'somebody' },
    ])
    const legacy: Party = {
      productCode,
      licence: { kind: 'product', productCode, customerIdentifier: 'X01EXAMPLEX' },
    }
    const all = await awsEntitlements(entitlementClient)(legacy)
    expect(contractOf(entitlementsOf(all, legacy))).toMatchObject({ plan: 'standard' })
  })
  test('throttled, out of order or silent: come again later', async () => {
    const { aws } = await givenAws('2026-08-20T15:00:00Z')
    aws.faults.next('GetEntitlements', { kind: 'exception', name: 'ThrottlingException' }, { kind: 'lose_answer' })
    const ask = awsEntitlements(entitlementClient)
    await expect(ask(party)).rejects.toThrow(AwsUnavailable)
    await expect(ask(party)).rejects.toThrow(AwsUnavailable)
    await expect(ask(party)).resolves.toEqual([])
  })
})
