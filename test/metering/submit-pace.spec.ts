import { describe, expect, test } from 'vitest'
import { nextAttemptAt } from '../../src/metering/backoff.ts'
import { afterCall, closedCircuit, probeOf } from '../../src/metering/circuit.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { answered, attempted, fold, idOf, record, sealed } from './books.ts'

const ms = (instant: string) => Date.parse(instant)

describe('when a record is sent again', () => {
  const due = sealed(record('2026-03-10T14'))
  const tried = (times: number, lastAttemptAt = '2026-03-10T15:20:00.000Z') => ({
    ...due,
    attempts: times,
    lastAttemptAt,
  })
  const pauseOf = (one: MeteringRecord) => ms(nextAttemptAt(one)) - ms(one.lastAttemptAt ?? '')

  test('at once, the first time', () => {
    expect(nextAttemptAt(due)).toBe('')
  })
  test.each([
    [1, 2_000],
    [2, 4_000],
    [5, 32_000],
    [12, 900_000],
    [100, 900_000],
  ])('after %i attempts within %i ms, at half of it soonest', (times, longest) => {
    const pause = pauseOf(tried(times))
    expect(pause).toBeGreaterThanOrEqual(longest / 2)
    expect(pause).toBeLessThanOrEqual(longest)
  })
  test('sooner towards the deadline, so that the last hour of a subscription has its tries', () => {
    const closing = tried(12, '2026-03-11T13:00:00.000Z')
    expect(pauseOf(closing)).toBeLessThanOrEqual(360_000)
  })
  test('not all that failed together at the same time', () => {
    const pauses = ['14', '15', '16'].map((hour) => pauseOf({ ...tried(8), recordId: idOf(`2026-03-10T${hour}`) }))
    expect(new Set(pauses).size).toBe(3)
    expect(pauseOf(tried(8))).toBe(pauses[0])
  })
})

describe('while AWS fails', () => {
  const now = '2026-03-10T15:20:00.000Z'
  const afterCalls = (kind: Parameters<typeof afterCall>[1], times: number) =>
    Array.from({ length: times }).reduce<typeof closedCircuit>(
      (circuit) => afterCall(circuit, kind, now),
      closedCircuit,
    )

  test.each([
    ['no_answer', 2, 120],
    ['server_error', 2, 120],
    ['throttled', 1, 30],
    ['disabled', 60, 900],
    ['misconfigured', 60, 900],
  ] as const)('%s: the next call %i s later, at most %i s', (kind, first, longest) => {
    expect(ms(afterCalls(kind, 1).until) - ms(now)).toBe(first * 1_000)
    expect(ms(afterCalls(kind, 20).until) - ms(now)).toBe(longest * 1_000)
  })

  test('an answer of any kind ends it', () => {
    expect(afterCall(afterCalls('no_answer', 3), 'answered', now)).toEqual(closedCircuit)
    expect(afterCall(afterCalls('no_answer', 3), 'refused', now)).toEqual(closedCircuit)
  })

  const hour = (name: string) => sealed(record(name))
  const [fresh, other] = [hour('2026-03-10T10'), hour('2026-03-10T11')]
  const doubtful = (name: string, at: string) => fold([hour(name)], attempted(idOf(name), 1, at))[0] ?? hour(name)
  const older = doubtful('2026-03-10T12', '2026-03-10T15:00:00.000Z')
  const newer = doubtful('2026-03-10T13', '2026-03-10T15:10:00.000Z')

  test('only a record that is in doubt already is risked, each in its turn', () => {
    expect(probeOf({ failures: 2, until: '' }, [fresh, newer, older, other])).toBe(older)
    expect(probeOf({ failures: 1, until: '' }, [fresh, other])).toBe(fresh)
    expect(probeOf({ failures: 1, until: '' }, [])).toBeUndefined()
  })
  test('but seldom one that is not, in case AWS fails because of those', () => {
    const risked = Array.from({ length: 1_000 }, (_, place) => place + 1).filter(
      (failures) => probeOf({ failures, until: '' }, [fresh, older]) === fresh,
    )
    expect(risked).toEqual([4, 16, 64, 256])
  })
  test('a record whose last attempt was answered is in doubt all the same when an earlier one was not', () => {
    const [one = fresh] = fold([older], attempted(older.recordId, 2, now), answered(older.recordId, 'throttled', 2))
    expect(probeOf({ failures: 1, until: '' }, [fresh, one])).toBe(one)
  })
})
