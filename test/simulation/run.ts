/**
 * One run of the whole way of an overage call, decided by its seed: deciders, relay or direct feed, consumers, leaders
 * that seal and send, AWS; any of them may die at any call, answers get lost, the topic is cut off or made anew, and
 * the clock passes a month's end. In the end everything heals, and the books must add up.
 */
import type { Clock } from '../../src/commands/clock.ts'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { createLedgers, type Ledgers } from '../../src/commands/ledgers.ts'
import type { Licence } from '../../src/events/catalogue.ts'
import type { PositionedEvent } from '../../src/eventstore/store.ts'
import { consumeBatch } from '../../src/metering/consume.ts'
import { feedBatch } from '../../src/metering/direct-feed.ts'
import { followEndings } from '../../src/metering/endings.ts'
import { placementsOf } from '../../src/metering/kafka-place.ts'
import { decideForIn } from '../../src/metering/metering-log.ts'
import { createRounds } from '../../src/metering/rounds.ts'
import { hourMs, type MeteringRules } from '../../src/metering/rules.ts'
import { createSubmitter } from '../../src/metering/submit.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { fedPrefixes, partitionCount } from '../../src/relay/feed.ts'
import { relayBatch, takeUp } from '../../src/relay/step.ts'
import { appendTick } from '../../src/relay/ticks.ts'
import { type DirectAws, directBatchMeterUsage } from '../aws/direct.ts'
import type { Fault } from '../aws/faults.ts'
import { emptyAws } from '../aws/state.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { detection, newKey, registration } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { type MemoryTables, memoryTables } from '../support/memory-tables.ts'
import { differences } from './books-check.ts'
import { memoryRelayStates, memoryTopic } from './kafka.ts'
import { lastHours } from './last-hours.ts'
import { judgedByTheClock, type Plant, stampedAnew, withoutHeadCheck } from './plants.ts'
import { doubtsOf, storeOf, tablesOf } from './proxies.ts'
import { inTime, inTimeOf, type VirtualTime, virtualTime } from './virtual-time.ts'
import { Crashed, keepRunning, pause, type Random, type SimProcess, seeded, type Weather } from './world.ts'

export interface Run {
  readonly seed: number
  /** Sentences, one for each thing that does not add up. */
  readonly differences: readonly string[]
  /** How much happened, so that a run in which nothing did is noticed. */
  readonly detections: number
  readonly overage: number
  readonly records: number
  readonly crashes: number
  readonly alarms: Readonly<Record<string, number>>
}

/** Ends of months and of a year, of a February with and without its 29th. */
const boundaries = ['2026-11-01', '2027-01-01', '2027-03-01', '2028-03-01', '2028-02-29'].map(
  (day) => `${day}T00:00:00.000Z`,
)
const dimensions = ['starter_over', 'standard_over', 'prof_over', 'business_over', 'enterprise_over', 'free_over']
const origin = { correlationId: 'simulation', causationId: 'simulation', actor: 'simulation' }
const patience = { sendMs: 2_500, attemptMs: 8_000 }
const minute = 60_000
/** Longest pause of a process once everything is healed. */
const healedMinutes = 90
const allPartitions = Array.from({ length: partitionCount }, (_, partition) => partition)

/** Runs a seed, with a bug that was planted if that is wanted. */
export async function simulate(seed: number, plant?: Plant): Promise<Run> {
  const random = seeded(seed)
  const { random: realRandom } = Math
  const time = virtualTime()
  Math.random = random.next
  try {
    return await runOf(seed, random, time, plant)
  } finally {
    Math.random = realRandom
    time.restore()
  }
}

async function runOf(seed: number, random: Random, time: VirtualTime, plant: Plant | undefined): Promise<Run> {
  const boundary = Date.parse(random.pick(boundaries))
  time.setClock(boundary - (1 + random.int(6)) * hourMs)
  const stormEnds = boundary + (1 + random.int(8)) * hourMs
  const now = () => new Date().toISOString()
  const clock: Clock = { now, monthHasBegun: async () => {} }

  const weather: Weather = { crash: random.pick([0, 0.001, 0.003, 0.01]), latencyMs: random.pick([50, 500, 4_000]) }
  const rules: MeteringRules = {
    graceMs: 10 * minute,
    windowHours: random.pick([6, 24]),
    monthCloseHour: 6,
    carryForward: random.chance(0.8),
    heartbeat: random.chance(0.3),
    submit: true,
    region: 'us-east-1',
  }
  const direct = random.chance(0.3)
  const store = createMemoryStore()
  const doubts = memoryDoubts()
  const tables = memoryTables()
  const topic = memoryTopic(random)
  const relayStates = memoryRelayStates()
  const aws: DirectAws = {
    state: {
      ...emptyAws,
      limits: { windowHours: rules.windowHours, monthCloseHour: 6, callsPerSecond: 1_000 },
      products: new Map([['product', dimensions]]),
    },
  }
  let faultRate = random.pick([0, 0.1, 0.4])
  let crashes = 0
  let healed = false
  /** Neither relay nor Kafka nor a consumer does anything. */
  let feedIsDown = false
  let ended = false
  const broken: string[] = []
  const alarms: Record<string, number> = {}
  const onAlarm = (kind: string) => {
    alarms[kind] = (alarms[kind] ?? 0) + 1
  }
  const failed = (error: unknown): void => {
    if (error instanceof Crashed) return
    const name = error instanceof Error ? error.name : ''
    const stopsTheRole = ['LogMismatch', 'UnreadableEvent', 'TypeError', 'RangeError', 'ZodError'].includes(name)
    if (stopsTheRole) broken.push(`${name}: ${error instanceof Error ? error.message : ''}`)
  }

  // Who is there: a licence, a legacy product, and one without AWS.
  const customers = Array.from({ length: 2 + random.int(2) }, (_, i) => {
    const customerId = `${(random.int(0xffff_ffff) >>> 0).toString(16).padStart(8, '0')}-0000-4000-8000-00000000000${i}`
    const awsAccountId = `10000000000${i}`
    const legacy: Licence = { kind: 'product', productCode: 'product', customerIdentifier: `buyer-${i}` }
    const licences = [0, 1].map(
      (n): Licence => ({ kind: 'licence', awsAccountId, licenceArn: `arn:aws:license-manager::${i}:license-${n}` }),
    )
    const [first = legacy, second = legacy] = licences
    const licence: Licence = i === 0 ? first : i === 1 ? legacy : { kind: 'none' }
    return {
      customerId,
      licence,
      next: i === 1 ? first : second,
      keys: { primary: newKey(), secondary: newKey() },
      limit: 1 + random.int(4),
    }
  })
  aws.state = {
    ...aws.state,
    subscriptions: customers.flatMap(({ customerId, licence, next }) =>
      // A legacy customer's licence is another name for what they have: AWS bills an hour under each.
      [licence, ...(licence.kind === 'licence' ? [next] : [])].flatMap((one) =>
        one.kind === 'none'
          ? []
          : {
              id: one.kind === 'licence' ? one.licenceArn : `legacy-${customerId}`,
              productCode: 'product',
              awsAccountId: accountOf(one) ?? accountOf(next) ?? '0',
              licenceArn: one.kind === 'licence' ? one.licenceArn : next.kind === 'licence' ? next.licenceArn : null,
              customerIdentifier: one.kind === 'product' ? (one.customerIdentifier ?? null) : null,
              startsAt: 0,
              endedAt: null,
              suspended: false,
            },
      ),
    ),
  }

  // In every fifth seed the store's answers to calls are lost for a while, now and then: then attempts stand in doubt.
  let deafUntil = Number.POSITIVE_INFINITY // until all are registered
  const isDeaf = (stream: string) => {
    if (seed % 5 !== 0 || !stream.startsWith('customer-')) return false
    if (Date.now() >= deafUntil && random.chance(0.02)) deafUntil = Date.now() + random.int(50) * minute
    return Number.isFinite(deafUntil) && Date.now() < deafUntil
  }
  store.onSend = ({ stream }) => {
    if (healed || feedIsDown) return {}
    if (isDeaf(stream)) return { answerLost: true }
    if (!random.chance(0.05)) return {}
    return random.pick([
      { requestLost: true },
      { answerLost: true },
      { landsAfterMs: 1 + random.int(20_000) },
      { landsAfterMs: 1 + random.int(20_000), answerLost: true },
      { duplicateAfterMs: 1 + random.int(20_000) },
    ])
  }
  const drawFault = (records: number): Fault | null => {
    if (healed || !random.chance(faultRate)) return null
    return random.pick<Fault>([
      { kind: 'lose_call' },
      { kind: 'lose_answer' },
      { kind: 'exception', name: 'InternalServiceErrorException', status: 500 },
      { kind: 'exception', name: 'InternalServiceErrorException', status: 500, carriedOut: true },
      { kind: 'exception', name: 'ThrottlingException', status: 400 },
      { kind: 'unprocessed', records: [random.int(records)] },
    ])
  }

  const ledgersOf = (process: SimProcess): Ledgers =>
    createLedgers({
      store: storeOf(process, store),
      loadSnapshot: async () => null,
      doubts: doubtsOf(process, doubts),
      clock,
      patience,
    })
  const run = (life: (process: SimProcess) => Promise<void>) =>
    keepRunning(
      random,
      weather,
      () => ended,
      async (process) => {
        process.signal.addEventListener('abort', () => {
          crashes += 1
        })
        await life(process)
      },
    )

  for (const { customerId, licence, keys, limit } of customers) {
    const register = registration({ customerId, plan: 'starter', monthlyLimit: limit, hardCap: false, licence, keys })
    await inTime(
      time,
      createLedgers({ store, loadSnapshot: async () => null, doubts, clock, patience }).execute(customerId, {
        command: register,
        origin,
      }),
    )
  }

  deafUntil = 0
  const lives: Promise<void>[] = []
  for (let i = 0; i < 2; i++) lives.push(run(decider))
  lives.push(run(ticker))
  if (direct) lives.push(run(directFeed))
  else {
    lives.push(run(relay))
    for (let i = 0; i < 2; i++) lives.push(run(consumer))
  }
  for (let i = 0; i < 2; i++) lives.push(run(leader))

  async function decider(process: SimProcess): Promise<void> {
    const ledgers = ledgersOf(process)
    while (process.alive && !ended) {
      const customer = random.pick(customers)
      const calls =
        healed || feedIsDown
          ? []
          : Array.from({ length: random.int(8) }, () => detection({ keyId: customer.keys.primary.keyId }))
      const commands: CustomerCommand[] = [
        ...calls,
        ...(healed || feedIsDown || !random.chance(0.1) ? [] : [change(customer)]),
      ]
      const asked = commands.map((command) =>
        ledgers
          .execute(customer.customerId, { command, origin }, { doubtStanding: doubts.rows.size > 0 })
          .then(() => {}, failed),
      )
      await Promise.all(asked)
      await ledgers.settleStanding(process.signal).catch(failed)
      if (healed)
        for (const { customerId } of customers)
          await ledgers.execute(customerId, { command: { type: 'OpenMonth' }, origin }).then(() => {}, failed)
      await pause(random.int(healed ? 240 : 30) * minute)
      if (!process.alive) throw new Crashed('dead')
    }
  }

  function change({ licence, next }: (typeof customers)[number]): CustomerCommand {
    const reason = 'simulation'
    return random.pick<CustomerCommand>([
      { type: 'EnableHardCap' },
      { type: 'DisableHardCap' },
      { type: 'DisableHardCap' },
      {
        type: 'SetPlan',
        plan: random.pick(['starter', 'standard', 'professional'] as const),
        monthlyLimit: 1 + random.int(8),
        origin: 'operator',
        reason,
      },
      ...(licence.kind === 'none'
        ? []
        : [
            { type: 'ChangeLicence', licence: next, reason } as const,
            { type: 'ChangeLicence', licence, reason } as const,
          ]),
      { type: 'EndSubscription', licence, reason },
      {
        type: 'ResumeSubscription',
        licence: random.pick([licence, licence, licence.kind === 'none' ? licence : next]),
      },
    ])
  }

  async function ticker(process: SimProcess): Promise<void> {
    while (process.alive && !ended) {
      const options = {
        store: storeOf(process, store),
        clock,
        databaseClock: async () => new Date(Date.now() - random.int(1_000)),
        patience,
      }
      await appendTick(options).catch(failed)
      await pause((healed ? 40 : 3 + random.int(12)) * minute)
      if (!process.alive) throw new Crashed('dead')
    }
  }

  async function relay(process: SimProcess): Promise<void> {
    const deps = {
      store: storeOf(process, store),
      topic: topic.openedBy(process),
      states: relayStates.openedBy(process),
    }
    while (process.alive && !ended) {
      try {
        if (feedIsDown) {
          await pause(minute)
          continue
        }
        let state = await takeUp(deps)
        while (process.alive && !ended && !feedIsDown) {
          const events = await nextOf(process, state.checkpoint?.position)
          if (events.length > 0) state = await relayBatch(state, events, deps)
          else await pause(random.int(healed ? healedMinutes : 8) * minute)
        }
      } catch (error) {
        failed(error)
        if (!process.alive) throw error
        await pause(random.int(minute))
      }
      if (!healed && random.chance(0.02)) await pause(random.int(9) * hourMs)
    }
  }

  async function nextOf(
    process: SimProcess,
    after: PositionedEvent['position'] | undefined,
  ): Promise<PositionedEvent[]> {
    const limit = 1 + random.int(60)
    const events: PositionedEvent[] = []
    for await (const event of storeOf(process, store).readAll({ prefixes: fedPrefixes, after })) {
      if (events.push(event) >= limit) break
    }
    return events
  }

  function consumeDeps(process: SimProcess) {
    return {
      tables: tablesOf(process, tables),
      store: storeOf(process, store),
      graceMs: rules.graceMs,
      onAlarm,
    }
  }

  async function consumer(process: SimProcess): Promise<void> {
    const deps = consumeDeps(process)
    while (process.alive && !ended) {
      const placements = feedIsDown ? [] : await placementsOf(deps.tables, allPartitions, topic.extents())
      for (const { partition, offset } of placements) {
        const fed = topic.read(partition, offset, 1 + random.int(40))
        const seen = plant === 'no_head_check' ? withoutHeadCheck(deps.tables, fed) : deps.tables
        if (fed.length > 0) await consumeBatch({ ...deps, tables: seen }, partition, fed).catch(failed)
        if (!process.alive) throw new Crashed('dead')
      }
      await pause(random.int(healed ? healedMinutes : 6) * minute)
      if (!healed && random.chance(0.01)) await pause(random.int(20) * hourMs)
    }
  }

  async function directFeed(process: SimProcess): Promise<void> {
    const deps = consumeDeps(process)
    const through: MeteringTables = deps.tables
    while (process.alive && !ended) {
      const row = await tables.transaction((tx) => tx.directFeed())
      const events = feedIsDown ? [] : await nextOf(process, row?.position)
      const last = events.at(-1)
      if (last !== undefined) {
        await feedBatch(row, events, {
          tables: through,
          consume: (partition, fed) => consumeBatch(deps, partition, fed),
        }).catch(failed)
      }
      if (!process.alive) throw new Crashed('dead')
      await pause(last === undefined ? random.int(healed ? healedMinutes : 6) * minute : random.int(1_000))
    }
  }

  async function leader(process: SimProcess): Promise<void> {
    const decideFor = decideForIn({
      tables: tablesOf(process, tables),
      store: storeOf(process, store),
      patience,
      actor: 'system',
      onAlarm,
    })
    const plain = directBatchMeterUsage(aws, () => Date.now(), drawFault)
    const call = plant === 'retry_decides_again' ? stampedAnew(plain, now) : plain
    const through = tablesOf(process, tables)
    const endings = followEndings({ store, tables: through, signal: process.signal, onTrouble: failed })
    const deps = {
      tables: plant === 'seal_before_the_watermark' ? judgedByTheClock(through, now) : through,
      decideFor,
      endings,
      doubts: doubtsOf(process, doubts),
      rules,
      now,
      alarms: { onAlarm, onWarn: () => {} },
      onTrouble: (_: string, error: unknown) => failed(error),
      batchMeterUsage: async (...args: Parameters<typeof call>) => {
        const outcome = await process.io(() => call(...args)).catch(() => null)
        return outcome ?? ({ kind: 'no_answer', detail: 'the process is dead' } as const)
      },
    }
    const rounds = createRounds(deps)
    const submitter = createSubmitter(deps)
    while (process.alive && !ended) {
      for (const step of [rounds.seal, submitter.step, rounds.close]) await step(process.signal).catch(failed)
      if (!process.alive) throw new Crashed('dead')
      await pause(random.int(healed ? healedMinutes : 10) * minute)
      if (!healed && !feedIsDown && random.chance(0.01)) await pause(random.int(26) * hourMs)
    }
  }

  // The storm, with a mishap now and then.
  topic.lostAnswers = random.pick([0, 0.1])
  while (Date.now() < stormEnds) {
    await time.advance((5 + random.int(55)) * minute)
    if (!direct && random.chance(0.04)) topic.cutOff(random.int(partitionCount), 1 + random.int(20))
    if (!direct && random.chance(0.01)) topic.recreate()
  }
  topic.lostAnswers = 0
  weather.crash = 0
  weather.latencyMs = 50
  if (random.chance(0.5)) {
    feedIsDown = true
    faultRate = 0
    lives.push(run(leader)) // the others may sleep
    const ledgers = createLedgers({ store, loadSnapshot: async () => null, doubts, clock, patience })
    broken.push(...(await lastHours({ random, time, store, aws, customers, ledgers })))
    feedIsDown = false
  }
  healed = true
  await time.advance(27 * hourMs)
  // The last month is still running: go on to its end, so that every month is closed.
  time.setClock(Date.parse(`${nextMonthOf(now())}-01T00:00:00.000Z`))
  await time.advance(12 * hourMs)
  ended = true
  await time.advance(27 * hourMs)
  await Promise.all(lives)

  const events = store.all()
  const found = [...broken, ...differences(events, [...aws.state.billed.values()], now().slice(0, 7), rules.graceMs)]
  if (doubts.rows.size > 0) found.push('a doubt stands though everything healed')
  found.push(...(await rebuildDifferences(tables)))

  /** Folding the log into empty tables gives the same rows, and appends nothing. */
  async function rebuildDifferences(live: MemoryTables): Promise<string[]> {
    const before = store.all().length
    const anew = memoryTables()
    const deps = { tables: anew, store, graceMs: rules.graceMs, onAlarm: () => {} }
    const all: PositionedEvent[] = []
    for await (const event of await inTimeOf(time, store.readAll({ prefixes: fedPrefixes }))) all.push(event)
    const last = all.at(-1)
    if (last !== undefined) {
      await inTime(
        time,
        feedBatch(null, all, { tables: anew, consume: (partition, fed) => consumeBatch(deps, partition, fed) }),
      )
    }
    const rows = (of: MemoryTables) => {
      const { customers, records, adjustments, closed } = of.dump()
      return JSON.stringify({ customers, records, adjustments, closed }, (_, value) =>
        typeof value === 'bigint' ? String(value) : value,
      )
    }
    if (store.all().length !== before) return ['a rebuild appended events']
    return rows(live) === rows(anew) ? [] : ['tables folded anew from the log are not the same']
  }

  const detections = events.filter(({ type }) => type === 'DetectionSucceeded')
  return {
    seed,
    differences: found,
    detections: detections.length,
    overage: detections.filter(({ data }) => (data as { funding?: string }).funding === 'overage').length,
    records: events.filter(({ type }) => type === 'RecordSealed').length,
    crashes,
    alarms,
  }
}

const nextMonthOf = (instant: string): string => {
  const at = new Date(instant)
  return new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1)).toISOString().slice(0, 7)
}

const accountOf = (licence: Licence) => (licence.kind === 'none' ? undefined : licence.awsAccountId)
