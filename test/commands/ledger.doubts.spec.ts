/** One ledger at the moments that are hard to bill: an outcome nobody knows, a month's first event, a thaw. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Clock } from '../../src/commands/clock.ts'
import { AttemptInDoubt, ClientGone } from '../../src/commands/errors.ts'
import type { IdempotencyKey } from '../../src/commands/idempotency.ts'
import type { LedgerDeps } from '../../src/commands/ledger.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import type { SendOutcome } from '../../src/eventstore/store.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { customerId, detection, registration, uuid } from '../support/given.ts'
import { checkStream } from '../support/invariants.ts'
import { createMemoryStore } from '../support/memory-store.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'Date', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const origin = { correlationId: 'request', causationId: 'command', actor: 'key' }

async function inVirtualTime<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  await vi.advanceTimersByTimeAsync(60_000)
  return work
}

async function lone(options: Partial<LedgerDeps> = {}) {
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
  const ledgers = createLedgers(deps)
  await inVirtualTime(ledgers.execute(customerId, { command: registration(), origin }))
  const billed = () => {
    const { recorded, voided } = checkStream(store.stream(`customer-${customerId}`))
    return recorded.size - voided.size
  }
  return { store, doubts, deps, ledgers, billed }
}

test('two requests with one idempotency key whose outcome is unknown are both told 503 and nothing stays billed', async () => {
  const { store, ledgers, billed } = await lone()
  const key: IdempotencyKey = { key: 'a'.repeat(64), body: 'b'.repeat(64) }
  const call = () =>
    ledgers.execute(customerId, {
      command: detection({ idempotency: key }),
      origin,
      idempotency: { keys: [key], lookup: { hit: null, throughRevision: 3n } },
    })
  store.onSend = () => ({ answerLost: true }) // and so it stays until both have given up
  const ends = Promise.allSettled([call(), call()])
  await vi.advanceTimersByTimeAsync(30_000)
  const answers = await ends
  store.onSend = () => ({})
  await inVirtualTime(ledgers.settleStanding())
  const told200 = answers.filter(({ status }) => status === 'fulfilled').length
  expect([told200, billed()]).toEqual([0, 0])
})

test('a refusal after a send whose outcome is unknown says nothing of that send: the attempt is in doubt', async () => {
  const { store, doubts, ledgers, billed } = await lone()
  const send = store.send
  let sends = 0
  const refused: SendOutcome = { kind: 'refused', cause: new Error('access denied, for now') }
  store.onSend = () => ({ answerLost: true })
  store.send = (attempt, ms) => (++sends === 1 ? send(attempt, ms) : Promise.resolve(refused))
  await expect(inVirtualTime(ledgers.execute(customerId, { command: detection(), origin }))).rejects.toThrow(
    AttemptInDoubt,
  )
  expect(doubts.rows.size).toBe(1)
  store.onSend = () => ({})
  store.send = send
  await inVirtualTime(ledgers.settleStanding())
  expect(billed()).toBe(0)
})

test('a process that was frozen past its patience does not send again', async () => {
  const { store, ledgers } = await lone()
  store.onSend = () => ({ requestLost: true })
  const before = store.sends
  let sends = 0
  const send = store.send
  store.send = (attempt, ms) => {
    sends += 1
    return send(attempt, ms)
  }
  const answer = ledgers.execute(customerId, { command: detection(), origin })
  answer.catch(() => {})
  await vi.advanceTimersByTimeAsync(500) // the first send has ended; the pause before the next begins
  const now = performance.now()
  const frozen = vi.spyOn(performance, 'now').mockImplementation(() => now + 600_000)
  store.onSend = () => ({})
  await vi.advanceTimersByTimeAsync(100)
  frozen.mockRestore()
  await expect(inVirtualTime(answer)).rejects.toThrow(AttemptInDoubt)
  expect(sends).toBe(1)
  expect(store.sends).toBe(before)
})

test('a registration too waits until Postgres’s clock is in the month that it opens', async () => {
  const store = createMemoryStore()
  let begun = () => {}
  const asked: string[] = []
  const clock: Clock = {
    now: () => '2026-06-01T00:00:00.100Z',
    monthHasBegun: (yearMonth) => {
      asked.push(yearMonth)
      return new Promise((resolve) => {
        begun = resolve
      })
    },
  }
  const patience = { sendMs: 500, attemptMs: 2_000 }
  const ledgers = createLedgers({ store, loadSnapshot: async () => null, doubts: memoryDoubts(), clock, patience })
  const registered = ledgers.execute(customerId, { command: registration(), origin })
  await vi.advanceTimersByTimeAsync(1_000)
  expect([asked, store.all().length]).toEqual([['2026-06'], 0])
  begun()
  expect((await inVirtualTime(registered)).kind).toBe('done')
})

test('a client that goes away while a month is waited for is not billed', async () => {
  vi.setSystemTime('2026-05-31T23:00:00.000Z')
  let waiting = 0
  const clock: Clock = {
    now: () => new Date().toISOString(),
    monthHasBegun: async () => {
      waiting += 1
      await new Promise((resolve) => setTimeout(resolve, 2_000))
    },
  }
  const { ledgers, billed } = await lone({ clock })
  vi.setSystemTime('2026-06-01T00:00:00.000Z')
  const client = new AbortController()
  const before = waiting
  const answer = ledgers.execute(customerId, { command: detection(), origin, signal: client.signal })
  answer.catch(() => {})
  await vi.advanceTimersByTimeAsync(1_000)
  expect(waiting).toBe(before + 1)
  client.abort()
  await expect(inVirtualTime(answer)).rejects.toThrow(ClientGone)
  expect(billed()).toBe(0)
})

test('settling stops before the next customer when the process is to stop', async () => {
  const { store, doubts, ledgers } = await lone()
  const others = [1, 2, 3].map((n) => `22222222-2222-4222-8222-22222222222${n}`)
  for (const id of others) {
    await inVirtualTime(ledgers.execute(id, { command: registration({ customerId: id }), origin }))
    await doubts.record({ firstEventId: uuid(), customerId: id, expectedRevision: 3n, detectionIds: [] })
  }
  store.onSend = () => ({ requestLost: true }) // each customer takes all of the patience
  const stop = new AbortController()
  const settling = ledgers.settleStanding(stop.signal)
  await vi.advanceTimersByTimeAsync(1_000)
  stop.abort()
  await vi.advanceTimersByTimeAsync(2_000)
  expect(await Promise.race([settling, Promise.resolve('still settling')])).toBe(1)
})
