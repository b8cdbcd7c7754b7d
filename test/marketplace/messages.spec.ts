/** Messages → the customer, through the real ledgers and tables; the pure reading of them is lifecycle.spec.ts's. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { handle } from '../../src/marketplace/handle.ts'
import { countMessages, listMessages, overdueEnds } from '../../src/marketplace/messages.ts'
import { accountId, agreementEvent, licenceArn, licenceEvent, notification, productCode } from './said.ts'
import { createWorld } from './world.ts'

const of = (agreement: number, more: object = {}) => ({ agreement: `agmt-${agreement}`, ...more })
const created = (agreement: number, intent = 'NEW') => agreementEvent('Created', { intent }, of(agreement))
const ended = (agreement: number, status: string) => agreementEvent('Ended', { status }, of(agreement))
const updated = (agreement: number) => licenceEvent('Updated', licenceArn(agreement), of(agreement))
const deprovisioned = (agreement: number) => licenceEvent('Deprovisioned', licenceArn(agreement), of(agreement))
const licence = (number: number) =>
  ({ kind: 'licence', awsAccountId: accountId, licenceArn: licenceArn(number) }) as const

async function givenCustomer(options: { plan?: string; until?: string } = {}) {
  const world = await createWorld()
  world.entitled({ licence: 1, ...options })
  const customerId = await world.register(1)
  return { world, customerId }
}

describe('an end', () => {
  test('by licence: overage stops at once, the paid month lasts', async () => {
    const { world, customerId } = await givenCustomer()
    expect(await world.deliver(deprovisioned(1))).toMatchObject({ state: 'handled' })
    expect(world.stateOf(customerId).ended).toMatchObject({
      paidUntil: '2026-07-01T00:00:00.000Z',
      reason: 'AWS Marketplace: licence deprovisioned',
    })
  })
  test('by agreement, whose licence an earlier message named; the later of the two changes nothing', async () => {
    const { world, customerId } = await givenCustomer()
    await world.deliver(updated(1))
    await world.deliver(ended(1, 'CANCELLED'))
    expect(world.stateOf(customerId).ended?.reason).toBe('AWS Marketplace: agreement agmt-1 CANCELLED')
    const events = world.eventsOf(customerId).length
    await world.deliver(deprovisioned(1))
    expect(world.eventsOf(customerId)).toHaveLength(events)
  })
  test('of an agreement whose licence nobody has named yet waits for it', async () => {
    const { world, customerId } = await givenCustomer()
    expect(await world.deliver(ended(1, 'EXPIRED'))).toMatchObject({ state: 'waiting' })
    expect(world.stateOf(customerId).ended).toBeUndefined()
    await world.deliver(updated(1))
    expect(world.stateOf(customerId).ended).toBeDefined()
    expect(await countMessages(world.database.pool)).toMatchObject({ waiting: 0, handled: 2 })
  })
  test('that waits for more than an hour is told of', async () => {
    const { world } = await givenCustomer()
    await world.deliver(ended(7, 'EXPIRED'))
    expect(await overdueEnds(world.database.pool)).toEqual([])
    await world.database.pool.query("update marketplace_messages set received_at = now() - interval '61 minutes'")
    expect(await overdueEnds(world.database.pool)).toHaveLength(1)
  })
  test('by entitlements: when AWS lists nothing any more', async () => {
    const { world, customerId } = await givenCustomer()
    world.entitled()
    await world.deliver(updated(1))
    expect(world.stateOf(customerId).ended?.reason).toBe('AWS Marketplace: no entitlement is left')
  })
  test('is not undone by an update that comes late, though AWS should still list the entitlement', async () => {
    const { world, customerId } = await givenCustomer()
    await world.deliver(deprovisioned(1))
    await world.deliver(updated(1))
    expect(world.stateOf(customerId).ended).toBeDefined()
  })
  test('that was delivered before is not handled again', async () => {
    const { world } = await givenCustomer()
    const body = deprovisioned(1)
    await world.deliver(body)
    expect(await world.deliver(body)).toEqual({ state: 'handled', outcome: 'delivered again' })
    expect(await listMessages(world.database.pool)).toHaveLength(1)
  })
  test('before anybody registered ends nothing', async () => {
    const world = await createWorld()
    expect(await world.deliver(deprovisioned(1))).toMatchObject({ state: 'handled' })
    expect(world.store.all()).toEqual([])
  })
})

describe('a renewal', () => {
  test('is no end: the customer gets the new licence and term, and service goes on', async () => {
    const { world, customerId } = await givenCustomer({ until: '2026-07-15T10:00:00.000Z' })
    await world.deliver(updated(1))
    world.setClock('2026-07-15T10:00:05.000Z')
    world.entitled({ licence: 2, until: '2026-08-15T10:00:00.000Z' })
    expect(await world.deliver(ended(1, 'RENEWED'))).toMatchObject({ state: 'waiting' })
    await world.deliver(created(2, 'RENEW'))
    await world.deliver(updated(2))
    await world.deliver(deprovisioned(1))
    expect(world.typesOf(customerId).slice(2)).toEqual(['MonthlyCreditsGranted', 'LicenceChanged'])
    expect(world.stateOf(customerId)).toMatchObject({
      ended: undefined,
      licence: { ...licence(2), termStart: '2026-07-15T10:00:05.000Z', termEnd: '2026-08-15T10:00:00.000Z' },
    })
    expect(await countMessages(world.database.pool)).toMatchObject({ waiting: 0, handled: 5 })
  })
  test('whose old licence is deprovisioned before it is known to be one, ends and resumes', async () => {
    const { world, customerId } = await givenCustomer()
    await world.deliver(updated(1))
    await world.deliver(deprovisioned(1))
    world.setClock('2026-06-15T10:21:00.000Z')
    world.entitled({ licence: 2 })
    await world.deliver(updated(2))
    expect(world.stateOf(customerId).ended).toBeDefined()
    await world.deliver(created(2, 'REPLACE'))
    expect(world.stateOf(customerId)).toMatchObject({ ended: undefined, licence: licence(2) })
    expect(world.typesOf(customerId).slice(2)).toEqual(['SubscriptionEnded', 'SubscriptionResumed'])
  })
  test('a new purchase is nobody’s renewal: it waits for its buyer, whose registration settles it', async () => {
    const { world, customerId } = await givenCustomer()
    world.entitled({ licence: 1 }, { licence: 2, plan: 'starter' })
    await world.deliver(created(2, 'NEW'))
    expect(await world.deliver(updated(2))).toEqual({ state: 'waiting', outcome: 'the buyer has not registered yet' })
    expect(await world.register(2)).not.toBe(customerId)
    expect(await countMessages(world.database.pool)).toMatchObject({ waiting: 0, handled: 2 })
  })
  test('of an account with several customers is for a human to decide', async () => {
    const { world } = await givenCustomer()
    world.entitled({ licence: 1 }, { licence: 2 }, { licence: 3 })
    await world.register(2)
    await world.deliver(updated(3))
    expect(await world.deliver(created(3, 'RENEW'))).toMatchObject({ state: 'human' })
    expect(world.alarms).toHaveLength(1)
    expect(await countMessages(world.database.pool)).toMatchObject({ human: 2 })
  })
})

describe('plans and terms', () => {
  test('an upgrade takes effect at once, with the new limit', async () => {
    const { world, customerId } = await givenCustomer()
    world.entitled({ licence: 1, plan: 'business' })
    await world.deliver(updated(1))
    expect(world.stateOf(customerId).terms).toMatchObject({ plan: 'business', monthlyLimit: 30_000 })
  })
  test('a downgrade at the renewal waits for the next UTC month, however often it is read', async () => {
    const { world, customerId } = await givenCustomer({ plan: 'business', until: '2026-07-15T10:00:00.000Z' })
    world.setClock('2026-07-15T10:00:05.000Z')
    world.entitled({ licence: 1, plan: 'starter', until: '2026-08-15T10:00:00.000Z' })
    await world.deliver(updated(1))
    await world.deliver(updated(1))
    expect(world.stateOf(customerId)).toMatchObject({
      terms: { plan: 'business' },
      scheduled: { plan: 'starter', effectiveMonth: '2026-08', origin: 'marketplace' },
      licence: { termEnd: '2026-08-15T10:00:00.000Z' },
    })
    expect(world.typesOf(customerId).filter((type) => type === 'PlanChangeScheduled')).toHaveLength(1)
  })
  test('a downgrade in the middle of a term waits for the first month after its end', async () => {
    const { world, customerId } = await givenCustomer({ plan: 'business', until: '2026-09-15T10:00:00.000Z' })
    world.entitled({ licence: 1, plan: 'starter', until: '2026-09-15T10:00:00.000Z' })
    await world.deliver(updated(1))
    expect(world.stateOf(customerId).scheduled).toMatchObject({ plan: 'starter', effectiveMonth: '2026-10' })
  })
  test('a downgrade that is taken back is cancelled', async () => {
    const { world, customerId } = await givenCustomer({ plan: 'business' })
    world.entitled({ licence: 1, plan: 'starter' })
    await world.deliver(updated(1))
    world.entitled({ licence: 1, plan: 'business' })
    await world.deliver(updated(1))
    expect(world.stateOf(customerId)).toMatchObject({ terms: { plan: 'business' }, scheduled: undefined })
  })
  test('the term moves on when AWS renews the same licence; its start stays', async () => {
    const { world, customerId } = await givenCustomer({ until: '2026-07-15T10:00:00.000Z' })
    world.setClock('2026-07-15T10:00:05.000Z')
    world.entitled({ licence: 1, until: '2026-08-15T10:00:00.000Z' })
    await world.deliver(updated(1))
    expect(world.stateOf(customerId).licence).toMatchObject({
      termStart: '2026-06-15T10:20:30.000Z',
      termEnd: '2026-08-15T10:00:00.000Z',
    })
  })
  test('what is bought and no plan of ours is for a human, with an alarm', async () => {
    const { world, customerId } = await givenCustomer()
    world.entitled({ licence: 1, plan: 'gold' })
    expect(await world.deliver(updated(1))).toEqual({ state: 'human', outcome: 'no plan is called gold' })
    expect(world.alarms).toHaveLength(1)
    expect(world.stateOf(customerId).ended).toBeUndefined()
  })
})

test('a message that is not understood is kept and reported', async () => {
  const world = await createWorld()
  expect(await world.deliver('{"action": "something-new"}')).toEqual({ state: 'unknown' })
  expect(await listMessages(world.database.pool, { unhandled: true })).toMatchObject([
    { kind: 'unknown', state: 'unknown', body: '{"action": "something-new"}' },
  ])
  expect(world.alarms).toHaveLength(1)
})

describe('a legacy subscription', () => {
  async function givenLegacy() {
    const world = await createWorld(undefined, productCode)
    world.entitled({ licence: 1 })
    const customerId = await world.register(1)
    return { world, customerId }
  }
  test('ends with unsubscribe-pending, and resumes when it is taken up again before unsubscribe-success came', async () => {
    const { world, customerId } = await givenLegacy()
    await world.deliver(notification('unsubscribe-pending', { sns: '2026-06-16T09:00:00.000Z' }))
    expect(world.stateOf(customerId).ended).toBeDefined()
    await world.deliver(notification('subscribe-success', { sns: '2026-06-16T09:20:00.000Z' }))
    expect(world.stateOf(customerId).ended).toBeUndefined()
    // Late, and older than the new subscription.
    await world.deliver(notification('unsubscribe-success', { sns: '2026-06-16T09:10:00.000Z' }))
    expect(world.stateOf(customerId).ended).toBeUndefined()
  })
  test('an end that another process takes in meanwhile is not undone', async () => {
    const { world, customerId } = await givenLegacy()
    await world.deliver(notification('unsubscribe-pending', { sns: '2026-06-16T09:00:00.000Z' }))
    const again = notification('unsubscribe-pending', { sns: '2026-06-16T09:30:00.000Z' })
    let delivered = false
    const slow: typeof world.deps = {
      ...world.deps,
      async readEntitlements(party) {
        if (!delivered) {
          delivered = true
          await world.deliver(again)
        }
        return world.deps.readEntitlements(party)
      },
    }
    const body = notification('subscribe-success', { sns: '2026-06-16T09:20:00.000Z' })
    await handle(slow, { messageId: 'slow', sentAt: '2026-06-16T09:20:00.000Z', body })
    expect(world.stateOf(customerId).ended).toBeDefined()
    expect(world.typesOf(customerId).slice(2)).toEqual([
      'SubscriptionEnded',
      'SubscriptionResumed',
      'SubscriptionEnded',
    ])
  })
  test('entitlement-updated reads the entitlements anew', async () => {
    const { world, customerId } = await givenLegacy()
    world.entitled({ licence: 1, plan: 'professional' })
    await world.deliver(notification('entitlement-updated'))
    expect(world.stateOf(customerId).terms.plan).toBe('professional')
    world.entitled()
    await world.deliver(notification('entitlement-updated'))
    expect(world.stateOf(customerId).ended).toBeDefined()
  })
  test('messages about somebody else change nothing', async () => {
    const { world, customerId } = await givenLegacy()
    await world.deliver(notification('unsubscribe-pending', { customer: 'SOMEBODY' }))
    await world.deliver(notification('unsubscribe-pending', { product: 'another' }))
    expect(world.stateOf(customerId).ended).toBeUndefined()
  })
})

test('whatever the order and number of deliveries of a renewal and a later end, the customer ends up the same', async () => {
  const bodies = [updated(1), ended(1, 'RENEWED'), created(2, 'RENEW'), updated(2), deprovisioned(1)]
  const end = [ended(2, 'CANCELLED'), deprovisioned(2)]
  const shuffled = (all: readonly string[]) =>
    fc
      .tuple(
        fc.shuffledSubarray([...all], { minLength: all.length }),
        fc.array(fc.constantFrom(...all), { maxLength: 4 }),
      )
      .map(([each, again]) => [...each, ...again])
  await fc.assert(
    fc.asyncProperty(shuffled(bodies), shuffled(end), async (renewal, over) => {
      const { world, customerId } = await givenCustomer()
      try {
        world.setClock('2026-06-20T00:00:00.000Z')
        world.entitled({ licence: 2 })
        for (const body of renewal) await world.deliver(body)
        expect(world.stateOf(customerId)).toMatchObject({ ended: undefined, licence: licence(2) })
        for (const body of over) await world.deliver(body)
        expect(world.stateOf(customerId)).toMatchObject({ ended: { licence: licence(2) }, licence: licence(2) })
        expect(await countMessages(world.database.pool)).toMatchObject({ waiting: 0, human: 0, failed: 0, handled: 7 })
      } finally {
        await world.close()
      }
    }),
    { numRuns: 20 },
  )
}, 120_000)
