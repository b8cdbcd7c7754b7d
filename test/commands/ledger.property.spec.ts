/**
 * The ledgers' simulation: several instances over one store with faults, in virtual time. Clients' own notes of what
 * they were answered are held against the log (invariant 1), the log against invariants 2–6.
 */
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Clock } from '../../src/commands/clock.ts'
import { AttemptInDoubt, ClientGone, LedgerUnavailable, Undeliverable } from '../../src/commands/errors.ts'
import type { IdempotencyKey } from '../../src/commands/idempotency.ts'
import type { LedgerDeps } from '../../src/commands/ledger.ts'
import { createLedgers, type Ledgers } from '../../src/commands/ledgers.ts'
import { counters } from '../../src/commands/state.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { customerId, detection, registration, uuid } from '../support/given.ts'
import { checkStream } from '../support/invariants.ts'
import { createMemoryStore, type SendFault } from '../support/memory-store.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'Date', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const origin = { correlationId: 'request', causationId: 'command', actor: 'key' }
const never = new Promise<never>(() => {})

/** What the client was told about one detection. */
type Told = 'ok' | 'refused' | '503' | 'closed' | 'nothing'

const fault = fc.oneof(
  { weight: 6, arbitrary: fc.constant<SendFault>({}) },
  fc.constant<SendFault>({ requestLost: true }),
  fc.constant<SendFault>({ answerLost: true }),
  fc.integer({ min: 1, max: 30_000 }).map((landsAfterMs): SendFault => ({ landsAfterMs })),
  fc.integer({ min: 1, max: 30_000 }).map((landsAfterMs): SendFault => ({ landsAfterMs, answerLost: true })),
  fc.integer({ min: 1, max: 30_000 }).map((duplicateAfterMs): SendFault => ({ duplicateAfterMs })),
)

const step = fc.record({
  instance: fc.nat({ max: 2 }),
  calls: fc.integer({ min: 1, max: 12 }),
  waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4_000 })),
  event: fc.oneof(
    { weight: 8, arbitrary: fc.constant('none' as const) },
    fc.constantFrom(
      'kill',
      'settle',
      'store down',
      'store up',
      'postgres down',
      'postgres up',
      'cap on',
      'cap off',
      'month',
    ),
  ),
})

test('through lost answers, late and double deliveries, kills and outages every 200 is one event and every 503 none', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 25 }),
      fc.boolean(),
      fc.array(fault, { minLength: 1, maxLength: 40 }),
      fc.array(step, { minLength: 1, maxLength: 14 }),
      async (monthlyLimit, hardCap, faults, steps) => {
        vi.setSystemTime(new Date('2026-05-31T23:59:00.000Z'))
        const store = createMemoryStore()
        const doubts = memoryDoubts()
        let storeUp = true
        let postgresUp = true
        let sends = 0
        const clock: Clock = { now: () => new Date().toISOString(), monthHasBegun: async () => {} }

        /** One process: after kill() none of its calls reaches anything and none of its answers a client. */
        function startInstance(): { ledgers: Ledgers; kill: () => void; alive: () => boolean } {
          let alive = true
          const living = <T>(call: () => Promise<T>): Promise<T> =>
            alive ? call().then((v) => (alive ? v : never)) : never
          const postgres = <T>(call: () => Promise<T>): Promise<T> =>
            living(() => (postgresUp ? call() : Promise.reject(new Error('postgres is down'))))
          const deps: LedgerDeps = {
            store: {
              ...store,
              send: (attempt, ms) => living(() => store.send(attempt, ms)),
              async *readForward(...args) {
                if (!alive) await never
                yield* store.readForward(...args)
              },
              async *readBackward(...args) {
                if (!alive) await never
                yield* store.readBackward(...args)
              },
            },
            loadSnapshot: async () => null,
            doubts: {
              record: (doubt) => postgres(() => doubts.record(doubt)),
              remove: (id) => postgres(() => doubts.remove(id)),
              standing: (id) => postgres(() => doubts.standing(id)),
            },
            clock,
            patience: { sendMs: 500, attemptMs: 2_000 },
          }
          return { ledgers: createLedgers(deps), kill: () => (alive = false), alive: () => alive }
        }

        const instances = [startInstance(), startInstance(), startInstance()]
        await inVirtualTime(
          startInstance().ledgers.execute(customerId, {
            command: registration({ plan: 'starter', monthlyLimit, hardCap }),
            origin,
          }),
        )
        store.onSend = () => (storeUp ? (faults[sends++ % faults.length] ?? {}) : { requestLost: true })
        store.onRead = () => !storeUp

        const told = new Map<string, Told>()
        const wrongCounters: string[] = []
        async function call(instance: (typeof instances)[number]) {
          const detectionId = uuid()
          told.set(detectionId, 'nothing')
          const answer = await instance.ledgers
            .execute(
              customerId,
              { command: detection({ detectionId }), origin },
              { doubtStanding: postgresUp && doubts.rows.size > 0 },
            )
            .catch((error: unknown) => error)
          if (!instance.alive()) return
          if (answer instanceof Undeliverable) told.set(detectionId, 'closed')
          else if (answer instanceof AttemptInDoubt || answer instanceof LedgerUnavailable) told.set(detectionId, '503')
          else if (answer instanceof Error && answer.message === 'postgres is down') told.set(detectionId, '503')
          else if (answer instanceof Error) throw answer
          else {
            const executed = answer as Awaited<ReturnType<Ledgers['execute']>>
            told.set(detectionId, executed.kind === 'done' ? 'ok' : 'refused')
            if (counters(executed.state).remainingCalls < 0) wrongCounters.push(detectionId)
          }
        }

        const calls: Promise<void>[] = []
        for (const { instance: index, calls: count, waitMs, event } of steps) {
          const instance = instances[index % instances.length]
          if (instance === undefined) continue
          for (let i = 0; i < count; i++) calls.push(call(instance))
          if (event === 'kill') {
            await vi.advanceTimersByTimeAsync(waitMs)
            instance.kill()
            instances[index % instances.length] = startInstance()
          }
          if (event === 'settle') instance.ledgers.settleStanding().catch(() => {})
          if (event === 'store down') storeUp = false
          if (event === 'store up') storeUp = true
          if (event === 'postgres down') postgresUp = false
          if (event === 'postgres up') postgresUp = true
          if (event === 'month') vi.setSystemTime(Date.now() + 32 * 24 * 3_600_000)
          if (event === 'cap on' || event === 'cap off') {
            const type = event === 'cap on' ? 'EnableHardCap' : 'DisableHardCap'
            instance.ledgers.execute(customerId, { command: { type }, origin }).catch(() => {})
          }
          await vi.advanceTimersByTimeAsync(waitMs)
        }

        // Everything heals; whatever is still under way lands; then the doubts are settled.
        storeUp = true
        postgresUp = true
        store.onSend = () => ({})
        await vi.advanceTimersByTimeAsync(120_000)
        const settled = Promise.all(instances.map(({ ledgers }) => ledgers.settleStanding()))
        await vi.advanceTimersByTimeAsync(120_000)
        expect(await settled).toEqual([0, 0, 0])
        expect(doubts.rows.size).toBe(0)

        const bill = checkStream(store.stream(`customer-${customerId}`))
        for (const [detectionId, answer] of told) {
          const events = (bill.recorded.get(detectionId)?.length ?? 0) - (bill.voided.has(detectionId) ? 1 : 0)
          const allowed = { ok: [1], refused: [0], '503': [0], closed: [0, 1], nothing: [0, 1] }[answer]
          expect(allowed, `told ${answer}, ${events} events`).toContain(events)
        }
        for (const id of bill.recorded.keys()) expect(told.has(id), 'no phantom call').toBe(true)
        expect(wrongCounters).toEqual([])
      },
    ),
    { numRuns: 150, interruptAfterTimeLimit: 60_000 },
  )
}, 120_000)

function lone(options: Partial<LedgerDeps> = {}) {
  const store = createMemoryStore()
  const doubts = memoryDoubts()
  const clock: Clock = { now: () => new Date().toISOString(), monthHasBegun: async () => {} }
  const deps: LedgerDeps = {
    store,
    loadSnapshot: async () => null,
    doubts,
    clock,
    patience: { sendMs: 500, attemptMs: 2_000 },
    ...options,
  }
  return { store, doubts, deps, ledgers: createLedgers(deps) }
}
async function inVirtualTime<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  await vi.advanceTimersByTimeAsync(60_000)
  return work
}

test('commands that arrive while an append is in flight go out together in the next one', async () => {
  const { store, ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  const sendsBefore = store.sends
  await inVirtualTime(
    Promise.all(Array.from({ length: 64 }, () => ledgers.execute(customerId, { command: detection(), origin }))),
  )
  expect(store.sends - sendsBefore).toBe(1)
  expect(checkStream(store.stream(`customer-${customerId}`)).recorded.size).toBe(64)
})

test('200 commands of two instances race for 50 credits: exactly 50 are sold', async () => {
  const { store, deps, ledgers } = lone()
  await inVirtualTime(
    ledgers.execute(customerId, { command: registration({ monthlyLimit: 50, hardCap: true }), origin }),
  )
  store.onSend = () => ({ landsAfterMs: 1 + Math.floor(Math.random() * 5) })
  const instances = [ledgers, createLedgers(deps)]
  const answers = await inVirtualTime(
    Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        (instances[i % 2] ?? ledgers).execute(customerId, { command: detection(), origin }),
      ),
    ),
  )
  expect(answers.filter(({ kind }) => kind === 'done')).toHaveLength(50)
  expect(answers.filter((a) => a.kind === 'refused' && a.refusal === 'quota_exceeded')).toHaveLength(150)
  expect(checkStream(store.stream(`customer-${customerId}`)).recorded.size).toBe(50)
})

test('a refusal is never given on stale state: an upgrade made elsewhere is seen first', async () => {
  const { deps, ledgers } = lone()
  const elsewhere = createLedgers(deps)
  await inVirtualTime(
    ledgers.execute(customerId, { command: registration({ monthlyLimit: 1, hardCap: true }), origin }),
  )
  await inVirtualTime(ledgers.execute(customerId, { command: detection(), origin }))
  const setPlan = { type: 'SetPlan', plan: 'business', origin: 'operator', reason: 'asked' } as const
  await inVirtualTime(elsewhere.execute(customerId, { command: setPlan, origin }))
  const answer = await inVirtualTime(ledgers.execute(customerId, { command: detection(), origin }))
  expect(answer.kind).toBe('done')
})

test('a client that went away before the append is not billed', async () => {
  const { store, ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  const gone = AbortSignal.abort()
  await expect(
    inVirtualTime(ledgers.execute(customerId, { command: detection(), origin, signal: gone })),
  ).rejects.toThrow(ClientGone)
  expect(checkStream(store.stream(`customer-${customerId}`)).recorded.size).toBe(0)
})

test('a 503 outlives the process: the attempt lands after kill -9 and another instance voids it', async () => {
  const { store, doubts, deps, ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration({ monthlyLimit: 10 }), origin }))
  store.onSend = () => ({ landsAfterMs: 40_000, answerLost: true })
  const answer = ledgers.execute(customerId, { command: detection(), origin })
  answer.catch(() => {})
  await vi.advanceTimersByTimeAsync(5_000)
  await expect(answer).rejects.toThrow(AttemptInDoubt)
  expect(doubts.rows.size).toBe(1)
  await vi.advanceTimersByTimeAsync(60_000) // it lands though nobody waits for it any more
  store.onSend = () => ({})
  await inVirtualTime(createLedgers(deps).settleStanding())
  const bill = checkStream(store.stream(`customer-${customerId}`))
  expect([bill.recorded.size, bill.voided.size, doubts.rows.size]).toEqual([1, 1, 0])
})

test('an attempt in doubt that never landed is fenced, and can then never land', async () => {
  const { store, doubts, ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  const sent: Parameters<typeof store.send>[0][] = []
  store.onSend = (attempt) => {
    sent.push(attempt)
    return { requestLost: true }
  }
  await expect(inVirtualTime(ledgers.execute(customerId, { command: detection(), origin }))).rejects.toThrow(
    AttemptInDoubt,
  )
  store.onSend = () => ({})
  await inVirtualTime(ledgers.settleStanding())
  expect(doubts.rows.size).toBe(0)
  const attempt = sent[0]
  if (attempt === undefined) throw new Error('nothing was sent')
  expect((await store.send(attempt, 1_000)).kind).toBe('conflict')
  expect(checkStream(store.stream(`customer-${customerId}`)).recorded.size).toBe(0)
})

test('when even the doubt cannot be noted, no answer is given', async () => {
  const { store, doubts, ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  store.onSend = () => ({ answerLost: true })
  doubts.record = () => Promise.reject(new Error('postgres is down'))
  await expect(inVirtualTime(ledgers.execute(customerId, { command: detection(), origin }))).rejects.toThrow(
    Undeliverable,
  )
})

test('two requests with one idempotency key at the same moment: one event, both get its answer', async () => {
  const { store, ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  const key: IdempotencyKey = { key: 'a'.repeat(64), body: 'b'.repeat(64) }
  const lookup = { hit: null, throughRevision: 3n }
  const call = (idempotency = key) =>
    ledgers.execute(customerId, {
      command: detection({ idempotency }),
      origin,
      idempotency: { keys: [idempotency], lookup },
    })
  const [first, second] = await inVirtualTime(Promise.all([call(), call()]))
  expect([first?.kind, second?.kind]).toEqual(['done', 'replayed'])
  const types = store.stream(`customer-${customerId}`).map(({ type }) => type)
  expect(types.slice(4)).toEqual(['DetectionSucceeded', 'DetectionReplayed'])
  const third = await inVirtualTime(call())
  expect(third.kind).toBe('replayed')
  expect(store.stream(`customer-${customerId}`)).toHaveLength(6) // further replays append nothing
  expect((await inVirtualTime(call({ ...key, body: 'c'.repeat(64) }))).kind).toBe('key_reused')
})

test('a key table that is behind the ledger decides nothing', async () => {
  const { ledgers } = lone()
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  const key: IdempotencyKey = { key: 'a'.repeat(64), body: 'b'.repeat(64) }
  const cold = await inVirtualTime(
    ledgers.execute(customerId, {
      command: detection({ idempotency: key }),
      origin,
      idempotency: { keys: [key], lookup: { hit: null, throughRevision: -2n } },
    }),
  )
  expect(cold.kind).toBe('tables_behind')
})
