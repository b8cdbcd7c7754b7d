/** Ledgers of two instances, each with a clock of its own that somebody sets: what one of them does wrong harms nobody. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ClockOutOfService, startClockGuard } from '../../src/commands/clock.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { customerId, detection, keys, newKey, registration } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const origin = { correlationId: 'request', causationId: 'command', actor: 'key' }

async function inVirtualTime<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  await vi.advanceTimersByTimeAsync(100)
  return work
}

/** Instances over one store, each with the clock that it is started with. */
function instancesAt(now: string) {
  vi.setSystemTime(now)
  const store = createMemoryStore()
  const doubts = memoryDoubts()
  const clocks: { stop(): void }[] = []
  return {
    stop: () => clocks.map((clock) => clock.stop()),
    async start(own: { setBy: number }) {
      const clock = await startClockGuard({
        system: () => Date.now() + own.setBy,
        database: async () => new Date(),
        onAlarm: () => {},
      })
      clocks.push(clock)
      const patience = { sendMs: 500, attemptMs: 2_000 }
      const ledgers = createLedgers({ store, loadSnapshot: async () => null, doubts, clock, patience })
      return (command: Parameters<typeof ledgers.execute>[1]['command']) =>
        inVirtualTime(ledgers.execute(customerId, { command, origin }))
    },
  }
}

test('a clock set two hours ahead takes no key away from those whose clock is right', async () => {
  const { start, stop } = instancesAt('2026-05-04T12:00:00.000Z')
  const wrong = { setBy: 0 }
  const [one, two] = [await start(wrong), await start({ setBy: 0 })]
  await one(registration())
  const expiring = newKey()
  await one({ type: 'RegenerateApiKey', slot: 'secondary', key: expiring, expiresAt: '2026-05-04T13:00:00.000Z' })
  wrong.setBy = 2 * 3_600_000
  await one(detection({ keyId: keys.primary.keyId })).catch(() => {})
  wrong.setBy = 0
  expect((await two(detection({ keyId: expiring.keyId }))).kind).toBe('done')
  stop()
})

test('a clock set back over a month’s start refuses nobody for the month that is over', async () => {
  const { start, stop } = instancesAt('2026-05-31T23:59:50.000Z')
  const own = { setBy: 0 }
  const one = await start(own)
  await one(registration({ monthlyLimit: 1, hardCap: true }))
  await one(detection())
  await vi.advanceTimersByTimeAsync(30_500) // June has begun
  own.setBy = -60_000
  await expect(one(detection())).rejects.toThrow(ClockOutOfService)
  own.setBy = 0
  await vi.advanceTimersByTimeAsync(3_000)
  expect((await one(detection())).kind).toBe('done')
  stop()
})
