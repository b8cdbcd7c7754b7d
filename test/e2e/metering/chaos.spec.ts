/**
 * Metering as a whole under kill −9: every role, the broker, and AWS that loses answers, over two month boundaries of
 * virtual time. `npm run soak:metering` is the long run, of 100,000 detections.
 */
import { randomInt } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import type { StoredEvent } from '../../../src/eventstore/store.ts'
import { hourMs } from '../../../src/metering/rules.ts'
import { connect } from '../../../src/postgres/pool.ts'
import { dumpRows } from '../../metering/feeding.ts'
import { differences } from '../../simulation/books-check.ts'
import { seeded } from '../../simulation/world.ts'
import { type Kafka, kafkaForTests } from '../../support/kafka.ts'
import { freshDatabase } from '../../support/postgres.ts'
import { type Buyer, createTraffic, type Traffic } from './traffic.ts'
import { graceMs, startWorld, type World } from './world.ts'

const wanted = Number(process.env.METERING_DETECTIONS ?? 1_500)
const seed = Number(process.env.METERING_SEED ?? randomInt(1_000_000))
const kafka: Kafka | null = await kafkaForTests('metering while everything is killed', 'restarts')
const random = seeded(seed)

const isLong = wanted >= 20_000
/** Hours with calls, in UTC; in the time between them nothing happens. */
const busy = isLong
  ? ([
      ['2027-01-31T12', '2027-02-01T12'],
      ['2027-02-14T00', '2027-02-14T12'],
      ['2027-02-28T12', '2027-03-01T12'],
    ] as const)
  : ([
      ['2027-01-31T21', '2027-02-01T03'],
      ['2027-02-28T21', '2027-03-01T03'],
    ] as const)
const startOf = (hour: string): string => `${hour}:00:00.000Z`
/** Customers who call at the same instant; each makes a share of that instant's calls. */
const atOnce = isLong ? 12 : 3
/** Each so many hours of traffic something dies or changes; the shortest run has each kind of it. */
const every = isLong
  ? { kill: 3, cap: 4, upgrade: 5, end: 20, renewal: 20, move: 10 }
  : { kill: 3, cap: 4, upgrade: 3, end: 8, renewal: 7, move: 6 }
/** AWS takes a record for 24 hours. */
const mostBehindMs = 14 * hourMs
const kinds = ['licence', 'licence', 'licence', 'product', 'none'] as const
const plans = ['starter', 'standard', 'professional', 'business'] as const
const faults = {
  loseCall: 0.03,
  loseAnswer: 0.06,
  serverError: 0.03,
  serverErrorAfter: 0.03,
  throttle: 0.03,
  unprocessed: 0.02,
}

let world: World
let traffic: Traffic
let buyers: Buyer[]
const kills: Record<string, number> = {}
/** What dies → that it is back. */
const restarts = new Map<string, Promise<void>>()
const everythingIsBack = () => Promise.all(restarts.values())
const started = performance.now()

beforeAll(async () => {
  if (kafka === null) return
  world = await startWorld(startOf(busy[0][0]), kafka.brokers)
  traffic = createTraffic(world)
  const roles = [
    world.start('relay', 'relay'),
    world.start('metering 1', 'metering'),
    world.start('metering 2', 'metering'),
  ]
  buyers = []
  for (let i = 0; i < 50; i++) {
    const [kind = 'none', plan = 'starter'] = [kinds[i % kinds.length], plans[i % plans.length]]
    buyers.push(await traffic.register({ kind, plan, monthlyLimit: 1 + random.int(8) }))
  }
  await Promise.all(roles)
  await world.aws.tell('faults', { rates: faults, seed })
}, 120_000)
afterAll(async () => {
  await Promise.allSettled(restarts.values())
  await world?.stop()
  await kafka?.stop()
}, 60_000)

/** What dies at once; the first four are those of the shortest run. */
const mischief: readonly (readonly string[])[] = [
  ['relay', 'broker'],
  ['metering 1'],
  ['metering 1', 'metering 2'],
  ['relay'],
  ['broker', 'metering 2'],
  ['broker', 'relay', 'metering 1'],
]
/** Kills with −9 and starts again; what comes back is not waited for. */
function strike(place: number): void {
  for (const victim of mischief[place % mischief.length] ?? []) {
    kills[victim] = (kills[victim] ?? 0) + 1
    const before = restarts.get(victim)
    const isBack = (async () => {
      await before
      await pause(random.int(1_500)) // in the middle of whatever is at work
      if (victim === 'broker') {
        await kafka?.kill('SIGKILL')
        await kafka?.restart()
        return
      }
      await world.end(victim, 'SIGKILL')
      await world.start(victim, victim === 'relay' ? 'relay' : 'metering')
    })()
    restarts.set(victim, isBack)
    isBack.catch(() => {}) // told where it is awaited
  }
}

const hoursIn = ([first, end]: (typeof busy)[number]): number =>
  (Date.parse(startOf(end)) - Date.parse(startOf(first))) / hourMs
/** Hours of traffic still to come. They are counted: the clock goes on while something is waited for. */
let hoursLeft = busy.reduce((sum, hours) => sum + hoursIn(hours), 0)

/**
 * Traffic of the hour that begins now, its first and its last millisecond included: its share of what is still wanted,
 * however many calls are refused.
 */
async function hour(): Promise<void> {
  const begins = world.time()
  const share = Math.max(9, (wanted - traffic.counts.detections) / hoursLeft) / 3
  for (const offset of [0, 1 + random.int(hourMs - 2), hourMs - 1]) {
    await world.setClock(begins + offset)
    const enough = traffic.counts.detections + share
    do {
      const callers = Array.from({ length: atOnce }, () => random.pick(buyers))
      await Promise.all([...callers, ...capped].map((buyer) => traffic.calls(buyer, Math.ceil(share / atOnce))))
    } while (traffic.counts.detections < enough)
  }
  if (random.chance(0.3)) await traffic.void(random)
  await world.setClock(begins + hourMs)
  hoursLeft -= 1
}

let hoursDone = 0
const capped: Buyer[] = []
/** Now and then something changes; each kind comes several times in the shortest run. */
async function changes(): Promise<void> {
  hoursDone += 1
  const is = (what: keyof typeof every, part: number) => hoursDone % every[what] === Math.floor(every[what] * part)
  if (is('kill', 0.5)) strike(Math.floor(hoursDone / every.kill))
  if (is('cap', 0)) {
    for (const buyer of capped.splice(0)) await traffic.cap(buyer, false)
    const buyer = random.pick(buyers)
    await traffic.cap(buyer, true)
    capped.push(buyer)
  }
  if (is('upgrade', 0.5)) await traffic.upgrade(random.pick(buyers))
  if (is('end', 0.5)) {
    await keepUp(4 * hourMs) // AWS takes nothing of an ended licence after an hour, however late we are
    const buyer = random.pick(buyers.filter(({ licence, next }) => licence.kind === 'licence' && licence !== next))
    await traffic.endsAndResumes(buyer, async () => {
      await world.tick()
      await world.untilInTime('the last hour of a licence is sent', async () => (await openOf(buyer)) === 0, 10_000)
    })
    await toFullHour()
  }
  const one = (kind: Buyer['licence']['kind']) =>
    random.pick(buyers.filter(({ licence, next }) => licence.kind === kind && licence !== next))
  if (is('renewal', 0.8)) await traffic.renew(one('licence'))
  if (is('move', 0.3)) {
    // Not before the hour is over, though calls come at once.
    const buyer = one('product')
    await world.setClock(world.time() + randomInt(1, hourMs))
    await traffic.renew(buyer)
    await traffic.calls(buyer, 3)
    await toFullHour()
    await traffic.calls(buyer, 3)
  }
}

async function openOf({ customerId, licence }: Buyer): Promise<number> {
  if (licence.kind !== 'licence') throw new Error('only a licence ends')
  const { rows } = await world.pool.query<{ count: number }>(
    "select count(*)::int as count from metering.records where customer_id = $1 and licence = $2 and state in ('open', 'sealed')",
    [customerId, licence.licenceArn],
  )
  const heads = await world.pool.query<{ ended: boolean }>(
    'select ends ? $2 as ended from metering.customers where customer_id = $1',
    [customerId, licence.licenceArn],
  )
  return heads.rows[0]?.ended ? (rows[0]?.count ?? 0) : 1
}

const toFullHour = () => world.setClock(Math.ceil(world.time() / hourMs) * hourMs)

/** Lets metering catch up to within so many milliseconds, in whole hours. */
async function keepUp(mostMs: number): Promise<void> {
  await world.untilInTime('metering keeps up', async () => (await world.behind()) <= mostMs, 20_000, 180_000)
  await toFullHour()
}

/** The last hours of a month and the first of the next come one by one, whatever is behind; then AWS closes soon. */
function mostBehind(): number {
  const [day, hour] = [world.now().slice(8, 10), world.now().slice(11, 13)]
  const isLastDay = new Date(world.time() + 24 * hourMs).toISOString().slice(8, 10) === '01'
  if ((isLastDay && hour >= '22') || (day === '01' && hour < '02')) return Number.POSITIVE_INFINITY
  return day === '01' && hour < '06' ? 4 * hourMs : mostBehindMs
}

async function trafficOf(hours: (typeof busy)[number]): Promise<void> {
  await world.at(startOf(hours[0]))
  for (let left = hoursIn(hours); left > 0; left--) {
    await keepUp(mostBehind())
    await hour()
    await world.tick()
    await changes()
  }
  phases.push(Math.round((performance.now() - started) / 1_000))
  if (isLong) console.info(`${world.now()}, ${phases.at(-1)} s:`, { ...traffic.counts, kills })
  await everythingIsBack()
  phases.push(Math.round((performance.now() - started) / 1_000))
  await world.settle()
  phases.push(Math.round((performance.now() - started) / 1_000))
}

const phases: number[] = []
const closedMonths = async () => {
  const { rows } = await world.pool.query<{ open: number }>(
    "select count(*)::int as open from metering.open_months where year_month < '2027-04'",
  )
  return rows[0]?.open === 0
}

test.skipIf(kafka === null)(
  'every overage call is in one record, every record has one end, and AWS bills what was sealed',
  async () => {
    for (const hours of busy) await trafficOf(hours)
    await world.at('2027-04-01T06:30:00.000Z')
    await world.aws.tell('faults', {})
    const last = await world.tick()
    await world.until('everything is judged', () => world.isJudged(last), 120_000)
    // A leader that comes new looks for months to close at once.
    await Promise.all([world.end('metering 1', 'SIGTERM'), world.end('metering 2', 'SIGTERM')])
    await world.start('metering 1', 'metering')
    await world.until('every month is closed', closedMonths, 120_000)
    for (const name of ['relay', 'metering 1']) await world.end(name, 'SIGTERM')

    const events = await world.log()
    console.info('metering under kill −9', {
      seed,
      ...traffic.counts,
      events: eventsByType(events),
      records: await recordsByState(),
      alarms: alarmsByKind(),
      kills,
      seconds: Math.round((performance.now() - started) / 1_000),
      phases,
    })
    expect(differences(events, await world.aws.ledger(), world.now().slice(0, 7), graceMs)).toEqual([])
    expect(await world.aws.billedTwice()).toEqual([])
    expect(traffic.counts.detections).toBeGreaterThanOrEqual(wanted)
    expect(Object.keys(kills).toSorted()).toEqual(['broker', 'metering 1', 'metering 2', 'relay'])
    expect(traffic.counts.overage).toBeGreaterThan(wanted / 2)
    // kill −9 loses nothing, so nothing is to be said of a loss: only of what is late, or in doubt because of AWS.
    const expected = [
      'metering_old',
      'metering_watermark',
      'metering_unknown',
      'metering_unbillable',
      'metering_refused',
    ]
    expect(Object.keys(alarmsByKind()).filter((kind) => !expected.includes(kind))).toEqual([])
  },
  isLong ? 3 * 3_600_000 : 300_000,
)

const tally = (names: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}
const alarmsByKind = () => tally(world.lines.flatMap(({ alarm }) => alarm ?? []))
const eventsByType = (events: readonly StoredEvent[]) =>
  tally(events.filter(({ stream }) => stream.startsWith('metering-')).map(({ type }) => type))
async function recordsByState(): Promise<Record<string, number>> {
  const { rows } = await world.pool.query<{ state: string; count: number }>(
    'select state, count(*)::int as count from metering.records group by 1 order by 1',
  )
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]))
}

test.skipIf(kafka === null)(
  'a replay of the closed months gives the same rows by either feed, and sends nothing',
  async () => {
    const rows = await dumpRows(world.pool)
    const calls = (await world.aws.calls()).length
    const written = (await world.log()).length
    // A member that was killed stays in the group until its session ends.
    await world.until('the group is gone', () =>
      world.withAdmin((admin) =>
        admin.deleteGroups(['marketplace-metering']).then(
          () => true,
          () => false,
        ),
      ),
    )
    const replay = async (name: string, env: Readonly<Record<string, string>>) => {
      const url = await freshDatabase(inject('postgresUrl'))
      const pool = connect(url)
      await world.start(name, 'metering', { DATABASE_URL: url, ...env })
      await world.until(
        `${name} has folded everything`,
        () => world.isJudged(world.now(), pool),
        isLong ? 900_000 : 90_000,
      )
      await world.end(name, 'SIGTERM')
      const again = await dumpRows(pool)
      await pool.end()
      return again
    }
    const [direct, anew] = await Promise.all([replay('direct feed', { KAFKA_BROKERS: '' }), replay('fresh group', {})])
    expect(direct).toEqual(rows)
    expect(anew).toEqual(rows)
    expect(await world.aws.calls()).toHaveLength(calls)
    expect(await world.log()).toHaveLength(written)
  },
  isLong ? 1_800_000 : 120_000,
)
