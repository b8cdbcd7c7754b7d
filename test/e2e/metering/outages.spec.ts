/** The relay is away for hours: what is billed, carried on and lost is as the rules say, and the operator is told. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addHours } from '../../../src/metering/rules.ts'
import { differences } from '../../simulation/books-check.ts'
import { type Kafka, kafkaForTests } from '../../support/kafka.ts'
import { type Buyer, createTraffic, type Traffic } from './traffic.ts'
import { graceMs, minuteMs, startWorld, type World } from './world.ts'

const kafka: Kafka | null = await kafkaForTests('metering while the relay is away', 'restarts')
const withKafka = test.skipIf(kafka === null)

let world: World
let traffic: Traffic
let buyer: Buyer

beforeAll(async () => {
  if (kafka === null) return
  world = await startWorld('2027-03-02T00:00:00.000Z', kafka.brokers)
  traffic = createTraffic(world)
  buyer = await traffic.register({ kind: 'licence', plan: 'starter', monthlyLimit: 1 })
  await traffic.calls(buyer, 1) // the month's credit
  await Promise.all([world.start('relay', 'relay'), world.start('metering', 'metering')])
  await world.settle()
}, 120_000)
afterAll(async () => {
  await world?.stop()
  await kafka?.stop()
}, 60_000)

/** The hour `2027-03-02T04` of an instant. */
const nameOf = (instant: string): string => instant.slice(0, 13)
const hoursFrom = (from: string, count: number): string[] =>
  Array.from({ length: count }, (_, hour) => nameOf(addHours(from, hour)))

/**
 * From an instant on the relay is dead for so many hours, with calls in each: 1, 2, 3, …; half an hour later it is
 * back. Resolves once the hours are sealed and sent, as far as that is possible.
 */
async function withoutRelay(from: string, hours: number, meanwhile = async () => {}): Promise<void> {
  await world.at(from)
  await world.end('relay', 'SIGKILL')
  // The same words are said once in ten minutes of real time: a new leader has said nothing yet.
  await world.end('metering', 'SIGTERM')
  await world.start('metering', 'metering')
  world.lines.length = 0
  for (let hour = 0; hour < hours; hour++) {
    await world.at(addHours(from, hour))
    await traffic.calls(buyer, hour + 1)
  }
  await world.at(addHours(from, hours))
  await meanwhile()
  await world.setClock(world.time() + 30 * minuteMs)
  world.lines.length = 0
  await world.start('relay', 'relay')
  const back = await world.tick()
  // A second of the clock for 50 ms of waiting: what failed is tried again, and no further hour is too old meanwhile.
  await world.untilInTime(
    'what is over is sealed and sent',
    async () => (await world.isJudged(back)) && (await world.isSentBefore(addHours(from, hours))),
    1_000,
  )
  await world.settle()
}

/** What AWS bills for the hours from an instant on. */
async function billedFrom(from: string): Promise<[hour: string, calls: number][]> {
  return Object.entries(await world.billed(buyer)).filter(([hour]) => hour >= nameOf(from))
}
const books = async (running: string) => differences(await world.log(), await world.aws.ledger(), running, graceMs)

async function states(hours: readonly string[]): Promise<string[]> {
  const { rows } = await world.pool.query<{ hour: Date; state: string }>('select hour, state from metering.records')
  const known = new Map(rows.map(({ hour, state }) => [nameOf(hour.toISOString()), state]))
  return hours.map((hour) => known.get(hour) ?? 'none')
}

async function isOpenBefore(yearMonth: string): Promise<boolean> {
  const open = 'select from metering.open_months where year_month < $1 limit 1'
  return (await world.pool.query(open, [yearMonth])).rowCount === 1
}

// 5 hours and the others of which nothing is lost: test/metering/outages.spec.ts.
withKafka(
  'for 5 hours: every hour is billed, and the operator was told that records wait',
  async () => {
    const [from, hours] = ['2027-03-05T00:00:00.000Z', 5]
    await withoutRelay(from, hours)
    expect(await billedFrom(from)).toEqual(hoursFrom(from, hours).map((hour, i) => [hour, i + 1]))
    expect(world.alarms('metering_old')).not.toEqual([])
    expect(world.warnings('metering_carried_forward')).toEqual([])
    expect(world.alarms('metering_unbillable')).toEqual([])
    expect(await books('2027-03')).toEqual([])
  },
  120_000,
)

withKafka(
  'while a subscription ends, and the broker with it: the last hour is billed in time, and once',
  async () => {
    const leaving = await traffic.register({ kind: 'licence', plan: 'starter', monthlyLimit: 1 })
    await world.at('2027-03-08T09:20:00.000Z')
    await traffic.calls(leaving, 4) // one of them is the month's credit
    await world.end('relay', 'SIGKILL')
    await kafka?.kill('SIGKILL')
    await world.at('2027-03-08T09:40:00.000Z')
    await traffic.calls(leaving, 5)
    await traffic.ends(leaving)
    const ended = world.time()
    await world.untilInTime('AWS has its hour', async () => (await world.billed(leaving))['2027-03-08T09'] === 8, 1_000)
    expect(world.time()).toBeLessThan(ended + 10 * minuteMs)
    await world.at('2027-03-08T11:30:00.000Z')
    await kafka?.restart()
    await world.start('relay', 'relay')
    await world.settle()
    expect(await world.billed(leaving)).toEqual({ '2027-03-08T09': 8 })
    expect(world.alarms('metering_unbillable')).toEqual([])
    expect(await books('2027-03')).toEqual([])
  },
  120_000,
)

withKafka(
  'for 25 hours: what AWS takes no more goes with the hour that runs; the operator is told while it lasts, and after',
  async () => {
    const from = '2027-03-10T00:00:00.000Z'
    await withoutRelay(from, 25, () =>
      world.until(
        'the operator is told that nothing comes',
        async () => world.alarms('metering_watermark').length > 0,
        90_000,
      ),
    )
    const hours = hoursFrom(from, 25)
    expect(await states(hours.slice(0, 2))).toEqual(['carried_forward', 'carried_forward'])
    // 1 + 2 calls go with hour 25, which had none of its own.
    expect(await billedFrom(from)).toEqual([
      ...hours.slice(2).map((hour, i) => [hour, i + 3]),
      [nameOf(addHours(from, 25)), 3],
    ])
    expect(world.warnings('metering_carried_forward')).toHaveLength(2)
    expect(world.alarms('metering_unbillable')).toEqual([])
    expect(await books('2027-03')).toEqual([])
  },
  180_000,
)

withKafka(
  'for 25 hours over the end of a month: its old hours have none to go with, are lost, and the operator is told of each',
  async () => {
    const from = '2027-03-31T00:00:00.000Z'
    await withoutRelay(from, 25)
    const hours = hoursFrom(from, 24)
    expect(await states(hours.slice(0, 2))).toEqual(['unbillable', 'unbillable'])
    // The 25th hour is April's first: one of its 25 calls is April's credit.
    expect(await billedFrom(from)).toEqual([
      ...hours.slice(2).map((hour, i) => [hour, i + 3]),
      [nameOf(addHours(from, 24)), 24],
    ])
    expect(world.alarms('metering_unbillable')).toHaveLength(2)
    expect(world.warnings('metering_carried_forward')).toEqual([])
    expect(await books('2027-03')).toEqual([])
  },
  120_000,
)

withKafka(
  'until 05:59 on the 1st: the month is lost from two minutes before 06:00 on, and closed with what was billed',
  async () => {
    const from = '2027-04-30T18:00:00.000Z'
    await withoutRelay(from, 11, () => world.at('2027-05-01T05:29:00.000Z'))
    expect(await states(hoursFrom(from, 6))).toEqual(Array(6).fill('unbillable'))
    expect((await billedFrom(from)).map(([hour]) => hour.slice(0, 7))).not.toContain('2027-04')
    expect(world.alarms('metering_unbillable')).toHaveLength(6)
    await world.at('2027-05-01T12:00:00.000Z')
    await world.tick()
    await world.settle()
    // A leader that comes new looks for months to close at once.
    await world.end('metering', 'SIGTERM')
    await world.start('metering', 'metering')
    // Longer than from one round to the next: what the first could not close the second does.
    await world.until('April is closed, of every customer', async () => !(await isOpenBefore('2027-05')), 120_000)
    expect(await books('2027-05')).toEqual([])
  },
  240_000,
)
