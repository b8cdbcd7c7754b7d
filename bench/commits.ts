/**
 * What billing costs: authentication, quota and commit beside one bare append; group commit beside bare appends; the
 * cold start of a customer with a long history beside one with a short.
 */
import { randomUUID } from 'node:crypto'
import { freeze } from '../src/commands/attempt.ts'
import { decide, isRefusal } from '../src/commands/customer.ts'
import { hashApiKey, makeApiKey } from '../src/commands/keys.ts'
import { createLedgers, type Ledgers } from '../src/commands/ledgers.ts'
import { evolve, initialState } from '../src/commands/state.ts'
import type { CustomerEvent, Verdict } from '../src/events/catalogue.ts'
import { emptyHead, type Head } from '../src/events/chain.ts'
import { findApiKey } from '../src/readmodels/api-keys.ts'
import { type Figure, quantile, ratio, type Stack, startStack } from './stack.ts'

const verdict: Verdict = {
  isFakeFace: false,
  likelihoodMillionths: 12_345,
  isValidFace: true,
  brightnessHundredths: 14_230,
  face: { x: 120, y: 80, width: 200, height: 200 },
  faces: [{ x: 120, y: 80, width: 200, height: 200 }],
  msg: '',
  latencyMs: 42,
}
const origin = { correlationId: randomUUID(), causationId: randomUUID(), actor: 'operator' }
const longHistory = Number(process.env.BENCH_HISTORY ?? 1_000_000)

interface BenchCustomer {
  readonly customerId: string
  readonly secret: string
  readonly keyId: string
}

async function register(stack: Stack, ledgers: Ledgers): Promise<BenchCustomer> {
  const customerId = randomUUID()
  const primary = makeApiKey()
  const executed = await ledgers.execute(customerId, {
    command: {
      type: 'RegisterCustomer',
      customerId,
      plan: 'enterprise',
      monthlyLimit: 1_000_000_000,
      hardCap: true,
      licence: { kind: 'none' },
      keys: { primary: primary.key, secondary: makeApiKey().key },
    },
    origin,
  })
  await stack.freshness.waitFor(customerId, executed.revision, 30_000)
  return { customerId, secret: primary.secret, keyId: primary.key.keyId }
}

const record = (ledgers: Ledgers, { customerId, keyId }: BenchCustomer) =>
  ledgers.execute(customerId, {
    command: {
      type: 'RecordDetection',
      detectionId: randomUUID(),
      keyId,
      verdict,
      modelSet: 'ensemble',
      modelVersion: '1',
    },
    origin,
  })

/** Appends events like a detection's to streams of their own, one after another each: the bound of any ledger. */
function bareAppender(stack: Stack) {
  const stream = `bench-${randomUUID()}`
  const customerId = randomUUID()
  let revision = -1n
  const keyId = randomUUID()
  return async () => {
    const event: CustomerEvent = {
      type: 'DetectionSucceeded',
      data: {
        customerId,
        occurredAt: new Date().toISOString(),
        detectionId: randomUUID(),
        yearMonth: '2026-05',
        sequence: Number(revision) + 2,
        funding: 'credit',
        plan: 'enterprise',
        overageUnitPrice: '0.05',
        bucketKey: `${customerId}|none|enterprise_over|2026-05-04T12Z`,
        keyId,
        verdict,
        modelSet: 'ensemble',
        modelVersion: '1',
      },
    }
    const hash = '0'.repeat(64)
    const metadata = { ...origin, schema: '1', prevHash: hash, hash }
    const events = [{ id: event.data.detectionId, type: event.type, data: event.data, metadata }]
    const expectedRevision = revision < 0n ? 'no_stream' : revision
    const outcome = await stack.store.send({ stream, expectedRevision, events }, 10_000)
    if (outcome.kind !== 'appended') throw new Error(`the bare append ended ${outcome.kind}`)
    revision = outcome.revision
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now()
  await work()
  return performance.now() - before
}

/** Calls a second of so many clients, each its next call when the last is answered. */
async function throughput(works: readonly (() => Promise<unknown>)[], ms: number): Promise<number> {
  let calls = 0
  const until = performance.now() + ms
  await Promise.all(
    works.map(async (work) => {
      while (performance.now() < until) {
        await work()
        calls += 1
      }
    }),
  )
  return (calls / ms) * 1_000
}

/** One client; bare appends and billed calls take turns, so that both see the same machine. */
async function latency(stack: Stack): Promise<Figure[]> {
  const ledgers = createLedgers(stack.ledgerDeps)
  const customer = await register(stack, ledgers)
  const bareAppend = bareAppender(stack)
  const billed = async () => {
    const key = await findApiKey(stack.pool, hashApiKey(customer.secret))
    if (key === null || key.revoked) throw new Error('the key is unknown')
    await record(ledgers, customer)
  }
  const bare: number[] = []
  const full: number[] = []
  for (let i = 0; i < 2_500; i++) {
    const [a, b] = [await timed(bareAppend), await timed(billed)]
    if (i >= 500) {
      bare.push(a)
      full.push(b)
    }
  }
  return [0.5, 0.99].map((q) => {
    const [one, all] = [quantile(bare, q), quantile(full, q)]
    return {
      name: `auth + quota + commit, p${q * 100}: billed ${all.toFixed(2)} ms / bare append ${one.toFixed(2)} ms`,
      value: ratio(all / one),
      goal: '≤ 1.5',
    }
  })
}

async function commitRates(stack: Stack): Promise<Figure[]> {
  const ledgers = createLedgers(stack.ledgerDeps)
  const ms = 4_000
  const times = <T>(count: number, make: () => T) => Array.from({ length: count }, make)
  const one = await register(stack, ledgers)
  const many = await Promise.all(times(64, () => register(stack, ledgers)))
  const bareMany = times(64, () => bareAppender(stack))
  await throughput(bareMany, 1_000) // warm up
  const bareOne = await throughput([bareAppender(stack)], ms)
  const oneCustomer = await throughput(
    times(64, () => () => record(ledgers, one)),
    ms,
  )
  const bareRate = await throughput(bareMany, ms)
  const manyCustomers = await throughput(
    many.map((customer) => () => record(ledgers, customer)),
    ms,
  )
  const perSecond = (rate: number) => `${Math.round(rate)}/s`
  return [
    {
      name: `commits, one customer, 64 clients: ${perSecond(oneCustomer)} / bare appends to one stream ${perSecond(bareOne)}`,
      value: ratio(oneCustomer / bareOne),
      goal: '≥ 3',
    },
    {
      name: `commits, 64 customers, a client each: ${perSecond(manyCustomers)} / bare appends to 64 streams ${perSecond(bareRate)}`,
      value: ratio(manyCustomers / bareRate),
    },
  ]
}

/** Writes a registered customer's history straight to the store: decided and chained as ever, 250 events an append. */
async function writeHistory(stack: Stack, events: number): Promise<{ customerId: string; head: Head }> {
  const customerId = randomUUID()
  const key = makeApiKey().key
  const keys = { primary: key, secondary: makeApiKey().key }
  let state = initialState
  let head: Head = emptyHead
  const write = async (decided: readonly CustomerEvent[]) => {
    const caused = decided.map((event) => ({ event, origin }))
    const frozen = freeze(`customer-${customerId}`, head, caused)
    const outcome = await stack.store.send(frozen.attempt, 30_000)
    if (outcome.kind !== 'appended') throw new Error(`the history ended ${outcome.kind}`)
    head = frozen.head
  }
  const run = (command: Parameters<typeof decide>[1]): readonly CustomerEvent[] => {
    const decision = decide(state, command, new Date().toISOString())
    if (isRefusal(decision)) throw new Error(decision.message)
    state = decision.reduce(evolve, state)
    return decision
  }
  await write(
    run({
      type: 'RegisterCustomer',
      customerId,
      plan: 'enterprise',
      monthlyLimit: 1_000_000_000,
      hardCap: false,
      licence: { kind: 'none' },
      keys,
    }),
  )
  const { keyId } = key
  while (head.revision + 1n < events) {
    const batch = Array.from({ length: Math.min(250, events - Number(head.revision + 1n)) }, () =>
      run({
        type: 'RecordDetection',
        detectionId: randomUUID(),
        keyId,
        verdict,
        modelSet: 'ensemble',
        modelVersion: '1',
      }),
    )
    await write(batch.flat())
  }
  return { customerId, head }
}

async function coldStart(stack: Stack): Promise<Figure[]> {
  const cold = async (events: number) => {
    const { customerId, head } = await writeHistory(stack, events)
    await stack.freshness.waitFor(customerId, head.revision, 600_000)
    const samples: number[] = []
    for (let i = 0; i < 50; i++) {
      const ledgers = createLedgers(stack.ledgerDeps)
      samples.push(await timed(() => ledgers.execute(customerId, { command: { type: 'Observe' }, origin })))
    }
    return quantile(samples, 0.5)
  }
  const short = await cold(1_000)
  const long = await cold(longHistory)
  return [
    {
      name: `cold start: ${longHistory} events ${long.toFixed(2)} ms / 1000 events ${short.toFixed(2)} ms`,
      value: ratio(long / short),
      goal: '≤ 2',
    },
  ]
}

export async function benchCommits(): Promise<Figure[]> {
  const stack = await startStack()
  try {
    return [...(await latency(stack)), ...(await commitRates(stack)), ...(await coldStart(stack))]
  } finally {
    await stack.stop()
  }
}
