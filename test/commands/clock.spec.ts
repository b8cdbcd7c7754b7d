import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ClockOutOfService, startClockGuard } from '../../src/commands/clock.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
  vi.setSystemTime('2026-05-31T23:59:50.000Z')
})
afterEach(() => {
  vi.useRealTimers()
})

/** A guard whose own clock is `ahead` milliseconds ahead of the database's. */
async function guard(ahead: { ms: number; databaseUp?: boolean }) {
  const alarms: string[] = []
  const clock = await startClockGuard({
    system: () => Date.now() + ahead.ms,
    database: async () => {
      if (ahead.databaseUp === false) throw new Error('down')
      return new Date()
    },
    onAlarm: (message) => alarms.push(message),
  })
  return { clock, alarms }
}

test.each([2_001, -2_001])(
  'a clock %i ms off takes itself out of service, says so, and comes back when it agrees',
  async (ms) => {
    const ahead = { ms: 0 }
    const { clock, alarms } = await guard(ahead)
    expect(clock.now()).toBe('2026-05-31T23:59:50.000Z')
    ahead.ms = ms
    await vi.advanceTimersByTimeAsync(3_000)
    expect(() => clock.now()).toThrow(ClockOutOfService)
    expect(alarms).toHaveLength(1)
    ahead.ms = 0
    await vi.advanceTimersByTimeAsync(3_000)
    expect(clock.now()).toMatch(/^2026/)
    expect(alarms).toHaveLength(2)
    clock.stop()
  },
)

test('a clock within two seconds stays in service', async () => {
  const { clock } = await guard({ ms: 1_999 })
  await vi.advanceTimersByTimeAsync(10_000)
  expect(clock.now()).toMatch(/^2026/)
  clock.stop()
})

test('a month has begun only when Postgres’s clock says so: a fast clock waits for it', async () => {
  const { clock } = await guard({ ms: 1_500 })
  await vi.advanceTimersByTimeAsync(8_600) // 23:59:58.600 there, 00:00:00.100 here
  expect(clock.now().slice(0, 7)).toBe('2026-06')
  let begun = false
  const waiting = clock.monthHasBegun('2026-06').then(() => {
    begun = true
  })
  await vi.advanceTimersByTimeAsync(1_300)
  expect(begun).toBe(false)
  await vi.advanceTimersByTimeAsync(200)
  await waiting
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse('2026-06-01T00:00:00.000Z'))
  clock.stop()
})

test('without Postgres the clock serves a while, then no longer, and opens no month', async () => {
  const ahead = { ms: 0, databaseUp: true }
  const { clock } = await guard(ahead)
  ahead.databaseUp = false
  await vi.advanceTimersByTimeAsync(6_000)
  expect(clock.now()).toMatch(/^2026/)
  await expect(clock.monthHasBegun('2026-05')).rejects.toThrow(ClockOutOfService)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(() => clock.now()).toThrow(ClockOutOfService)
  clock.stop()
})

test.each([3_600_000, -3_600_000, 2_001, -2_001])(
  'a clock that is set by %i ms between two comparisons bills nothing by the wrong time',
  async (ms) => {
    const ahead = { ms: 0 }
    const { clock, alarms } = await guard(ahead)
    await vi.advanceTimersByTimeAsync(500)
    ahead.ms = ms
    expect(() => clock.now()).toThrow(ClockOutOfService)
    await vi.advanceTimersByTimeAsync(1)
    expect(alarms).toHaveLength(1) // compared at once, and not within the next three seconds
    ahead.ms = 0
    await vi.advanceTimersByTimeAsync(3_000)
    expect(clock.now()).toMatch(/^2026/)
    clock.stop()
  },
)

test('a clock that is set back over a month’s start does not bill in the month that is over', async () => {
  const ahead = { ms: 0 }
  const { clock } = await guard(ahead)
  await vi.advanceTimersByTimeAsync(10_500)
  expect(clock.now().slice(0, 7)).toBe('2026-06')
  ahead.ms = -60_000
  expect(() => clock.now()).toThrow(ClockOutOfService)
  clock.stop()
})

test('a clock that is set while it is compared is seen to be wrong', async () => {
  let ahead = 0
  let jumps = 0
  const clock = await startClockGuard({
    system: () => Date.now() + ahead,
    database: async () => {
      const theirs = new Date()
      ahead = jumps // while the answer is under way
      return theirs
    },
    onAlarm: () => {},
  })
  jumps = 3_600_000
  await vi.advanceTimersByTimeAsync(3_000)
  expect(() => clock.now()).toThrow(ClockOutOfService)
  expect(clock.offsetMs()).toBe(3_600_000)
  clock.stop()
})

test('a clock that goes on right after both were moved is in service again at once', async () => {
  const ahead = { ms: 0 }
  const { clock } = await guard(ahead)
  vi.setSystemTime(Date.now() + 86_400_000) // both: this machine's, which is Postgres's too
  expect(() => clock.now()).toThrow(ClockOutOfService)
  await vi.advanceTimersByTimeAsync(1)
  expect(clock.now()).toBe('2026-06-01T23:59:50.001Z')
  clock.stop()
})
