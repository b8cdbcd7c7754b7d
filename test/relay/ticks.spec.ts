import { setTimeout as pause } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { ClockOutOfService } from '../../src/commands/clock.ts'
import { chainFault, emptyHead, type Head } from '../../src/events/chain.ts'
import { appendTick, keepTicking, TickFailed } from '../../src/relay/ticks.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'

let store: MemoryStore
let machine: string
let database: string
beforeEach(() => {
  store = createMemoryStore()
  machine = database = '2026-03-01T12:00:00.000Z'
})
const options = () => ({
  store,
  clock: { now: () => machine },
  databaseClock: async () => new Date(database),
  patience: { sendMs: 20, attemptMs: 60 },
})
const times = () => store.stream('watermark').map(({ data }) => (data as { occurredAt: string }).occurredAt)

test('the time is the earlier of the two clocks', async () => {
  machine = '2026-03-01T12:00:00.500Z'
  expect(await appendTick(options())).toBe(database)
  machine = '2026-03-01T12:01:00.000Z'
  database = '2026-03-01T12:01:00.900Z'
  expect(await appendTick(options())).toBe(machine)
  expect(times()).toEqual(['2026-03-01T12:00:00.000Z', machine])
})

test('a clock that stands or goes back adds no tick; one that goes on does', async () => {
  await appendTick(options())
  expect(await appendTick(options())).toBeNull()
  machine = '2026-03-01T11:59:00.000Z'
  expect(await appendTick(options())).toBeNull()
  machine = database = '2026-03-01T12:00:00.001Z'
  expect(await appendTick(options())).toBe(machine)
  expect(times()).toHaveLength(2)
})

test('the stream is a chain of hashes', async () => {
  for (let minute = 0; minute < 5; minute++) {
    machine = database = `2026-03-01T12:0${minute}:00.000Z`
    await appendTick(options())
  }
  let head: Head = emptyHead
  for (const event of store.stream('watermark')) {
    expect(chainFault(head, event)).toBeNull()
    head = { revision: event.revision, hash: (event.metadata as { hash: string }).hash }
  }
  expect(head.revision).toBe(4n)
})

test('of two leaders at once one ticks: the other finds its place taken', async () => {
  const ticks = await Promise.all([appendTick(options()), appendTick(options())])
  expect(ticks.filter((tick) => tick !== null)).toHaveLength(1)
  expect(times()).toHaveLength(1)
})

test('a lost answer is asked for again and gives one tick; no answer at all is told', async () => {
  store.onSend = () => ({ answerLost: store.sends === 0 })
  expect(await appendTick({ ...options(), patience: { sendMs: 20, attemptMs: 10_000 } })).toBe(machine)
  expect(times()).toHaveLength(1)
  machine = database = '2026-03-01T12:01:00.000Z'
  store.onSend = () => ({ requestLost: true })
  await expect(appendTick(options())).rejects.toThrow(TickFailed)
})

test('the duty ticks at once and then again and again, survives failures, and ends with the signal', async () => {
  const stopping = new AbortController()
  const troubles: Error[] = []
  let calls = 0
  const clock = {
    now() {
      calls += 1
      if (calls === 2) throw new ClockOutOfService('the clock is off')
      return new Date(Date.parse(machine) + calls * 60_000).toISOString()
    },
  }
  database = '2027-01-01T00:00:00.000Z'
  const duty = keepTicking({
    ...options(),
    clock,
    everyMs: 5,
    signal: stopping.signal,
    onTrouble: (error) => troubles.push(error),
  })
  while (times().length < 4) await pause(1)
  stopping.abort()
  await duty
  expect(troubles).toEqual([expect.any(ClockOutOfService)])
  expect(times().slice(0, 2)).toEqual(['2026-03-01T12:01:00.000Z', '2026-03-01T12:03:00.000Z'])
})

test('a leader that was frozen, and has lost its lock when it hears what time it is, adds no tick', async () => {
  const leading = new AbortController()
  const troubles: Error[] = []
  const databaseClock = async () => {
    leading.abort()
    return new Date(database)
  }
  await keepTicking({ ...options(), databaseClock, signal: leading.signal, onTrouble: (error) => troubles.push(error) })
  expect(times()).toEqual([])
  expect(troubles).toEqual([])
})
