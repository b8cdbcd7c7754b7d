/** What was in Kafka or in Postgres is gone: the log has it all, nothing is sealed short and nothing is billed again. */
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { addHours } from '../../../src/metering/rules.ts'
import { dumpRows } from '../../metering/feeding.ts'
import { differences } from '../../simulation/books-check.ts'
import { type Kafka, kafkaForTests } from '../../support/kafka.ts'
import { type Buyer, createTraffic, type Traffic } from './traffic.ts'
import { graceMs, minuteMs, startWorld, type World } from './world.ts'

const kafka: Kafka | null = await kafkaForTests('metering after losses', 'restarts')
const withKafka = test.skipIf(kafka === null)
const start = '2027-03-10T00:00:00.000Z'
const at = (hour: number) => addHours(start, hour)

let world: World
let traffic: Traffic
let buyers: Buyer[]

beforeEach(async () => {
  if (kafka === null) return
  world = await startWorld(start, kafka.brokers)
  traffic = createTraffic(world)
  const roles = [world.start('relay', 'relay'), world.start('metering', 'metering')]
  buyers = []
  for (const kind of ['licence', 'licence', 'licence', 'licence', 'product', 'none'] as const) {
    buyers.push(await traffic.register({ kind, plan: 'starter', monthlyLimit: 1 }))
  }
  for (const buyer of buyers) await traffic.calls(buyer, 1) // the month's credit
  await Promise.all(roles)
}, 120_000)
afterEach(async () => {
  await world?.withAdmin((admin) => admin.deleteTopics({ topics: [world.topic] })).catch(() => {})
  await world?.stop()
}, 60_000)
afterAll(async () => {
  await kafka?.stop()
})

/** So many calls of every buyer in the hour that begins now, and a tick at its end. */
async function hour(calls: number): Promise<void> {
  const ends = addHours(world.now(), 1)
  await world.setClock(world.time() + 20 * minuteMs)
  for (const buyer of buyers) await traffic.calls(buyer, calls)
  await world.at(ends)
  await world.tick()
}

const books = async () => differences(await world.log(), await world.aws.ledger(), '2027-03', graceMs)
const quantities = () =>
  Promise.all(buyers.filter(({ licence }) => licence.kind === 'licence').map((buyer) => world.billed(buyer)))
const everyBuyer = (billed: Record<string, number>) => [billed, billed, billed, billed]

withKafka(
  'the last messages of every partition, deleted before they were read, are filled at the next watermark',
  async () => {
    for (const calls of [1, 2]) await hour(calls)
    await world.settle()
    await world.end('metering', 'SIGTERM')

    await world.at(at(6))
    await hour(7)
    for (const buyer of buyers) await traffic.calls(buyer, 5)
    await world.until('the calls are in the topic', world.isRelayed)
    await world.withAdmin(async (admin) => {
      const offsets = await admin.fetchTopicOffsets(world.topic)
      const partitions = offsets.map(({ partition, high }) => ({ partition, offset: high }))
      await admin.deleteTopicRecords({ topic: world.topic, partitions })
    })
    await world.start('metering', 'metering')
    await world.settle()

    expect(await quantities()).toEqual(
      everyBuyer({ '2027-03-10T00': 1, '2027-03-10T01': 2, '2027-03-10T06': 7, '2027-03-10T07': 5 }),
    )
    expect(await books()).toEqual([])
    expect(world.alarms('metering_messages_lost')).not.toEqual([])
    expect(world.alarms('metering_tail_lost')).not.toEqual([])
    expect(world.alarms('metering_late_call')).toEqual([])
  },
  120_000,
)

withKafka(
  'the whole topic, deleted while everything runs, is made anew and filled from the log',
  async () => {
    for (const calls of [1, 2]) await hour(calls)
    await world.until('all of it is read', () => world.isJudged(world.now()))
    for (const buyer of buyers) await traffic.calls(buyer, 3)
    await world.withAdmin((admin) => admin.deleteTopics({ topics: [world.topic] }))
    for (const buyer of buyers) await traffic.calls(buyer, 1)
    await world.settle()

    expect(await quantities()).toEqual(everyBuyer({ '2027-03-10T00': 1, '2027-03-10T01': 2, '2027-03-10T02': 4 }))
    expect(await books()).toEqual([])
    expect(world.alarms('relay').join()).toContain('was deleted, recreated or cut off')
    expect(world.alarms('metering_late_call')).toEqual([])
  },
  120_000,
)

withKafka(
  'the metering tables, dropped in mid-month, come back as they were; what AWS no longer takes is not touched again',
  async () => {
    for (const calls of [1, 2, 3]) await hour(calls)
    await world.settle()
    await world.at(at(10 * 24)) // ten days later: AWS takes nothing of those hours
    await hour(4)
    await world.settle()
    for (const buyer of buyers) await traffic.calls(buyer, 5)
    const last = await world.tick()
    await world.until('everything is folded', async () => (await world.isRelayed()) && (await world.isJudged(last)))
    await world.end('metering', 'SIGKILL')
    const before = { rows: await dumpRows(world.pool), calls: await world.aws.calls(), log: await world.log() }

    await world.pool.query('drop schema metering cascade')
    await world.start('metering', 'metering')
    await world.until('everything is folded again', () => world.isJudged(last))
    expect(await dumpRows(world.pool)).toEqual(before.rows)
    expect(await world.aws.calls()).toEqual(before.calls)
    expect(await world.log()).toEqual(before.log)

    const running = world.now().slice(0, 13)
    await world.settle()
    const touched = (await world.log())
      .slice(before.log.length)
      .flatMap(({ data }) => (data as { recordId?: string }).recordId ?? [])
    expect(touched).not.toEqual([])
    expect([...new Set(touched.map((recordId) => recordId.split('|').at(-1)))]).toEqual([`${running}Z`])
    expect((await quantities())[0]).toEqual({
      '2027-03-10T00': 1,
      '2027-03-10T01': 2,
      '2027-03-10T02': 3,
      '2027-03-20T00': 4,
      [running]: 5,
    })
    expect(await books()).toEqual([])
    expect(world.alarms('metering_unbillable')).toEqual([])
    expect(world.warnings('metering_carried_forward')).toEqual([])
  },
  120_000,
)
