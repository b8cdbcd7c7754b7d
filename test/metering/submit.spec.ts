/** Sealing and sending with the real SDK against the stand-in for AWS: what is billed, and what is in the log. */
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { awsBatchMeterUsage } from '../../src/marketplace/batch-meter-usage.ts'
import { addMs, hourMs } from '../../src/metering/rules.ts'
import { batchMeterUsageRequest } from '../aws/state.ts'
import { type LeaderWorld, leaderWorld } from './leading.ts'

let world: LeaderWorld
beforeEach(async () => {
  world = await leaderWorld('2026-03-10T15:00:00.000Z')
  onTestFinished(() => world.stop())
})

/** Customers with calls in the hour of 14:00, at the moment when it may be sealed. */
async function given(customers: number) {
  const all = []
  for (let place = 0; place < customers; place++) {
    const customer = await world.customer()
    all.push({ ...customer, recordId: await world.calls(customer, '2026-03-10T14', 5 + place) })
  }
  await world.at('2026-03-10T15:10:00.000Z')
  const leader = world.leader()
  await leader.seal()
  return { all, leader }
}
async function givenOne() {
  const { all, leader } = await given(1)
  const [customer] = all
  if (customer === undefined) throw new Error('no customer')
  return { ...customer, leader }
}
const bodies = () => world.aws.calls.map(({ body }) => body)

describe('a record', () => {
  test('is sealed, attempted, sent and accepted, in this order in the log, and billed once', async () => {
    const { leader, customerId, recordId } = await givenOne()
    await leader.submit()
    await leader.seal()
    await leader.submit()
    expect(world.types(customerId)).toEqual(['RecordSealed', 'SubmissionAttempted', 'RecordAccepted'])
    expect(world.billed()).toEqual([['2026-03-10T14', 5]])
    expect(world.record(recordId)).toMatchObject({ state: 'accepted', attempts: 1 })
    expect(world.record(recordId).meteringRecordId).toBe(world.aws.ledger()[0]?.meteringRecordId)
    expect(world.told).toEqual([])
  })

  test('of a call whose attempt could not be written down is not sent', async () => {
    const { leader, customerId } = await givenOne()
    world.store.onSend = () => ({ requestLost: true })
    await leader.submit()
    expect(world.aws.calls).toEqual([])
    expect(world.troubles.join()).toContain(customerId)
  }, 20_000)

  test('keeps its answer where the clock leaves service during the call', async () => {
    const { customerId, recordId } = await givenOne()
    const leader = world.leader({}, (decideFor) => async (...decision) => {
      const events = await decideFor(...decision)
      world.clock.inService = false
      return events
    })
    await leader.submit()
    expect(world.troubles).toEqual([])
    expect(world.record(recordId)).toMatchObject({ state: 'accepted', doubtful: false })
    const [, attempted, accepted] = world.log(customerId)
    expect(accepted?.type).toBe('RecordAccepted')
    expect([attempted?.data.occurredAt, accepted?.data.occurredAt].toSorted()[0]).toBe(attempted?.data.occurredAt)
  })

  test('is not attempted when the lead is lost', async () => {
    const { leader, customerId } = await givenOne()
    await leader.submit(AbortSignal.abort())
    expect(world.aws.calls).toEqual([])
    expect(world.types(customerId)).toEqual(['RecordSealed'])
  })

  test('that is sealed while METERING_SUBMIT is off is never sent, also when it is on again', async () => {
    const customer = await world.customer()
    const recordId = await world.calls(customer, '2026-03-10T14', 5)
    await world.at('2026-03-10T15:10:00.000Z')
    const off = world.leader({ submit: false })
    await off.seal()
    await off.submit()
    expect(world.record(recordId)).toMatchObject({ state: 'not_submittable', sealed: { submission: 'off' } })
    await world.lead(world.leader(), '2026-03-12T00:00:00.000Z')
    expect(world.aws.calls).toEqual([])
    expect(world.types(customer.customerId)).toEqual(['RecordSealed'])
  })

  test('waits while METERING_SUBMIT is off, and is lost at its deadline, with an alarm', async () => {
    const { customerId } = await givenOne()
    await world.lead(world.leader({ submit: false }), '2026-03-11T14:10:00.000Z')
    expect(world.aws.calls).toEqual([])
    expect(world.types(customerId)).toEqual(['RecordSealed', 'RecordUnbillable'])
    expect(world.kinds()).toContain('metering_unbillable')
  })
})

test.each([
  ['within a month', '2026-03-10T14', '2026-03-10T12:50:00.000Z'],
  ['over its beginning', '2026-04-01T00', '2026-03-31T22:50:00.000Z'],
])(
  'what was sealed by a clock that was ahead is billed in its hour once the clock is right, %s',
  async (_, hour, right) => {
    const recordId = await world.calls(await world.customer(), hour, 5)
    const start = `${hour}:00:00.000Z`
    await world.at(addMs(start, hourMs + 600_000))
    const leader = world.leader()
    await leader.seal()
    for (const now of [right, addMs(start, hourMs + 900_000)]) {
      world.clock.now = now
      await leader.submit()
    }
    expect(world.record(recordId)).toMatchObject({ state: 'accepted', attempts: 1 })
    expect(world.billed()).toEqual([[hour, 5]])
    expect(world.kinds()).toEqual([])
  },
)

describe('retries', () => {
  test.each([
    ['no answer', { kind: 'lose_answer' }, 'unknown', []],
    ['a call that never arrives', { kind: 'lose_call' }, 'unknown', []],
    ['a 5xx', { kind: 'exception', name: 'InternalServiceErrorException', status: 500 }, 'unknown', ['server_error']],
    ['a 5xx of a proxy after AWS took it', { kind: 'body', status: 502, body: '<html>' }, 'unknown', ['server_error']],
    ['throttling', { kind: 'exception', name: 'ThrottlingException' }, 'sealed', ['throttled']],
    ['UnprocessedRecords', { kind: 'unprocessed', records: 'all' }, 'sealed', ['unprocessed']],
    ['an answer without the record', { kind: 'omit', records: [0] }, 'unknown', []],
  ] as const)('%s: the same bytes again, billed once', async (_, fault, state, answers) => {
    const { leader, customerId, recordId } = await givenOne()
    world.aws.faults.next('BatchMeterUsage', structuredClone(fault) as Parameters<typeof world.aws.faults.next>[1])
    await leader.submit()
    expect(world.record(recordId).state).toBe(state)

    await leader.submit()
    expect(world.aws.calls, 'not before the pause is over').toHaveLength(1)
    await world.at('2026-03-10T15:11:00.000Z')
    await leader.submit()
    expect(new Set(bodies()).size).toBe(1)
    expect(bodies()).toHaveLength(2)
    expect(world.billed()).toEqual([['2026-03-10T14', 5]])
    const events = world.log(customerId)
    expect(events.flatMap(({ type, data }) => (type === 'SubmissionAnswered' ? [data.answer] : []))).toEqual(answers)
    expect(events.at(-1)).toMatchObject({ type: 'RecordAccepted', data: { attempt: 2 } })
    expect(world.record(recordId)).toMatchObject({ state: 'accepted', doubtful: false, attempts: 2 })
  })

  test('an attempt whose answer was lost with the process is sent again and billed once', async () => {
    const { customerId, recordId } = await givenOne()
    let decisions = 0
    const dying = world.leader({}, (decideFor) => async (...args) => {
      decisions += 1
      if (decisions > 1) throw new Error('the process is dead')
      return decideFor(...args)
    })
    await dying.submit()
    expect(world.types(customerId)).toEqual(['RecordSealed', 'SubmissionAttempted'])
    expect(world.record(recordId)).toMatchObject({ state: 'unknown' })

    await world.at('2026-03-10T15:11:00.000Z')
    await world.leader().submit()
    expect(world.record(recordId)).toMatchObject({ state: 'accepted', attempts: 2 })
    expect(world.billed()).toEqual([['2026-03-10T14', 5]])
  })

  test('two leaders at once: one record, billed once', async () => {
    const customer = await world.customer()
    const recordId = await world.calls(customer, '2026-03-10T14', 5)
    await world.at('2026-03-10T15:10:00.000Z')
    const [one, other] = [world.leader(), world.leader()]
    await Promise.all([one.seal(), other.seal()])
    await Promise.all([one.submit(), other.submit()])
    const types = world.types(customer.customerId)
    expect(types.filter((type) => type === 'RecordSealed')).toHaveLength(1)
    expect(types.filter((type) => type === 'SubmissionAttempted')).toHaveLength(1)
    expect(world.billed()).toEqual([['2026-03-10T14', 5]])
    expect(world.record(recordId).state).toBe('accepted')
  })
})

describe('an outage of AWS', () => {
  test('risks one record at a time, and not the rest of the hour', async () => {
    const { all, leader } = await given(40)
    world.aws.faults.rates({ loseCall: 1 })
    await leader.submit()
    for (let minute = 11; minute < 60; minute++) {
      await world.at(`2026-03-10T15:${minute}:00.000Z`)
      await leader.submit()
    }
    const doubtful = world.records().filter(({ state }) => state === 'unknown')
    // The first call was full; after that, one that is not in doubt yet only after 4 and 16 failures.
    expect(doubtful.length).toBeLessThanOrEqual(27)
    expect(
      bodies()
        .slice(1)
        .every((body) => batchMeterUsageRequest.parse(JSON.parse(body)).UsageRecords.length === 1),
    ).toBe(true)

    world.aws.faults.none()
    await world.lead(leader, '2026-03-10T17:00:00.000Z', 60_000)
    expect(world.records().map(({ state }) => state)).toEqual(all.map(() => 'accepted'))
    expect(world.billed()).toHaveLength(40)
  }, 60_000)

  test('a region without the API, or no credentials, stops sending and calls a person; nothing is in doubt', async () => {
    const { leader, recordId } = await givenOne()
    world.aws.disableRegions(['us-east-1'])
    await leader.submit()
    expect(world.kinds()).toEqual(['metering_misconfigured'])
    expect(world.record(recordId)).toMatchObject({ state: 'sealed', doubtful: false })
    await world.at('2026-03-10T15:10:59.000Z')
    await leader.submit()
    expect(world.aws.calls).toHaveLength(1)

    world.aws.disableRegions([])
    await world.at('2026-03-10T15:11:00.000Z')
    await leader.submit()
    expect(world.record(recordId)).toMatchObject({ state: 'accepted' })
  })
})

describe('refusals', () => {
  test.each([1, 3])(
    '%i poison records in a call of 25 are found; the others are billed, none twice',
    async (poison) => {
      await given(25 - poison)
      const poisoned: string[] = []
      while (poisoned.length < poison) {
        const unknown = await world.customer({}, { unknownToAws: true })
        poisoned.push(await world.calls(unknown, '2026-03-10T14', 1))
      }
      const leader = world.leader()
      await leader.seal()
      await leader.submit()
      const states = world.records().map(({ state }) => state)
      expect(states.filter((state) => state === 'accepted')).toHaveLength(25 - poison)
      for (const recordId of poisoned) {
        expect(world.record(recordId)).toMatchObject({ state: 'refused' })
        expect(world.record(recordId).lastAnswer).toMatch(/^InvalidLicenseException: /)
      }
      expect(world.billed()).toHaveLength(25 - poison)
      expect(world.aws.billedTwice()).toEqual([])
      // Two halves of 25 = 2^4.6 for each.
      expect(world.aws.calls.length).toBeLessThanOrEqual(1 + poison * 10)
      expect(world.kinds()).toEqual(poisoned.map(() => 'metering_refused'))
      expect(world.troubles).toEqual([])
    },
    60_000,
  )

  test('DuplicateRecord: what AWS holds stays, and a person is told that the books differ', async () => {
    const { leader, customerId, recordId, licence } = await givenOne()
    // As a restored older event store would have it: the hour was sent before, with another quantity.
    const { kind, awsAccountId, licenceArn } = licence
    const identity = { kind, awsAccountId, licenceArn }
    const hour = { dimension: 'standard_over', timestamp: '2026-03-10T14:00:00.000Z' }
    await awsBatchMeterUsage()('us-east-1', [{ recordId, identity, ...hour, quantity: 4 }])

    await leader.submit()
    expect(world.log(customerId).at(-1)).toMatchObject({ type: 'RecordRefused', data: { code: 'DuplicateRecord' } })
    await world.lead(leader, '2026-03-11T15:00:00.000Z', hourMs)
    expect(world.record(recordId)).toMatchObject({ state: 'refused', attempts: 1 })
    expect(world.kinds()).toEqual(['metering_refused'])
    expect(world.billed()).toEqual([['2026-03-10T14', 4]])
  })

  test('CustomerNotSubscribed is held until the deadline, then lost, never carried', async () => {
    const { leader, customerId, subscriptionId, recordId } = await givenOne()
    world.aws.suspend(subscriptionId)
    await leader.submit()
    expect(world.record(recordId)).toMatchObject({ state: 'sealed', lastAnswer: 'not_subscribed' })
    await world.lead(leader, '2026-03-11T13:57:00.000Z', 2 * hourMs)
    expect(world.record(recordId).state).toBe('sealed')
    await world.at('2026-03-11T13:58:00.000Z')
    await leader.submit()
    expect(world.record(recordId)).toMatchObject({ state: 'unbillable', reason: 'not_subscribed' })
    expect(world.kinds()).toContain('metering_unbillable')
    expect(world.types(customerId).filter((type) => type === 'RecordCarriedForward')).toEqual([])
    expect(world.billed()).toEqual([])
  }, 30_000)

  test('a customer who subscribes again in time is billed', async () => {
    const { leader, subscriptionId, recordId } = await givenOne()
    world.aws.suspend(subscriptionId)
    await leader.submit()
    await world.lead(leader, '2026-03-10T20:00:00.000Z')
    world.aws.suspend(subscriptionId, false)
    await world.lead(leader, '2026-03-10T20:30:00.000Z')
    expect(world.record(recordId)).toMatchObject({ state: 'accepted' })
  })
})

test('a held backlog hides nothing that can be sent', async () => {
  const held = await world.customer()
  world.aws.suspend(held.subscriptionId)
  for (let hour = 0; hour < 10; hour++) await world.calls(held, `2026-03-10T0${hour}`, 1)
  const leader = world.leader()
  await world.at('2026-03-10T12:00:00.000Z')
  await leader.seal()
  await leader.submit()
  const other = await world.customer()
  const sent = await world.calls(other, '2026-03-10T11', 3)
  await world.at('2026-03-10T12:10:00.000Z')
  await leader.seal()
  await leader.submit()
  expect(world.record(sent).state).toBe('accepted')
})

test('calls are paced below what AWS takes in a second', async () => {
  const { leader } = await given(26 * 3)
  const started = performance.now()
  await leader.submit()
  expect(world.aws.calls).toHaveLength(4)
  expect(performance.now() - started).toBeGreaterThanOrEqual(3 * 120)
  expect(world.billed()).toHaveLength(26 * 3)
}, 30_000)
