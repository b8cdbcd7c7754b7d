/**
 * Calls with idempotency keys, in the ledgers' simulation: several instances, a key table that lags, faults, kills. A
 * client asks as HTTP does: once before the inference and once after, looking the key up again while the table lags.
 */
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Executed } from '../../src/commands/batch.ts'
import type { Clock } from '../../src/commands/clock.ts'
import { AttemptInDoubt, LedgerUnavailable, Undeliverable } from '../../src/commands/errors.ts'
import { type IdempotencyKey, IdempotencyTail, type KeyLookup, tablesBehind } from '../../src/commands/idempotency.ts'
import type { LedgerDeps } from '../../src/commands/ledger.ts'
import { createLedgers, type Ledgers } from '../../src/commands/ledgers.ts'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { customerId, detection, keys, registration, uuid } from '../support/given.ts'
import { checkStream } from '../support/invariants.ts'
import { createMemoryStore, type SendFault } from '../support/memory-store.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'Date', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const origin = { correlationId: 'request', causationId: 'command', actor: 'key' }
const stream = `customer-${customerId}`
const never = new Promise<never>(() => {})
const hash = (text: string) => text.repeat(64).slice(0, 64)

const fault = fc.oneof(
  { weight: 4, arbitrary: fc.constant<SendFault>({}) },
  fc.constant<SendFault>({ requestLost: true }),
  fc.constant<SendFault>({ answerLost: true }),
  fc.integer({ min: 1, max: 8_000 }).map((landsAfterMs): SendFault => ({ landsAfterMs, answerLost: true })),
)
const step = fc.record({
  instance: fc.nat({ max: 2 }),
  /** Which keys are used, one call each; the same key several times at once is a client that retries too early. */
  calls: fc.array(
    fc.record({
      key: fc.nat({ max: 2 }),
      body: fc.constantFrom('a', 'a', 'a', 'b'),
      lag: fc.nat({ max: 6 }),
      inferenceMs: fc.nat({ max: 300 }),
    }),
    {
      maxLength: 5,
    },
  ),
  waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4_000 })),
  event: fc.oneof({ weight: 6, arbitrary: fc.constant('none' as const) }, fc.constantFrom('kill', 'settle', 'heal')),
})

interface Call {
  readonly detectionId: string
  readonly key: IdempotencyKey
  readonly instance: object
  told: 'ok' | 'replayed' | 'reused' | '503' | 'closed' | 'nothing'
  /** The detection that the answer shows. */
  answeredWith?: string
}

test('a key is billed once, every answer is of a billed call with the same body, and no call that only got 503 is billed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fault, { minLength: 1, maxLength: 20 }),
      fc.array(step, { minLength: 1, maxLength: 10 }),
      async (faults, steps) => {
        vi.setSystemTime(new Date('2026-05-31T23:59:00.000Z'))
        const store = createMemoryStore()
        const doubts = memoryDoubts()
        const clock: Clock = { now: () => new Date().toISOString(), monthHasBegun: async () => {} }
        let sends = 0

        function startInstance(): { ledgers: Ledgers; kill: () => void; alive: () => boolean } {
          let alive = true
          const living = <T>(call: () => Promise<T>): Promise<T> =>
            alive ? call().then((v) => (alive ? v : never)) : never
          const deps: LedgerDeps = {
            store: { ...store, send: (attempt, ms) => living(() => store.send(attempt, ms)) },
            loadSnapshot: async () => null,
            doubts: {
              record: (doubt) => living(() => doubts.record(doubt)),
              remove: (id) => living(() => doubts.remove(id)),
              standing: (id) => living(() => doubts.standing(id)),
            },
            clock,
            patience: { sendMs: 500, attemptMs: 2_000 },
          }
          return { ledgers: createLedgers(deps), kill: () => (alive = false), alive: () => alive }
        }
        const instances = [startInstance(), startInstance(), startInstance()]
        await inVirtualTime(startInstance().ledgers.execute(customerId, { command: registration(), origin }))
        store.onSend = () => faults[sends++ % faults.length] ?? {}

        const lookUp = (key: IdempotencyKey, lag: number): KeyLookup => {
          const events = store.stream(stream)
          const through = Math.max(3, events.length - 1 - lag)
          const tail = new IdempotencyTail(-1n, Number.MAX_SAFE_INTEGER)
          for (const stored of events.slice(0, through + 1)) tail.add(stored.revision, parseCustomerEvent(stored).event)
          const hit = tail.find([key], { hit: null, throughRevision: -1n }, clock.now())
          return { hit: hit === tablesBehind ? null : hit, throughRevision: BigInt(through) }
        }

        const calls: Call[] = []
        async function check(
          instance: (typeof instances)[number],
          { key: name, body, lag, inferenceMs }: { key: number; body: string; lag: number; inferenceMs: number },
        ) {
          const key = { key: hash('abc'[name] ?? 'a'), body: hash(body === 'a' ? 'd' : 'e') }
          const call: Call = { detectionId: uuid(), key, instance, told: 'nothing' }
          calls.push(call)
          const doubtStanding = doubts.rows.size > 0
          let lookup: KeyLookup | undefined
          const run = async (command: ReturnType<typeof detection>): Promise<Executed> => {
            for (let tries = 0; ; tries++) {
              lookup ??= lookUp(key, tries === 0 ? lag : 0)
              const idempotency = { keys: [key], lookup }
              const executed = await instance.ledgers.execute(customerId, { command, origin, idempotency })
              if (executed.kind !== 'tables_behind' || tries > 3) return executed
              lookup = undefined
            }
          }
          const work = async () => {
            if (doubtStanding) {
              await instance.ledgers.execute(customerId, { command: { type: 'Observe' }, origin }, { doubtStanding })
            }
            const seen = await run({ type: 'Observe', keyId: keys.primary.keyId })
            if (seen.kind !== 'done') return seen
            await new Promise((resolve) => setTimeout(resolve, inferenceMs))
            return run(detection({ detectionId: call.detectionId, idempotency: key }))
          }
          const end = await work().catch((error: unknown) => error)
          if (!instance.alive()) return
          if (end instanceof Undeliverable) call.told = 'closed'
          else if (end instanceof AttemptInDoubt || end instanceof LedgerUnavailable) call.told = '503'
          else if (end instanceof Error) throw end
          else {
            const executed = end as Executed
            if (executed.kind === 'done') {
              call.told = 'ok'
              call.answeredWith = call.detectionId
            } else if (executed.kind === 'replayed') {
              call.told = 'replayed'
              call.answeredWith = executed.hit.detectionId
            } else if (executed.kind === 'key_reused') call.told = 'reused'
            else if (executed.kind === 'tables_behind') call.told = '503'
            else throw new Error(`unexpected ${executed.kind}`)
          }
        }

        for (const { instance: index, calls: wanted, waitMs, event } of steps) {
          const instance = instances[index]
          if (instance === undefined) continue
          for (const one of wanted) void check(instance, one)
          if (event === 'kill') {
            await vi.advanceTimersByTimeAsync(waitMs)
            instance.kill()
            instances[index] = startInstance()
          }
          if (event === 'settle') instance.ledgers.settleStanding().catch(() => {})
          if (event === 'heal') store.onSend = () => ({})
          await vi.advanceTimersByTimeAsync(waitMs)
        }
        store.onSend = () => ({})
        await vi.advanceTimersByTimeAsync(120_000)
        const settled = Promise.all(instances.map(({ ledgers }) => ledgers.settleStanding()))
        await vi.advanceTimersByTimeAsync(120_000)
        expect(await settled).toEqual([0, 0, 0])
        expect(doubts.rows.size).toBe(0)

        const events = store.stream(stream).map((stored) => parseCustomerEvent(stored).event)
        const bill = checkStream(store.stream(stream))
        const billed = new Map<string, IdempotencyKey>()
        for (const event of events) {
          if (event.type !== 'DetectionSucceeded' || bill.voided.has(event.data.detectionId)) continue
          if (event.data.idempotency !== undefined) billed.set(event.data.detectionId, event.data.idempotency)
        }
        const keysBilled = [...billed.values()].map(({ key }) => key)
        expect(new Set(keysBilled).size, 'a key is billed once').toBe(keysBilled.length)
        for (const call of calls) {
          if (call.answeredWith === undefined) continue
          expect(billed.get(call.answeredWith), 'the answer is of a billed call with this body').toEqual(call.key)
        }
        for (const [detectionId] of billed) {
          const own = calls.find((call) => call.detectionId === detectionId)
          const answered = calls.some((call) => call.answeredWith === detectionId)
          const undelivered = own?.told === 'nothing' || own?.told === 'closed'
          // The one loss that is left: another instance's replay is in the log for ever and was in doubt itself. The key
          // then still gives the result, unbilled.
          const replayedElsewhere =
            events.some((event) => event.type === 'DetectionReplayed' && event.data.detectionId === detectionId) &&
            calls.some(
              ({ instance, key, answeredWith }) =>
                instance !== own?.instance && key.key === own?.key.key && answeredWith === undefined,
            )
          expect(answered || undelivered || replayedElsewhere, 'what is billed was answered to somebody').toBe(true)
        }
      },
    ),
    { numRuns: 150, interruptAfterTimeLimit: 60_000 },
  )
}, 300_000)

async function inVirtualTime<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  await vi.advanceTimersByTimeAsync(60_000)
  return work
}
