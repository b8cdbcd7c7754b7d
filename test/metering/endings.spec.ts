/**
 * The end of a subscription while nothing comes from the feed: AWS takes its last hour for one hour more, so that hour
 * is sealed from the customer's stream itself. The stand-in refuses what comes later.
 */
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { meteringStream } from '../../src/events/metering.ts'
import type { Position, PositionedEvent } from '../../src/eventstore/store.ts'
import { chunkSize } from '../../src/metering/catch-up.ts'
import { type Endings, followEndings } from '../../src/metering/endings.ts'
import { createRounds } from '../../src/metering/rounds.ts'
import { createSubmitter } from '../../src/metering/submit.ts'
import { type DirectAws, directBatchMeterUsage } from '../aws/direct.ts'
import { emptyAws } from '../aws/state.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { customerId } from '../support/given.ts'
import { memoryTables } from '../support/memory-tables.ts'
import { rules } from './books.ts'
import { meteringWorld, partition, processOn, rowsOf } from './consuming.ts'
import { licence } from './story.ts'

const at = (time: string) => `2026-03-10T${time}.000Z`
const end: CustomerCommand = { type: 'EndSubscription', licence: licence(1), reason: 'cancelled' }

let world: ReturnType<typeof meteringWorld>
let now: string
let aws: DirectAws
let endings: Endings
let rounds: ReturnType<typeof createRounds>
let submitter: ReturnType<typeof createSubmitter>
let deps: Parameters<typeof createRounds>[0] & Parameters<typeof createSubmitter>[0]
const doubts = memoryDoubts()
const told: string[] = []
const running = new AbortController()

beforeEach(async () => {
  world = meteringWorld()
  now = at('10:00:00')
  told.length = 0
  await world.registers()
  await world.call(at('10:01:00'))
  await world.tick(at('10:05:00'))
  await world.catchUp()

  const subscription = (serial: number) => ({
    ...{ productCode: 'product', awsAccountId: licence(serial).awsAccountId, licenceArn: licence(serial).licenceArn },
    ...{ id: licence(serial).licenceArn, customerIdentifier: null, startsAt: 0, endedAt: null, suspended: false },
  })
  aws = {
    state: {
      ...emptyAws,
      products: new Map([['product', ['standard_over', 'business_over']]]),
      subscriptions: [subscription(1), subscription(2)],
    },
  }
  startLeader()
})

/** A process that seals and sends; it reaches the event store and Postgres, and neither relay nor Kafka. */
function startLeader(): void {
  const { store, tables, decideFor } = world
  const following = new AbortController()
  onTestFinished(() => following.abort())
  const onTrouble = (...trouble: unknown[]) => void told.push(trouble.join(' '))
  endings = followEndings({ store, tables, signal: following.signal, onTrouble })
  const alarms = { onAlarm: (kind: string) => void told.push(kind), onWarn: () => {} }
  const batchMeterUsage = directBatchMeterUsage(
    aws,
    () => Date.parse(now),
    () => null,
  )
  deps = { tables, decideFor, doubts, endings, rules, now: () => now, alarms, onTrouble, batchMeterUsage }
  rounds = createRounds(deps)
  submitter = createSubmitter(deps)
}

/** One round of the leader at that time, once it knows of the newest end. */
async function round(time: string): Promise<void> {
  now = time
  await expect.poll(() => endings.standing().size).toBeGreaterThan(0)
  await rounds.seal(running.signal)
  await submitter.step(running.signal)
}

function subscriptionEndsAtAws(time: string): void {
  const subscriptions = aws.state.subscriptions.map((one) =>
    one.id === licence(1).licenceArn ? { ...one, endedAt: Date.parse(time) } : one,
  )
  aws.state = { ...aws.state, subscriptions }
}

const seals = () =>
  world.store
    .stream(meteringStream(customerId))
    .filter(({ type }) => type === 'RecordSealed')
    .map(({ data }) => data)
const billed = () => [...aws.state.billed.values()].map(({ hour, quantity }) => `${hour.slice(11, 13)}: ${quantity}`)

/** The feed is back: it brings everything, repeats some of it, and finds nothing missing. */
async function feedIsBack(time: string): Promise<void> {
  now = time
  await world.tick(time)
  await world.catchUp()
  await world.catchUp()
  await rounds.seal(running.signal)
  await submitter.step(running.signal)
  expect(world.rows()).toEqual(await world.rebuilt())
  expect(world.alarms).toEqual([])
  expect(told).toEqual([])
}

describe('the feed stands still while a subscription ends', () => {
  test('its last hours are billed in time, and once; what the feed brings later changes nothing', async () => {
    await world.call(at('11:59:59'))
    await world.call(at('12:10:00'))
    await world.call(at('12:20:00'))
    await world.does(at('12:20:00'), end)
    subscriptionEndsAtAws(at('12:20:00'))

    await round(at('12:20:29'))
    expect(seals()).toEqual([])
    await round(at('12:20:30'))
    expect(seals()).toMatchObject([
      { hour: at('10:00:00'), quantity: 1, cause: 'subscription_ended', deadline: at('13:20:00') },
      { hour: at('11:00:00'), quantity: 1, cause: 'subscription_ended', deadline: at('13:20:00') },
      { hour: at('12:00:00'), quantity: 2, cause: 'subscription_ended', deadline: at('13:20:00') },
    ])
    expect(billed()).toEqual(['10: 1', '11: 1', '12: 2'])
    // The rows stand where the feed has brought them: its counts are still worth something.
    expect(world.records()).toMatchObject([
      { calls: { quantity: 1 }, state: 'accepted' },
      { calls: { quantity: 0 }, state: 'accepted' },
      { calls: { quantity: 0 }, state: 'accepted' },
    ])

    await round(at('12:20:31'))
    expect(endings.standing().size).toBe(0)
    await feedIsBack(at('18:00:00'))
    expect(world.lines()).toEqual(['10: 1 accepted', '11: 1 accepted', '12: 2 accepted'])
    expect(seals()).toHaveLength(3)
    expect(billed()).toHaveLength(3)
  })

  test('what is too old for AWS by then goes with the last hour', async () => {
    const next = (time: string) => `2026-03-11T${time}.000Z`
    await world.call(next('10:10:00'))
    await world.does(next('10:20:00'), end)
    subscriptionEndsAtAws(next('10:20:00'))
    await round(next('10:20:30'))
    await round(next('10:20:31'))
    expect(seals()).toMatchObject([
      { hour: at('10:00:00'), quantity: 1 },
      { hour: next('10:00:00'), quantity: 2, ownQuantity: 1, carriedFrom: [{ quantity: 1 }] },
    ])
    expect(billed()).toEqual(['10: 2'])
    await feedIsBack(next('18:00:00'))
    expect(world.lines()).toEqual(['10: 1 carried_forward', '10: 1 accepted'])
  })

  test('the rows are those of a feed that never lagged', async () => {
    await world.call(at('12:10:00'))
    await world.does(at('12:20:00'), end)
    const punctual = memoryTables()
    const consumer = processOn(world.store, punctual)
    await consumer.catchUp()
    await round(at('12:20:30'))
    await feedIsBack(at('18:00:00'))
    await consumer.catchUp()
    await consumer.decideFor(customerId, () => [])
    expect(world.rows()).toEqual(rowsOf(punctual))
  })

  test('a customer of whom the feed has brought nothing yet is no exception', async () => {
    const empty = memoryTables()
    Object.assign(world, { tables: empty, ...processOn(world.store, empty) })
    startLeader()
    await world.call(at('12:10:00'))
    await world.does(at('12:20:00'), end)
    await round(at('12:20:30'))
    expect(billed()).toEqual(['10: 1', '12: 1'])
    expect(await empty.transaction((tx) => tx.foldedCount(partition))).toBe(0n)
    await world.tick(at('18:00:00'))
    await world.catchUp()
    expect(rowsOf(empty)).toEqual(await world.rebuilt())
    expect(world.alarms).toEqual([])
  })

  test('a licence that is replaced: its hours are sealed and sent, and the new one goes on', async () => {
    await world.call(at('12:10:00'))
    await world.does(at('12:20:00'), { type: 'ChangeLicence', licence: licence(2), reason: 'renewed' })
    await world.call(at('12:30:00'))
    await round(at('12:31:00'))
    expect(seals()).toMatchObject([
      { hour: at('10:00:00'), quantity: 1, cause: 'licence_replaced' },
      { hour: at('12:00:00'), quantity: 1, cause: 'licence_replaced' },
    ])
    await feedIsBack(at('13:30:00'))
    expect(seals()).toMatchObject([{}, {}, { recordId: expect.stringContaining('l-2'), cause: 'hour_over' }])
    expect(billed()).toEqual(['10: 1', '12: 1', '12: 1'])
  })

  test('an ended subscription that goes on under the same licence within the hour', async () => {
    await world.call(at('12:10:00'))
    await world.does(at('12:20:00'), end)
    await round(at('12:20:30'))
    await world.does(at('12:25:00'), { type: 'ResumeSubscription', licence: licence(1) })
    // AWS has this hour: what comes now goes with the next.
    await world.call(at('12:30:00'))
    await round(at('12:31:00'))
    expect(billed()).toEqual(['10: 1', '12: 1'])
    await world.tick(at('18:00:00'))
    await world.catchUp()
    expect(world.lines()).toEqual(['10: 1 accepted', '12: 1 accepted', '13: 1 open'])
    expect(world.rows()).toEqual(await world.rebuilt())
  })

  describe('and goes on under another licence before anything is sealed', () => {
    const resumes: CustomerCommand = { type: 'ResumeSubscription', licence: licence(2) }
    beforeEach(async () => {
      await world.call(at('12:10:00'))
      await world.does(at('12:20:00'), end)
      subscriptionEndsAtAws(at('12:20:00'))
      await world.does(at('13:00:00'), resumes)
      await world.call(at('13:05:00'))
    })
    const ofTheFirst = { cause: 'subscription_ended', deadline: at('13:20:00') }

    test('the hours of the first are still sealed as those of an ended one', async () => {
      await round(at('13:10:00'))
      expect(seals()).toMatchObject([
        { hour: at('10:00:00'), quantity: 1, ...ofTheFirst },
        { hour: at('12:00:00'), quantity: 1, ...ofTheFirst },
      ])
      await feedIsBack(at('14:11:00'))
      expect(billed()).toEqual(['10: 1', '12: 1', '13: 1'])
    })

    test('what misses the hour after the end is unbillable then, with an alarm, and AWS is not asked', async () => {
      await round(at('13:21:00'))
      await submitter.step(running.signal)
      expect(seals()).toMatchObject([ofTheFirst, ofTheFirst])
      const missed = { state: 'unbillable', reason: 'deadline_missed', attempts: 0 }
      expect(world.records()).toMatchObject([missed, missed])
      expect(told).toContain('metering_unbillable')
    })
  })

  test('an attempt in doubt holds it back; its void is no longer in the hour', async () => {
    await world.call(at('12:10:00'))
    const call = await world.call(at('12:15:00'))
    await world.does(at('12:20:00'), end)
    await doubts.record({ firstEventId: 'e', customerId, expectedRevision: 5n, detectionIds: [] })
    await round(at('12:25:00'))
    expect(seals()).toEqual([])
    await world.does(at('12:26:00'), { type: 'VoidDetections', detections: [call] })
    await doubts.remove('e')
    await round(at('12:27:00'))
    expect(billed()).toEqual(['10: 1', '12: 1'])
    await feedIsBack(at('18:00:00'))
    expect(world.tables.dump().adjustments).toEqual([])
  })
})

describe('an hour that is over', () => {
  test('a call voided a moment ago is not in its seal, though the feed has not brought the void yet', async () => {
    const call = await world.call(at('10:59:58'))
    await doubts.record({ firstEventId: 'e', customerId, expectedRevision: 5n, detectionIds: [] })
    now = at('11:14:00')
    await world.tick(now)
    await world.catchUp()
    await rounds.seal(running.signal)
    expect(seals()).toEqual([])
    await world.does(at('11:14:03'), { type: 'VoidDetections', detections: [call] })
    await doubts.remove('e')
    await rounds.seal(running.signal)
    expect(seals()).toMatchObject([{ hour: at('10:00:00'), quantity: 1, cause: 'hour_over' }])
    await feedIsBack(at('11:16:00'))
    expect(world.tables.dump().adjustments).toEqual([])
    expect(billed()).toEqual(['10: 1'])
  })

  test.each([3, chunkSize + 1])(
    'waits for the feed where that is more than %i events behind the customer’s stream',
    async (most) => {
      await world.call(at('10:59:58'))
      now = at('11:14:00')
      await world.tick(now)
      await world.catchUp()
      for (let calls = 0; calls <= most; calls++) await world.call(at('11:14:01'))
      rounds = createRounds({ ...deps, readAheadAtMost: most })
      await rounds.seal(running.signal)
      expect(seals()).toEqual([])
      rounds = createRounds({ ...deps, readAheadAtMost: most + 1 })
      await rounds.seal(running.signal)
      expect(seals()).toMatchObject([{ hour: at('10:00:00'), quantity: 2 }])
      await feedIsBack(at('11:16:00'))
      expect(seals()).toMatchObject([{ hour: at('10:00:00'), quantity: 2 }])
    },
  )
})

describe('following', () => {
  test('begins behind what is judged on every partition, and knows the newest end of each customer', async () => {
    expect(endings.standing().size).toBe(0)
    await world.does(at('12:20:00'), end)
    await world.does(at('12:21:00'), { type: 'ResumeSubscription', licence: licence(1) })
    const head = world.store.stream(customerStream(customerId)).at(-1)?.revision ?? 0n
    await expect.poll(() => [...endings.standing()]).toEqual([[customerId, head]])
    endings.settled(customerId, head - 1n)
    expect(endings.standing().size).toBe(1)
    endings.settled(customerId, head)
    expect(endings.standing().size).toBe(0)

    // The tick of 12:30 comes behind both: they are folded, and the rows say what is to be done.
    await world.tick(at('12:30:00'))
    const { position } = world.store.all().at(-1) as PositionedEvent
    const places: (Position | undefined)[] = []
    const signal = AbortSignal.timeout(400)
    const later = await world.tables.partitions()
    const judged = later.map((row, i) => ({
      ...row,
      judgedPosition: i === 3 ? position : { commit: 99n, prepare: 99n },
    }))
    const store = {
      async *subscribe({ after }: { readonly after?: Position | undefined }) {
        places.push(after)
        if (places.length === 1) throw new Error('the connection is lost')
        signal.throwIfAborted()
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        yield* []
      },
    }
    const troubles: string[] = []
    const onTrouble = ({ message }: Error) => void troubles.push(message)
    await followEndings({ store, tables: { partitions: async () => judged }, signal, onTrouble }).ended
    expect(places.slice(0, 2)).toEqual([position, position])
    expect(troubles).toEqual(['the connection is lost'])
  })
})
