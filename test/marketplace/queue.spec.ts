import { describe, expect, onTestFinished, test } from 'vitest'
import { licenceIdentity } from '../../src/commands/plans.ts'
import { licenceStream } from '../../src/events/metering.ts'
import { longestPollSeconds, queueClient } from '../../src/marketplace/aws.ts'
import { countMessages, listMessages } from '../../src/marketplace/messages.ts'
import { type LifecycleQueueOptions, startLifecycleQueue } from '../../src/marketplace/queue.ts'
import { until } from '../projections/support.ts'
import { accountId, licenceArn, licenceEvent } from './said.ts'
import { createWorld } from './world.ts'

const begin = '2026-06-15T10:20:30.000Z'

async function givenQueue() {
  const world = await createWorld(begin)
  const { aws, database, deps } = world
  world.entitled({ licence: 1 })
  const customerId = await world.register(1)
  const trouble: Error[] = []
  const callsOf = (operation: string) => aws.calls.filter((call) => call.operation === operation)
  const client = await queueClient(aws.queueUrl, 'us-east-1')
  let seconds = 0
  return {
    ...world,
    customerId,
    trouble,
    callsOf,
    start(options: Partial<LifecycleQueueOptions> = {}) {
      const queue = startLifecycleQueue({
        deps,
        client,
        queueUrl: aws.queueUrl,
        databaseUrl: database.url,
        onTrouble: (error) => trouble.push(error),
        ...options,
      })
      onTestFinished(() => queue.stop())
      return queue
    },
    empty: () => until(() => aws.queuedMessages().length === 0),
    /** The same while time goes on, 20 s a second: what went to a reader who is gone comes back into sight. */
    emptyInTime() {
      const [startedAt, before] = [performance.now(), seconds]
      return until(() => {
        seconds = before + (performance.now() - startedAt) / 50
        world.setClock(new Date(Date.parse(begin) + seconds * 1_000).toISOString())
        return aws.queuedMessages().length === 0
      }, 30_000)
    },
    /** Lets the next delivery of what is out of sight come, and waits until it was put back or deleted. */
    async nextDelivery() {
      const before = callsOf('ChangeMessageVisibility').length
      seconds += 1_000
      world.setClock(new Date(Date.parse(begin) + seconds * 1_000).toISOString())
      await until(() => callsOf('ChangeMessageVisibility').length > before || aws.queuedMessages().length === 0)
    },
    visibilities: () =>
      callsOf('ChangeMessageVisibility').map(
        ({ body }) => (JSON.parse(body) as { VisibilityTimeout: number }).VisibilityTimeout,
      ),
  }
}
const updated = () => licenceEvent('Updated', licenceArn(1), { agreement: 'agmt-1' })
const deprovisioned = () => licenceEvent('Deprovisioned', licenceArn(1), { agreement: 'agmt-1' })

describe('a message', () => {
  test('is kept, handled and deleted', async () => {
    const world = await givenQueue()
    world.start()
    world.aws.sendMessage(deprovisioned())
    await world.empty()
    expect(world.stateOf(world.customerId).ended).toBeDefined()
    expect(await listMessages(world.database.pool)).toMatchObject([{ kind: 'licence-deprovisioned', state: 'handled' }])
  })
  test('that SQS delivers again though it was deleted, is handled once', async () => {
    const world = await givenQueue()
    world.start()
    const events = world.eventsOf(world.customerId).length
    world.aws.sendMessage(deprovisioned(), { deliveries: 3 })
    await world.empty()
    expect(world.callsOf('DeleteMessage')).toHaveLength(3)
    expect(world.eventsOf(world.customerId)).toHaveLength(events + 1)
  })
  test('whose deletion fails is deleted at its next delivery', async () => {
    const world = await givenQueue()
    world.aws.faults.next('DeleteMessage', { kind: 'lose_call' })
    world.start()
    world.aws.sendMessage(deprovisioned())
    await until(() => world.callsOf('ChangeMessageVisibility').length === 1)
    expect(await countMessages(world.database.pool)).toMatchObject({ handled: 1 })
    await world.nextDelivery()
    await world.empty()
  })
  test('that is not understood is kept and leaves the queue', async () => {
    const world = await givenQueue()
    world.start()
    world.aws.sendMessage('not for us')
    await world.empty()
    expect(await listMessages(world.database.pool, { unhandled: true })).toMatchObject([{ body: 'not for us' }])
    expect(world.alarms).toHaveLength(1)
  })
})

describe('a failure', () => {
  test('that passes keeps the message in the queue, longer each time, tells of it once and loses nothing', async () => {
    const world = await givenQueue()
    world.entitled({ licence: 1, plan: 'business' })
    const throttled = { kind: 'exception', name: 'ThrottlingException' } as const
    world.aws.faults.next('GetEntitlements', ...Array.from({ length: 6 }, () => throttled))
    world.start()
    world.aws.sendMessage(updated())
    await until(() => world.callsOf('ChangeMessageVisibility').length === 1)
    for (let delivery = 2; delivery <= 6; delivery++) await world.nextDelivery()
    expect(world.visibilities()).toEqual([2, 4, 8, 16, 32, 64])
    expect(await countMessages(world.database.pool)).toMatchObject({ waiting: 1 })
    expect(world.alarms).toEqual([expect.stringContaining('ThrottlingException')])
    await world.nextDelivery()
    await world.empty()
    expect(world.stateOf(world.customerId).terms.plan).toBe('business')
    expect(world.trouble).toHaveLength(6)
  })
  test('that does not pass ends after five deliveries: the message is kept as failed, with an alarm', async () => {
    const world = await givenQueue()
    const licence = { kind: 'licence', awsAccountId: accountId, licenceArn: licenceArn(9) } as const
    const stream = licenceStream(licenceIdentity(licence))
    const events = [{ id: crypto.randomUUID(), type: 'LicenceReserved', data: {}, metadata: {} }]
    await world.store.send({ stream, expectedRevision: 'no_stream', events }, 1_000)
    world.start()
    world.aws.sendMessage(licenceEvent('Updated', licenceArn(9), { agreement: 'agmt-9' }))
    await until(() => world.callsOf('ChangeMessageVisibility').length === 1)
    for (let delivery = 2; delivery <= 5; delivery++) await world.nextDelivery()
    await world.empty()
    expect(await listMessages(world.database.pool)).toMatchObject([
      { state: 'failed', outcome: expect.stringContaining('cannot read licence-') },
    ])
    expect(world.alarms).toHaveLength(1)
  })
  test('of one message does not hold up the others', async () => {
    const world = await givenQueue()
    world.aws.faults.next('GetEntitlements', { kind: 'lose_answer' })
    world.aws.sendMessage(updated())
    world.aws.sendMessage(deprovisioned())
    world.start()
    await until(() => world.stateOf(world.customerId).ended !== undefined)
    await until(() => world.aws.queuedMessages().length === 1)
  })
  test('of the queue itself is waited out', async () => {
    const world = await givenQueue()
    await world.aws.stop()
    world.start()
    await until(() => world.trouble.length > 0)
    await world.aws.start()
    world.aws.sendMessage(deprovisioned())
    await world.empty()
    expect(world.stateOf(world.customerId).ended).toBeDefined()
  })
})

test('one process reads at a time; another takes over, and stopping does not wait for a long poll', async () => {
  const world = await givenQueue()
  const first = world.start()
  await until(() => world.callsOf('ReceiveMessage').length === 1, 30_000)
  world.start()
  world.aws.sendMessage(updated())
  await world.emptyInTime()
  const before = performance.now()
  await first.stop()
  expect(performance.now() - before).toBeLessThan(longestPollSeconds * 500)
  world.aws.sendMessage(deprovisioned())
  await world.emptyInTime()
  expect(world.stateOf(world.customerId).ended).toBeDefined()
}, 100_000)
