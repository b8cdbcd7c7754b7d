import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { meteringEventData } from '../../src/events/metering.ts'
import { closesAt, decideClose } from '../../src/metering/close.ts'
import { giveUp } from '../../src/metering/give-up.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import type { Adjustment } from '../../src/metering/tables.ts'
import {
  accepted,
  attempted,
  books,
  customerId,
  detectionId,
  fold,
  idOf,
  meter,
  record,
  rules,
  sealed,
} from './books.ts'

const adjustment = (noted: boolean): Adjustment => ({
  customerId,
  revision: 39,
  recordId: idOf('2026-03-10T14'),
  yearMonth: '2026-03',
  detectionId,
  noted,
})
const close = (
  records: readonly MeteringRecord[],
  overage: number,
  {
    now = '2026-04-01T06:00:00.000Z',
    judgedThrough = now,
    adjustments = [],
    closed = [],
  }: { now?: string; judgedThrough?: string; adjustments?: Adjustment[]; closed?: string[] } = {},
) =>
  decideClose(
    books(records, { meter: meter({ months: { '2026-03': { credit: 5_000, overage } } }, { closed }), adjustments }),
    '2026-03',
    { rules, now, judgedThrough },
  )
const done = (hour: string, calls = 5) => {
  const id = idOf(hour)
  return fold([sealed(record(hour, calls))], attempted(id), accepted(id))
}

describe('a month is closed', () => {
  test('with everything an auditor adds up', () => {
    const events = close([...done('2026-03-10T14'), ...done('2026-03-11T09', 3)], 7, {
      adjustments: [adjustment(true)],
    })
    if ('message' in events) throw new Error(events.message)
    expect(events).toHaveLength(1)
    expect(meteringEventData.MonthClosed.parse(events[0]?.data)).toEqual({
      customerId,
      occurredAt: '2026-04-01T06:00:00.000Z',
      yearMonth: '2026-03',
      creditCalls: 5_000,
      overageCalls: 7,
      overage: [{ dimension: 'standard_over', state: 'accepted', records: 2, quantity: 8, carried: 0 }],
      adjusted: 1,
      throughRevision: 40,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
  })

  test.each([
    ['23:59:59.999 of the last day', '2026-03-31T23:59:59.999Z', '2026-03-31T23:59:59.999Z', 0],
    ['00:00:00.000 of the 1st', '2026-04-01T00:00:00.000Z', '2026-04-01T00:00:00.000Z', 0],
    ['05:59', '2026-04-01T05:59:59.999Z', '2026-04-01T05:59:59.999Z', 0],
    ['06:00, but no watermark past the month and grace', '2026-04-01T06:00:00.000Z', '2026-04-01T00:09:59.999Z', 0],
    ['06:00', '2026-04-01T06:00:00.000Z', '2026-04-01T00:10:00.000Z', 1],
  ])('not before AWS closes it: %s', (_, now, judgedThrough, count) => {
    expect(close(done('2026-03-10T14'), 5, { now, judgedThrough })).toHaveLength(count)
  })

  test('at the deadline of its last hour, whatever the settings', () => {
    expect(closesAt('2026-03', rules)).toBe('2026-04-01T06:00:00.000Z')
    expect(closesAt('2026-12', { ...rules, windowHours: 6 })).toBe('2027-01-01T05:00:00.000Z')
  })

  test.each([
    ['is open', [record('2026-03-10T14')]],
    ['waits to be sent', [sealed(record('2026-03-10T14'))]],
  ])('not while a record %s', (_, records) => {
    expect(close(records, 5)).toEqual([])
  })

  test('with records in doubt, which are named as such', () => {
    const doubtful = fold([sealed(record('2026-03-10T14'))], attempted(idOf('2026-03-10T14')))
    expect(close(doubtful, 5)).toMatchObject([{ data: { overage: [{ state: 'unknown', quantity: 5 }] } }])
  })

  test('not while a void is not noted', () => {
    expect(close(done('2026-03-10T14'), 4, { adjustments: [adjustment(false)] })).toEqual([])
  })

  test('not while a void is noted already that the feed has yet to bring', () => {
    const ahead = { ...adjustment(true), revision: 41 }
    expect(close(done('2026-03-10T14'), 5, { adjustments: [ahead] })).toEqual([])
  })

  test('once', () => {
    expect(close(done('2026-03-10T14'), 5, { closed: ['2026-03'] })).toEqual([])
  })

  test("without a record too, for the customer's credit calls", () => {
    expect(close([], 0)).toMatchObject([{ data: { creditCalls: 5_000, overage: [], overageCalls: 0 } }])
  })

  test('never when its books do not add up: a person is told instead', () => {
    expect(close(done('2026-03-10T14'), 6)).toEqual({
      yearMonth: '2026-03',
      message: "its records hold 5 calls, the customer's stream 6",
    })
    const away = fold([sealed(record('2026-03-10T14'))], {
      type: 'RecordCarriedForward',
      data: {
        customerId,
        occurredAt: '2026-03-11T13:58:00.000Z',
        recordId: idOf('2026-03-10T14'),
        quantity: 5,
        toRecordId: idOf('2026-03-11T13'),
      },
    }).map((one) => (one.state === 'open' ? sealed(one, { quantity: 4 }) : one))
    expect(
      close(
        away.flatMap((one) => (one.state === 'sealed' ? fold([one], accepted(one.recordId)) : [one])),
        5,
      ),
    ).toMatchObject({
      message: '5 calls were carried away and 4 arrived',
    })
  })
})

test('however calls, voids and carries fall, the lines add up to the calls, and what is sent to what was not lost', () => {
  const hour = fc.integer({ min: 0, max: 30 * 24 })
  const call = fc.record({ hour, calls: fc.nat(50), fate: fc.constantFrom('accepted', 'late', 'doubt') })
  fc.assert(
    fc.property(fc.uniqueArray(call, { selector: (one) => one.hour, maxLength: 20 }), fc.nat(3), (hours, voids) => {
      let records: MeteringRecord[] = []
      for (const one of hours.toSorted((a, b) => a.hour - b.hour)) {
        const start = new Date(Date.UTC(2026, 2, 1, one.hour)).toISOString()
        const name = start.slice(0, 13)
        const before = records.find(({ recordId }) => recordId === idOf(name)) ?? record(name, 0)
        const open = { ...before, calls: { ...before.calls, quantity: one.calls } }
        records = [...records.filter(({ recordId }) => recordId !== open.recordId), sealed(open)]
        if (one.fate === 'accepted') records = fold(records, attempted(open.recordId), accepted(open.recordId))
        if (one.fate === 'doubt') records = fold(records, attempted(open.recordId))
        if (one.fate !== 'late') continue
        const late = records.at(-1) ?? open
        const now = new Date(Date.parse(start) + 24 * 3_600_000).toISOString()
        const event = giveUp(late, books(records), now, rules)
        if (event !== null) records = fold(records, event)
      }
      // Whatever was carried into an hour without calls of its own is sealed and sent with it.
      records = records.map((one) =>
        one.state === 'open' ? sealed({ ...one, calls: { ...one.calls, quantity: one.calls.quantity } }) : one,
      )
      records = records.flatMap((one) =>
        one.state === 'sealed' ? fold([one], attempted(one.recordId), accepted(one.recordId)) : [one],
      )

      const called = hours.reduce((sum, { calls }) => sum + calls, 0)
      const adjustments = Array.from({ length: Math.min(voids, called) }, (_, revision) => ({
        ...adjustment(true),
        revision,
      }))
      const events = close(records, called - adjustments.length, { adjustments })
      if ('message' in events) throw new Error(events.message)
      const [event] = events
      if (event?.type !== 'MonthClosed') throw new Error('not closed')
      const { overage, overageCalls, adjusted } = event.data
      const sum = (lines: typeof overage) =>
        lines.reduce((total, { quantity, carried }) => total + quantity + carried, 0)
      expect(overage.reduce((total, { quantity }) => total + quantity, 0)).toBe(overageCalls + adjusted)
      expect(sum(overage.filter(({ state }) => state !== 'carried_forward'))).toBe(called)
    }),
  )
})
