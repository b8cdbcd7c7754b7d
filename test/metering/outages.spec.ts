/** Outages, ends of subscriptions and of months in virtual time, with the real SDK against the stand-in for AWS. */
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { addHours, hourMs } from '../../src/metering/rules.ts'
import { record, sealed } from './books.ts'
import { type LeaderWorld, leaderWorld } from './leading.ts'

const start = '2026-03-10T00:00:00.000Z'
let world: LeaderWorld
beforeEach(async () => {
  world = await leaderWorld(start)
  onTestFinished(() => world.stop())
})

/** One call in each hour from the start on, and one more each hour: 1, 2, 3, … */
async function callsEachHour(hours: number, from = start) {
  const customer = await world.customer()
  const ids: string[] = []
  for (let hour = 0; hour < hours; hour++) {
    ids.push(await world.calls(customer, addHours(from, hour).slice(0, 13), hour + 1))
  }
  return { customer, ids, calls: (hours * (hours + 1)) / 2 }
}
const billedCalls = () => world.aws.ledger().reduce((sum, { quantity }) => sum + quantity, 0)
const levels = (kind: string) => world.told.filter((one) => one.kind === kind).map(({ level }) => level)
const inState = (state: string) => world.records().filter((one) => one.state === state)
const until = (hours: number) => addHours(start, hours)

describe('nothing runs here', () => {
  test.each([5, 23])(
    'for %i hours: everything is billed, hour by hour',
    async (hours) => {
      const { ids, calls } = await callsEachHour(hours)
      await world.at(until(hours))
      await world.lead(world.leader(), until(hours + 2))
      expect(ids.map((id) => world.record(id).state)).toEqual(ids.map(() => 'accepted'))
      expect(billedCalls()).toBe(calls)
      expect(levels('metering_old')).toContain('alarm')
    },
    30_000,
  )

  test('for 25 hours: what is too old goes with the hour that runs, and says where it came from', async () => {
    const { ids, calls, customer } = await callsEachHour(25)
    await world.at(until(25.5))
    await world.lead(world.leader(), until(28))
    expect(inState('carried_forward').map(({ recordId }) => recordId)).toEqual(ids.slice(0, 2))
    const target = world.records().find(({ hour }) => hour === until(25))
    expect(target).toMatchObject({
      state: 'accepted',
      calls: { quantity: 0 },
      carriedFrom: [
        { recordId: ids[0], quantity: 1 },
        { recordId: ids[1], quantity: 2 },
      ],
    })
    expect(ids.slice(0, 2).map((id) => world.record(id).carriedTo)).toEqual([target?.recordId, target?.recordId])
    expect(billedCalls()).toBe(calls)
    expect(levels('metering_carried_forward')).toEqual(['warn', 'warn'])
    expect(world.types(customer.customerId)).not.toContain('RecordUnbillable')
  }, 30_000)
})

test('a leader that finds more records past their deadline than memory holds looks at them part by part', async () => {
  const overdue = sealed(record('2026-03-01T00'))
  let pages = 0
  world.tables.recordsToSend = async (limit) => {
    pages += 1
    return pages > 20 ? [] : Array.from({ length: limit }, () => overdue)
  }
  await world.leader().submit()
  expect(pages).toBeLessThan(20)
})

describe('AWS does not answer', () => {
  test.each([5, 23])(
    'for %i hours: everything is billed, and a person was told',
    async (hours) => {
      const { ids, calls } = await callsEachHour(hours)
      const leader = world.leader()
      world.aws.faults.rates({ loseCall: 0.5, loseAnswer: 1 })
      await world.lead(leader, until(hours), hourMs / 2)
      expect(billedCalls()).toBeLessThan(calls)
      world.aws.faults.none()
      await world.lead(leader, until(hours + 2))
      expect(ids.map((id) => world.record(id).state)).toEqual(ids.map(() => 'accepted'))
      expect(billedCalls()).toBe(calls)
      expect(new Set(levels('metering_old'))).toEqual(new Set(['warn', 'alarm']))
    },
    60_000,
  )

  test('for 25 hours: one record is in doubt for good, the others of its time are carried on', async () => {
    const { ids, calls } = await callsEachHour(26)
    const leader = world.leader()
    world.aws.faults.rates({ loseCall: 1 })
    await world.lead(leader, until(25.5), hourMs / 2)
    world.aws.faults.none()
    await world.lead(leader, until(29))
    const doubtful = inState('unknown')
    expect(doubtful.length).toBeGreaterThan(0)
    expect(doubtful.map(({ recordId }) => recordId)).toContain(ids[0])
    expect(doubtful.every((one) => one.attempts > 0 && one.carriedTo === null)).toBe(true)
    const lost = doubtful.reduce((sum, { sealed }) => sum + (sealed?.quantity ?? 0), 0)
    expect(billedCalls() + lost).toBe(calls)
    expect(levels('metering_unknown')).toEqual(doubtful.map(() => 'alarm'))
    // To write off what AWS took would falsify the books: both ways out are named, and what tells them apart.
    for (const { message } of world.told.filter(({ kind }) => kind === 'metering_unknown')) {
      expect(message).toMatch(/`liveness audit reconcile`.*`liveness metering accept`.*`liveness metering write-off`/)
    }
  }, 60_000)

  test('and METERING_CARRY_FORWARD is off: what was never sent is lost to us, with an alarm', async () => {
    const { ids } = await callsEachHour(2)
    await world.at(until(30))
    await world.lead(world.leader({ carryForward: false }), until(31))
    expect(ids.map((id) => world.record(id))).toMatchObject(
      ids.map(() => ({ state: 'unbillable', reason: 'deadline_missed' })),
    )
    expect(levels('metering_unbillable')).toEqual(['alarm', 'alarm'])
    expect(world.aws.calls).toEqual([])
  })
})

describe('AWS throttles for 25 hours', () => {
  test('nothing is in doubt: what became too old is carried on', async () => {
    const { calls } = await callsEachHour(3)
    const leader = world.leader()
    world.aws.faults.rates({ throttle: 1 })
    await world.lead(leader, until(26), hourMs)
    world.aws.faults.none()
    await world.lead(leader, until(30))
    expect(inState('carried_forward')).toHaveLength(3)
    expect(inState('unknown')).toEqual([])
    expect(billedCalls()).toBe(calls)
  }, 30_000)
})

describe('doubts and crashes of our own', () => {
  test('while an attempt of the customer is in doubt, nothing of them is sealed', async () => {
    const { ids, customer } = await callsEachHour(1)
    await world.at(until(2))
    const doubt = { firstEventId: 'e', customerId: customer.customerId, expectedRevision: 40n, detectionIds: [] }
    await world.doubts.record(doubt)
    const leader = world.leader()
    await leader.seal()
    expect(world.record(ids[0] ?? '').state).toBe('open')
    await world.doubts.remove('e')
    await leader.seal()
    expect(world.record(ids[0] ?? '').state).toBe('sealed')
  })

  test('a sealer that died between its append and its rows seals nothing again', async () => {
    const { ids, customer, calls } = await callsEachHour(3)
    await world.at(until(5))
    const { transaction } = world.tables
    world.tables.transaction = (work) =>
      transaction(async (tx) => {
        await work(tx)
        throw new Error('the process is dead')
      })
    await world.leader().seal()
    world.tables.transaction = transaction
    expect(world.types(customer.customerId)).toEqual(ids.map(() => 'RecordSealed'))
    expect(ids.map((id) => world.record(id).state)).toEqual(ids.map(() => 'open'))

    const next = world.leader()
    await next.seal()
    await next.submit()
    expect(world.types(customer.customerId).filter((type) => type === 'RecordSealed')).toHaveLength(3)
    expect(billedCalls()).toBe(calls)
  })
})

describe('a cancellation', () => {
  test('sends the running hour within its last hour, before everything else', async () => {
    const others = []
    for (let place = 0; place < 30; place++) others.push(await world.customer())
    for (const other of others) await world.calls(other, '2026-03-10T03', 1)
    const ending = await world.customer()
    const recordId = await world.calls(ending, '2026-03-10T04', 7, { sealEarly: 'subscription_ended' })
    await world.end(ending, '2026-03-10T04:20:00.000Z')
    world.aws.endSubscription(ending.subscriptionId, Date.parse('2026-03-10T04:20:00.000Z'))
    await world.at('2026-03-10T04:21:00.000Z')
    const leader = world.leader()
    await leader.seal()
    await leader.submit()
    expect(world.record(recordId)).toMatchObject({ state: 'accepted', lastAttemptAt: '2026-03-10T04:21:00.000Z' })
    expect(world.record(recordId).sealed).toMatchObject({ deadline: '2026-03-10T05:20:00.000Z', quantity: 7 })
    expect(world.aws.calls[0]?.body, 'in the first call').toContain(ending.licence.licenceArn)
  })

  test('that could not be sent within its hour is lost, never carried into a licence that has ended', async () => {
    const ending = await world.customer()
    const recordId = await world.calls(ending, '2026-03-10T04', 7, { sealEarly: 'subscription_ended' })
    await world.end(ending, '2026-03-10T04:20:00.000Z')
    await world.at('2026-03-10T05:30:00.000Z')
    const leader = world.leader()
    await leader.seal()
    await leader.submit()
    expect(world.record(recordId)).toMatchObject({ state: 'unbillable', reason: 'deadline_missed' })
    expect(world.aws.calls).toEqual([])
  })
})

describe('the end of a month', () => {
  const close = async (leader: ReturnType<LeaderWorld['leader']>, at: string) => {
    await world.at(at)
    await leader.seal()
    await leader.submit()
    await leader.close()
  }
  const closed = () => world.tables.dump().closed

  test('its last hour is sent by 05:57, and the month is closed at 06:00 on the 1st', async () => {
    world.clock.now = '2026-03-31T22:00:00.000Z'
    const customer = await world.customer()
    const last = await world.calls(customer, '2026-03-31T23', 5)
    const next = await world.calls(customer, '2026-04-01T00', 9)
    world.aws.faults.rates({ throttle: 1 })
    const leader = world.leader()
    await close(leader, '2026-04-01T05:00:00.000Z')
    expect(world.record(last).state).toBe('sealed')
    world.aws.faults.none()
    await close(leader, '2026-04-01T05:57:59.999Z')
    expect(world.record(last)).toMatchObject({ state: 'accepted' })
    expect(world.record(next)).toMatchObject({ state: 'accepted' })
    expect(world.billed()).toEqual([
      ['2026-03-31T23', 5],
      ['2026-04-01T00', 9],
    ])
    await close(leader, '2026-04-01T05:59:59.999Z')
    expect(closed()).toEqual([])
    await close(leader, '2026-04-01T06:00:00.000Z')
    expect(closed()).toMatchObject([
      { yearMonth: '2026-03', overageCalls: 5, overage: [{ state: 'accepted', quantity: 5 }] },
    ])
    await close(leader, '2026-04-01T07:00:00.000Z')
    expect(world.types(customer.customerId).filter((type) => type === 'MonthClosed')).toHaveLength(1)
    expect(world.kinds(), 'the throttled hour was told of, nothing else').toEqual(['metering_old'])
  })

  test('what was not sent by then is lost: the next month takes nothing of it', async () => {
    const customer = await world.customer()
    const last = await world.calls(customer, '2026-03-31T23', 5)
    const leader = world.leader()
    await close(leader, '2026-04-01T05:58:00.000Z')
    expect(world.record(last)).toMatchObject({ state: 'unbillable', reason: 'deadline_missed' })
    await close(leader, '2026-04-01T06:00:00.000Z')
    expect(closed()).toMatchObject([{ overage: [{ state: 'unbillable', records: 1, quantity: 5, carried: 0 }] }])
    expect(world.aws.calls).toEqual([])
    expect(levels('metering_unbillable')).toEqual(['alarm'])
  })

  test('an outage over the 25 hours before midnight: the old hours go with the last one of the month', async () => {
    const customer = await world.customer()
    const old = await world.calls(customer, '2026-03-30T20', 5)
    await world.at('2026-03-31T23:59:59.999Z')
    const leader = world.leader()
    await leader.seal()
    await leader.submit()
    expect(world.record(old)).toMatchObject({ state: 'carried_forward' })
    await close(leader, '2026-04-01T00:10:00.000Z')
    expect(world.billed()).toEqual([['2026-03-31T23', 5]])
    await close(leader, '2026-04-01T06:00:00.000Z')
    expect(closed()).toMatchObject([
      {
        overageCalls: 5,
        overage: [
          { state: 'accepted', records: 1, quantity: 0, carried: 5 },
          { state: 'carried_forward', records: 1, quantity: 5, carried: 0 },
        ],
      },
    ])
  })

  test('a millisecond later it is too late to carry', async () => {
    const customer = await world.customer()
    const old = await world.calls(customer, '2026-03-30T20', 5)
    await world.at('2026-04-01T00:00:00.000Z')
    const leader = world.leader()
    await leader.seal()
    await leader.submit()
    expect(world.record(old)).toMatchObject({ state: 'unbillable' })
  })
})

test('heartbeats: a zero for each idle hour, billed as nothing, and never in the way of a real quantity', async () => {
  const customer = await world.customer({}, { since: start })
  await world.calls(customer, '2026-03-10T02', 5)
  const leader = world.leader({ heartbeat: true })
  await world.lead(leader, until(5))
  const quantities = world.aws.ledger().map(({ hour, quantity }) => [hour.slice(11, 13), quantity])
  expect(quantities.toSorted()).toEqual([
    ['00', 0],
    ['01', 0],
    ['02', 5],
    ['03', 0],
  ])
  expect(world.told).toEqual([])
})
