import { describe, expect, test } from 'vitest'
import { assign, CannotAssign, dismissMessage, retryMessage } from '../../src/marketplace/assign.ts'
import { readMessage } from '../../src/marketplace/lifecycle.ts'
import { countMessages, keep, listMessages, listUndecided } from '../../src/marketplace/messages.ts'
import { registration } from '../support/given.ts'
import { accountId, agreementEvent, licenceArn, licenceEvent, notification, productCode } from './said.ts'
import { createWorld } from './world.ts'

const licence = (number: number) =>
  ({ kind: 'licence', awsAccountId: accountId, licenceArn: licenceArn(number) }) as const

/** An account with two customers, and a renewal that could be either's. */
async function givenUndecided() {
  const world = await createWorld()
  world.entitled({ licence: 1 }, { licence: 2 }, { licence: 3, plan: 'business' })
  const [first, second] = [await world.register(1), await world.register(2)]
  world.setClock('2026-06-20T00:10:00.000Z')
  await world.deliver(licenceEvent('Updated', licenceArn(3), { agreement: 'agmt-3' }))
  await world.deliver(agreementEvent('Created', { intent: 'RENEW' }, { agreement: 'agmt-3' }))
  return { ...world, first, second }
}

describe('a licence that waits for a decision', () => {
  test('is given to a customer, who goes on with it', async () => {
    const world = await givenUndecided()
    expect(await assign(world.deps, licenceArn(3), world.second)).toEqual({
      customerId: world.second,
      outcome: 'business',
    })
    expect(world.stateOf(world.second)).toMatchObject({ licence: licence(3), terms: { plan: 'business' } })
    expect(world.stateOf(world.first).licence).toMatchObject(licence(1))
    expect(world.reservationsOf(licence(3))).toMatchObject([{ metadata: { actor: 'operator' } }])
    expect(await listUndecided(world.database.pool)).toEqual([])
    expect(await countMessages(world.database.pool)).toMatchObject({ human: 0, handled: 2 })
  })
  test('is given to a customer of an older listing, who goes on with it from the next hour on', async () => {
    const world = await givenUndecided()
    const legacy = { kind: 'product', productCode: 'product', customerIdentifier: 'buyer' } as const
    const customerId = '33333333-3333-4333-8333-333333333333'
    await world.command(customerId, registration({ customerId, licence: legacy }))
    await assign(world.deps, licenceArn(3), customerId)
    expect(world.stateOf(customerId)).toMatchObject({
      licence: legacy,
      moving: { licence: licence(3), effectiveAt: '2026-06-20T01:00:00.000Z' },
    })
    // News of the licence meanwhile change nothing; the hour does.
    await world.deliver(licenceEvent('Updated', licenceArn(3), { agreement: 'agmt-3', requestId: 'again' }))
    expect(world.stateOf(customerId).licence).toEqual(legacy)
    world.setClock('2026-06-20T01:00:00.000Z')
    await world.command(customerId, { type: 'OpenMonth' })
    expect(world.stateOf(customerId).licence).toMatchObject(licence(3))
    expect(world.stateOf(customerId).moving).toBeUndefined()
    expect(world.typesOf(customerId).slice(-2)).toEqual(['LicenceChangeScheduled', 'LicenceChanged'])
  })
  test('is given to a new customer, whom the buyer’s next registration finds', async () => {
    const world = await givenUndecided()
    const { customerId } = await assign(world.deps, licenceArn(3), null)
    expect(await countMessages(world.database.pool)).toMatchObject({ human: 0, waiting: 2 })
    expect(await world.register(3)).toBe(customerId)
    expect([world.first, world.second]).not.toContain(customerId)
    expect(await countMessages(world.database.pool)).toMatchObject({ waiting: 0, handled: 2 })
  })
  test('is not given to nobody, to a closed customer, or twice', async () => {
    const world = await givenUndecided()
    await world.command(world.first, { type: 'DeactivateCustomer', reason: 'asked' })
    const nobody = '11111111-1111-4111-8111-111111111111'
    await expect(assign(world.deps, licenceArn(3), nobody)).rejects.toThrow(CannotAssign)
    await expect(assign(world.deps, licenceArn(3), world.first)).rejects.toThrow('is deactivated')
    await expect(assign(world.deps, licenceArn(1), world.second)).rejects.toThrow('waits for a decision')
    await assign(world.deps, licenceArn(3), world.second)
    await expect(assign(world.deps, licenceArn(3), null)).rejects.toThrow('waits for a decision')
  })
})

test('a message that failed is handled again when the operator says so', async () => {
  const world = await createWorld()
  world.entitled({ licence: 1, plan: 'gold' })
  await world.deliver(licenceEvent('Updated', licenceArn(1), { agreement: 'agmt-1' }))
  world.entitled({ licence: 1 })
  const customerId = await world.register(1)
  world.entitled({ licence: 1, plan: 'gold' })
  await world.deliver(licenceEvent('Updated', licenceArn(1), { agreement: 'agmt-1' }))
  const [failed] = await listMessages(world.database.pool, { unhandled: true })
  world.entitled({ licence: 1, plan: 'business' })
  expect(await retryMessage(world.deps, failed?.id ?? '')).toMatchObject({ state: 'handled' })
  expect(world.stateOf(customerId).terms.plan).toBe('business')
  await expect(retryMessage(world.deps, 'made-up')).rejects.toThrow('There is no message made-up.')
})

test('only a message that is not understood can be dismissed, with the reason kept', async () => {
  const world = await createWorld()
  await world.deliver(licenceEvent('Updated', licenceArn(1), { agreement: 'agmt-1' }))
  await world.deliver('{"action": "something-new"}')
  const [known, unknown] = await listMessages(world.database.pool)
  const dismiss = (id = '') => dismissMessage(world.deps, id, 'an advertisement')
  await dismiss(unknown?.id)
  expect(await listMessages(world.database.pool)).toMatchObject([
    { id: known?.id, state: known?.state },
    { state: 'handled', outcome: 'dismissed: an advertisement', body: '{"action": "something-new"}' },
  ])
  await expect(dismiss(unknown?.id)).rejects.toThrow('is handled: only one that is not understood')
  await expect(dismiss(known?.id)).rejects.toThrow('only one that is not understood')
  await expect(dismiss('made-up')).rejects.toThrow('There is no message made-up.')
})

describe('an end that an older program kept without understanding it', () => {
  const sentAt = '2026-06-16T09:00:00.000Z'
  /** @param idThen by which the older program knew it */
  async function expectTakenIn(legacyCode: string | undefined, body: string, idThen: (idNow: string) => string) {
    const world = await createWorld(undefined, legacyCode)
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    const delivery = { messageId: 'kept', sentAt, body }
    const now = readMessage(delivery)
    const id = idThen(now.id)
    await keep(world.database.pool, delivery, { ...now, id, said: { kind: 'unknown', reason: 'from the future' } })
    expect(await retryMessage(world.deps, id)).toMatchObject({ state: 'handled' })
    expect(world.stateOf(customerId).ended).toBeDefined()
    expect(await listMessages(world.database.pool, { unhandled: true })).toEqual([])
  }

  test('is taken in by a retry, where it is known by the same name', async () => {
    await expectTakenIn(productCode, notification('unsubscribe-pending', { sns: sentAt }), (id) => id)
  })
  test('and where its name says what kind it is', async () => {
    const body = licenceEvent('Deprovisioned', licenceArn(1), { agreement: 'agmt-1' })
    await expectTakenIn(undefined, body, () => `event:${JSON.parse(body).id}`)
  })
})
