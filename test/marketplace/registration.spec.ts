import { describe, expect, test } from 'vitest'
import { LedgerUnavailable } from '../../src/commands/errors.ts'
import { AwsUnavailable } from '../../src/marketplace/aws-calls.ts'
import { listUndecided } from '../../src/marketplace/messages.ts'
import { projectAll } from '../projections/support.ts'
import { accountId, agreementEvent, licenceArn, licenceEvent, productCode } from './said.ts'
import { createWorld } from './world.ts'

const licence = (number: number) =>
  ({ kind: 'licence', awsAccountId: accountId, licenceArn: licenceArn(number) }) as const

describe('a first registration', () => {
  test('makes a customer of the bought plan, without keys, and reserves the licence', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1, plan: 'standard', until: '2026-07-15T10:00:00.000Z' })
    const customerId = await world.register(1)
    expect(world.typesOf(customerId)).toEqual(['CustomerRegistered', 'MonthlyCreditsGranted'])
    expect(world.stateOf(customerId)).toMatchObject({
      terms: { plan: 'standard', monthlyLimit: 5_000 },
      hardCap: false,
      keys: {},
      licence: { ...licence(1), termStart: '2026-06-15T10:20:30.000Z', termEnd: '2026-07-15T10:00:00.000Z' },
    })
    const [reserved, ...more] = world.reservationsOf(licence(1))
    expect(more).toEqual([])
    expect(reserved).toMatchObject({
      type: 'LicenceReserved',
      data: { customerId, identity: licence(1) },
      metadata: { actor: 'marketplace', prevHash: '' },
    })
  })
  test('a private offer has a limit of its own', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1, plan: 'enterprise', value: 250_000 })
    const customerId = await world.register(1)
    expect(world.stateOf(customerId).terms).toMatchObject({ plan: 'enterprise', monthlyLimit: 250_000 })
  })
  test('a legacy listing knows its buyers by product and identifier', async () => {
    const world = await createWorld('2026-06-15T10:20:30.000Z', productCode)
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    expect(world.stateOf(customerId).licence).toMatchObject({
      kind: 'product',
      productCode,
      customerIdentifier: 'X01EXAMPLEX',
    })
  })
})

describe('a token', () => {
  test('that AWS does not know is invalid', async () => {
    const world = await createWorld()
    expect(await world.registerToken('made-up')).toEqual({ kind: 'invalid' })
  })
  test('that is too old has expired', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    expect(await world.registerToken(world.token(1, { expiresAt: 0 }))).toEqual({ kind: 'expired' })
    expect(world.store.all()).toEqual([])
  })
  test('that is sent again within the hour finds the same customer, though AWS resolves it once', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const token = world.token(1)
    const first = await world.registerToken(token)
    expect(await world.registerToken(token)).toEqual(first)
    expect(world.aws.calls.filter(({ operation }) => operation === 'ResolveCustomer')).toHaveLength(1)
    await world.database.pool.query("update marketplace_tokens set resolved_at = now() - interval '61 minutes'")
    expect(await world.registerToken(token)).toEqual({ kind: 'expired' })
  })
  test('is kept as a hash', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const token = world.token(1)
    await world.registerToken(token)
    const { rows } = await world.database.pool.query('select * from marketplace_tokens')
    expect(JSON.stringify(rows)).not.toContain(token)
  })
  test('of a product without licences is refused with an alarm unless the listing is a legacy one', async () => {
    const world = await createWorld()
    const { id } = world.aws.addSubscription({ awsAccountId: accountId, licenceArn: null, productCode })
    world.aws.addRegistrationToken({ token: 'legacy', subscriptionId: id })
    expect(await world.registerToken('legacy')).toEqual({ kind: 'invalid' })
    expect(world.alarms).toEqual([expect.stringContaining('set MARKETPLACE_PRODUCT_CODE')])
  })
})

describe('nobody is registered', () => {
  test('when AWS lists nothing bought', async () => {
    const world = await createWorld()
    expect(await world.registerToken(world.token(1))).toEqual({ kind: 'nothing_bought' })
    expect(world.store.all()).toEqual([])
  })
  test('when the licence has ended already', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    await world.deliver(licenceEvent('Deprovisioned', licenceArn(1), { agreement: 'agmt-1' }))
    expect(await world.registerToken(world.token(1))).toEqual({ kind: 'nothing_bought' })
  })
  test('when the catalogue has no such plan: alarm', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1, plan: 'gold' })
    expect(await world.registerToken(world.token(1))).toEqual({ kind: 'undecided' })
    expect(world.alarms).toEqual([expect.stringContaining('no plan is called gold')])
  })
  test('a customer that the operator closed stays closed', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    await world.command(customerId, { type: 'DeactivateCustomer', reason: 'fraud' })
    expect(await world.registerToken(world.token(1))).toEqual({ kind: 'closed' })
  })
})

describe('once only', () => {
  test('a second registration of a licence finds the first, with another token too', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    expect(await world.register(1)).toBe(customerId)
    expect(world.typesOf(customerId)).toEqual(['CustomerRegistered', 'MonthlyCreditsGranted'])
  })
  test('eight registrations of a licence at the same time make one customer', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const tokens = Array.from({ length: 8 }, () => world.token(1))
    const all = await Promise.all(tokens.map((token) => world.registerToken(token)))
    expect(new Set(all.map((one) => (one.kind === 'customer' ? one.customerId : one.kind))).size).toBe(1)
    expect(world.store.all().filter(({ type }) => type === 'CustomerRegistered')).toHaveLength(1)
    expect(world.store.all().filter(({ type }) => type === 'LicenceReserved')).toHaveLength(1)
  })
  test('whatever failed on the way, doing it again finishes it', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const token = world.token(1)
    // Each try gets one step further: GetEntitlements, the reservation, the registration of the customer.
    world.aws.faults.next('GetEntitlements', { kind: 'lose_answer' })
    await expect(world.registerToken(token)).rejects.toThrow(AwsUnavailable)
    world.store.onSend = ({ stream }) => ({ requestLost: stream.startsWith('licence-') })
    await expect(world.registerToken(token)).rejects.toThrow(LedgerUnavailable)
    world.store.onSend = ({ stream }) => ({ answerLost: stream.startsWith('licence-') })
    await expect(world.registerToken(token)).rejects.toThrow(LedgerUnavailable)
    world.store.onSend = ({ stream }) => ({ requestLost: stream.startsWith('customer-') })
    await expect(world.registerToken(token)).rejects.toThrow(LedgerUnavailable)
    world.store.onSend = () => ({})
    expect(await world.registerToken(token)).toMatchObject({ kind: 'customer', plan: 'standard' })
    expect(world.store.all().map(({ type }) => type)).toEqual([
      'LicenceReserved',
      'CustomerRegistered',
      'MonthlyCreditsGranted',
    ])
  })
})

describe('a further licence of a known account', () => {
  test('beside one that runs is a further purchase, with a customer of its own', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 }, { licence: 2, plan: 'starter' })
    const first = await world.register(1)
    const second = await world.register(2)
    expect(second).not.toBe(first)
    expect(world.stateOf(first).licence).toMatchObject(licence(1))
  })
  test('when nothing is bought any more of the first, joins the customer, who keeps their keys', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    world.setClock('2026-07-01T09:00:00.000Z')
    world.entitled({ licence: 2, plan: 'business' })
    expect(await world.register(2)).toBe(customerId)
    expect(world.typesOf(customerId).slice(2)).toEqual(['MonthlyCreditsGranted', 'PlanChanged', 'LicenceChanged'])
    expect(world.stateOf(customerId)).toMatchObject({
      terms: { plan: 'business' },
      licence: { ...licence(2), termStart: '2026-07-01T09:00:00.000Z' },
    })
  })
  test('after the end of the first, joins the customer and resumes', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    await world.deliver(licenceEvent('Deprovisioned', licenceArn(1), { agreement: 'agmt-1' }))
    expect(world.stateOf(customerId).ended).toBeDefined()
    world.setClock('2026-06-20T09:00:00.000Z')
    world.entitled({ licence: 2 })
    expect(await world.register(2)).toBe(customerId)
    expect(world.stateOf(customerId)).toMatchObject({ ended: undefined, licence: licence(2) })
  })
  test('that continues another, while the account has several customers, is for a human to decide: one alarm', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 }, { licence: 2 }, { licence: 3 })
    const customers = [await world.register(1), await world.register(2)]
    await world.deliver(agreementEvent('Created', { intent: 'RENEW' }, { agreement: 'agmt-3' }))
    await world.deliver(licenceEvent('Updated', licenceArn(3), { agreement: 'agmt-3' }))
    expect(await world.registerToken(world.token(3))).toEqual({ kind: 'undecided' })
    expect(await world.registerToken(world.token(3))).toEqual({ kind: 'undecided' })
    expect(world.alarms).toHaveLength(1)
    // Both registered at the same instant of the world's clock.
    const [{ candidates = [], party } = {}] = await listUndecided(world.database.pool)
    expect(party).toMatchObject({ productCode, licence: licence(3) })
    expect(candidates.toSorted()).toEqual(customers.toSorted())
    expect(world.reservationsOf(licence(3))).toEqual([])
  })
  test('a change of licence that a crash left unfinished is finished, and the old licence never comes back', async () => {
    const world = await createWorld()
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    world.setClock('2026-07-01T09:00:00.000Z')
    world.entitled({ licence: 2 })
    const token = world.token(2)
    world.store.onSend = ({ stream }) => ({ requestLost: stream.startsWith('customer-') })
    await expect(world.registerToken(token)).rejects.toThrow()
    expect(world.reservationsOf(licence(2))).toHaveLength(1)
    world.store.onSend = () => ({})
    expect(await world.registerToken(token)).toMatchObject({ customerId })
    await projectAll(world.database.pool, world.store)
    expect(world.stateOf(customerId).licence).toMatchObject(licence(2))
    // Late news of the licence that was replaced.
    world.entitled({ licence: 1 }, { licence: 2 })
    await world.deliver(licenceEvent('Updated', licenceArn(1), { agreement: 'agmt-1' }))
    await world.deliver(licenceEvent('Deprovisioned', licenceArn(1), { agreement: 'agmt-1' }))
    expect(world.stateOf(customerId)).toMatchObject({ licence: licence(2), ended: undefined })
  })
})
