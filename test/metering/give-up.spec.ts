import { describe, expect, test } from 'vitest'
import type { MeteringEvent } from '../../src/events/metering.ts'
import { giveUp, isPastDeadline } from '../../src/metering/give-up.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { answered, arn, attempted, books, fold, idOf, licence, meter, record, refused, rules, sealed } from './books.ts'

const id = idOf('2026-03-10T14')
const due = sealed(record('2026-03-10T14'))
const now = '2026-03-11T13:58:00.000Z'

const end = (one: MeteringRecord, others: readonly MeteringRecord[] = [], at = now, settings = rules) =>
  giveUp(one, books([one, ...others]), at, settings)
const only = (...events: MeteringEvent[]): MeteringRecord => fold([due], ...events)[0] ?? due

const retried: MeteringEvent = {
  type: 'RecordRetried',
  data: { customerId: due.customerId, occurredAt: now, recordId: id, reason: 'try' },
}

test('a record is given up when the time for another attempt is over, two minutes before its deadline', () => {
  expect(isPastDeadline(due, '2026-03-11T13:57:59.999Z')).toBe(false)
  expect(isPastDeadline(due, now)).toBe(true)
})

describe('carried into the hour that runs', () => {
  const carried = {
    type: 'RecordCarriedForward',
    data: { recordId: id, quantity: 5, toRecordId: idOf('2026-03-11T13'), occurredAt: now },
  }
  test.each([
    ['was never sent', due],
    ['AWS handed back unprocessed', only(attempted(id), answered(id, 'unprocessed'))],
    ['was throttled', only(attempted(id), answered(id, 'throttled'))],
    ['was in a call that another record spoilt', only(attempted(id), answered(id, 'batch_refused'))],
    ['was too old for AWS', only(attempted(id), refused(id, 'TimestampOutOfBoundsException'))],
  ])('a record that %s', (_, one) => {
    expect(end(one)).toMatchObject(carried)
  })

  test('with all that was carried into it before', () => {
    const chained = sealed(record('2026-03-10T14', 5, { carriedFrom: [{ recordId: 'r', quantity: 7 }] }))
    expect(end(chained)).toMatchObject({ data: { quantity: 12 } })
  })

  test('where a call has opened it already', () => {
    expect(end(due, [record('2026-03-11T13')])).toMatchObject(carried)
  })

  test('or one after its own, where the clock was ahead when it was sealed and is right now', () => {
    const toCome = sealed(record('2026-04-01T00'))
    expect(end(toCome, [], '2026-03-31T22:50:00.000Z')).toMatchObject({ data: { toRecordId: idOf('2026-04-01T01') } })
  })

  test('or the next one, where it is sealed already', () => {
    expect(end(due, [sealed(record('2026-03-11T13'))])).toMatchObject({ data: { toRecordId: idOf('2026-03-11T14') } })
  })
})

describe('in doubt for good: nobody here knows whether AWS bills it', () => {
  test.each([
    ['no answer', only(attempted(id))],
    ['a 5xx', only(attempted(id), answered(id, 'server_error'))],
    ['a lost answer, then throttling', only(attempted(id), attempted(id, 2), answered(id, 'throttled', 2))],
    [
      'a 5xx, then no subscription',
      only(attempted(id), answered(id, 'server_error'), attempted(id, 2), answered(id, 'not_subscribed', 2)),
    ],
  ])('%s', (_, one) => {
    expect(one.state).toBe('unknown')
    expect(end(one)).toBeNull()
  })
})

describe('lost', () => {
  const lost = { type: 'RecordUnbillable', data: { recordId: id, reason: 'deadline_missed' } }

  test('without a subscription: never carried', () => {
    const held = only(attempted(id), answered(id, 'not_subscribed'))
    expect(end(held)).toMatchObject({ type: 'RecordUnbillable', data: { reason: 'not_subscribed' } })
  })
  test('when METERING_CARRY_FORWARD is off, or nothing is sent any more', () => {
    expect(end(due, [], now, { ...rules, carryForward: false })).toMatchObject(lost)
    expect(end(due, [], now, { ...rules, submit: false })).toMatchObject(lost)
  })
  test('when AWS refused it for what it says, and an operator retried it too late', () => {
    expect(end(only(attempted(id), refused(id, 'DuplicateRecord'), retried))).toMatchObject(lost)
  })
  test('when its licence has ended or was replaced', () => {
    const ended = meter({ ends: { [arn]: '2026-03-10T14:20:00.000Z' } })
    expect(giveUp(due, books([due], { meter: ended }), now, rules)).toMatchObject(lost)
    const replaced = meter({ licence: { ...licence, licenceArn: `${arn}0` } })
    expect(giveUp(due, books([due], { meter: replaced }), now, rules)).toMatchObject(lost)
  })
  test.each([
    ['AWS knew no subscription', [answered(id, 'not_subscribed')]],
    ['AWS held another quantity of the hour', [refused(id, 'DuplicateRecord'), retried]],
    ['AWS refused what it says', [refused(id, 'InvalidLicenseException'), retried]],
  ])('when %s at any attempt, also when a later one was throttled', (_, said) => {
    const one = only(attempted(id), ...said, attempted(id, 2), answered(id, 'throttled', 2))
    expect(one.state).toBe('sealed')
    expect(end(one)).toMatchObject(lost)
  })
  test('when it is a heartbeat: there is nothing to carry', () => {
    expect(end(sealed(record('2026-03-10T14', 0)))).toMatchObject(lost)
  })
})

describe("a month's last hours", () => {
  const last = sealed(record('2026-03-31T23'), { deadline: '2026-04-01T06:00:00.000Z' })
  const early = sealed(record('2026-03-31T10'), { deadline: '2026-03-31T12:00:00.000Z' })

  test.each([
    ['2026-03-31T23:59:59.999Z', 'RecordCarriedForward'],
    ['2026-04-01T00:00:00.000Z', 'RecordUnbillable'],
  ])('at %s: %s', (at, type) => {
    expect(end(early, [], at)).toMatchObject({ type })
  })
  test.each(['05:58:00.000', '05:59:00.000', '06:00:00.000'])('leave nothing to carry into at %s on the 1st', (at) => {
    expect(isPastDeadline(last, `2026-04-01T${at}Z`)).toBe(true)
    expect(end(last, [], `2026-04-01T${at}Z`)).toMatchObject({ type: 'RecordUnbillable' })
  })
  test('take nothing once the month is closed, though a clock should say that it still runs', () => {
    const at = '2026-03-31T23:30:00.000Z'
    const month = ['2026-03']
    expect(giveUp(early, books([early], { meter: meter({}, { closed: month }) }), at, rules)).toMatchObject({
      type: 'RecordUnbillable',
    })
    const over = meter({ ends: { [arn]: '2026-03-31T23:10:00.000Z' } }, { closed: month })
    expect(giveUp(early, books([early], { meter: over }), at, rules)).toMatchObject({ type: 'RecordUnbillable' })
  })
})
