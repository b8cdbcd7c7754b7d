import { describe, expect, test } from 'vitest'
import type { Licence } from '../../src/events/catalogue.ts'
import { meteringEventData } from '../../src/events/metering.ts'
import { deadlineOf, timestampOf } from '../../src/metering/rules.ts'
import { decideAdjustments, decideSeals, type SealContext, tooLarge } from '../../src/metering/seal.ts'
import { arn, books, customerId, detectionId, idOf, licence, meter, record, rules, sealed } from './books.ts'

const at = (judgedThrough: string, change: Partial<SealContext> = {}): SealContext => ({
  rules,
  judgedThrough,
  now: judgedThrough,
  ...change,
})
const sealsOf = (...args: Parameters<typeof decideSeals>) =>
  decideSeals(...args).map(({ type, data }) => {
    if (type !== 'RecordSealed') throw new Error(`decided ${type}`)
    return meteringEventData.RecordSealed.parse(data)
  })

describe('an hour', () => {
  test('is sealed once a watermark says that its end and the grace are over, not a millisecond before', () => {
    const open = books([record('2026-03-10T14')])
    expect(sealsOf(open, at('2026-03-10T15:09:59.999Z'))).toEqual([])
    expect(sealsOf(open, at('2026-03-10T15:10:00.000Z'))).toEqual([
      {
        customerId,
        occurredAt: '2026-03-10T15:10:00.000Z',
        recordId: idOf('2026-03-10T14'),
        yearMonth: '2026-03',
        hour: '2026-03-10T14:00:00.000Z',
        timestamp: '2026-03-10T14:00:00.000Z',
        identity: { kind: 'licence', awsAccountId: '123456789012', licenceArn: arn },
        dimension: 'standard_over',
        quantity: 5,
        ownQuantity: 5,
        lateQuantity: 0,
        carriedFrom: [],
        throughRevision: 40,
        digest: 'd'.repeat(64),
        region: 'us-east-1',
        submission: 'due',
        deadline: '2026-03-11T14:00:00.000Z',
        cause: 'hour_over',
      },
    ])
  })

  test('is not sealed by the clock alone: without a watermark nobody knows that it is complete', () => {
    const open = books([record('2026-03-10T14')])
    expect(sealsOf(open, at('', { now: '2026-03-12T00:00:00.000Z' }))).toEqual([])
  })

  test('is not sealed by a watermark alone that a clock ahead of its time has made', () => {
    const open = books([record('2026-03-10T14')])
    const ahead = '2026-03-11T14:00:00.000Z'
    expect(sealsOf(open, at(ahead, { now: '2026-03-10T15:09:59.999Z' }))).toEqual([])
    expect(sealsOf(open, at(ahead, { now: '2026-03-10T15:10:00.000Z' }))).toHaveLength(1)
  })

  test('is sealed once', () => {
    const again = books([sealed(record('2026-03-10T14'))])
    expect(sealsOf(again, at('2026-03-10T16:00:00.000Z'))).toEqual([])
  })

  test('is sealed with what was carried into it, each source named', () => {
    const carriedFrom = [{ recordId: idOf('2026-03-09T10'), quantity: 7 }]
    const [seal] = sealsOf(books([record('2026-03-10T14', 5, { carriedFrom })]), at('2026-03-10T15:10:00.000Z'))
    expect(seal).toMatchObject({ quantity: 12, ownQuantity: 5, carriedFrom })
  })

  test('whose calls were all voided is sealed as a zero', () => {
    const [seal] = sealsOf(books([record('2026-03-10T14', 0)]), at('2026-03-10T15:10:00.000Z'))
    expect(seal).toMatchObject({ quantity: 0, submission: 'due' })
  })

  test('with more than AWS takes stays open, and is named', () => {
    const huge = books([record('2026-03-10T14', 2_147_483_648)])
    expect(sealsOf(huge, at('2026-03-10T15:10:00.000Z'))).toEqual([])
    expect(tooLarge(huge, at('2026-03-10T15:10:00.000Z'))).toHaveLength(1)
  })
})

describe('whether it may be sent is decided here, once', () => {
  test('METERING_SUBMIT off', () => {
    const [seal] = sealsOf(
      books([record('2026-03-10T14')]),
      at('2026-03-10T15:10:00.000Z', { rules: { ...rules, submit: false } }),
    )
    expect(seal).toMatchObject({ submission: 'off' })
    expect(sealed(record('2026-03-10T14'), { submission: 'off' }).state).toBe('not_submittable')
  })

  test('a customer without AWS Marketplace', () => {
    const none: Licence = { kind: 'none' }
    const open = record('2026-03-10T14', 5, { recordId: idOf('2026-03-10T14', none), licence: 'none' })
    const [seal] = sealsOf(
      books([open], { meter: meter({ licence: none, licences: { none } }) }),
      at('2026-03-10T15:10:00.000Z'),
    )
    expect(seal).toMatchObject({ submission: 'no_identity', identity: { kind: 'none' } })
  })

  test('a licence that the stream never named is a damaged log', () => {
    const foreign = record('2026-03-10T14', 5, { licence: 'arn:aws:other' })
    expect(() => decideSeals(books([foreign]), at('2026-03-10T15:10:00.000Z'))).toThrow(/names no such licence/)
  })
})

describe('deadlines', () => {
  test.each([
    ['2026-03-10T14:00:00.000Z', '2026-03-11T14:00:00.000Z'],
    ['2026-03-31T05:00:00.000Z', '2026-04-01T05:00:00.000Z'],
    ['2026-03-31T06:00:00.000Z', '2026-04-01T06:00:00.000Z'],
    ['2026-03-31T23:00:00.000Z', '2026-04-01T06:00:00.000Z'],
    ['2026-04-01T00:00:00.000Z', '2026-04-02T00:00:00.000Z'],
    ['2026-12-31T23:00:00.000Z', '2027-01-01T06:00:00.000Z'],
    ['2028-02-29T20:00:00.000Z', '2028-03-01T06:00:00.000Z'],
  ])('the hour of %s must be with AWS before %s', (hour, deadline) => {
    expect(deadlineOf(hour, rules)).toBe(deadline)
  })

  test('an ended subscription leaves one hour', () => {
    expect(deadlineOf('2026-03-10T14:00:00.000Z', rules, '2026-03-10T14:20:00.000Z')).toBe('2026-03-10T15:20:00.000Z')
    expect(deadlineOf('2026-03-31T23:00:00.000Z', rules, '2026-04-01T05:30:00.000Z')).toBe('2026-04-01T06:00:00.000Z')
  })
})

describe('the timestamp', () => {
  test.each([
    ['no start known', undefined, '14:00:00.000'],
    ['a licence of an earlier hour', '2026-03-01T00:00:00.000Z', '14:00:00.000'],
    ['a licence that began within the hour, to the next second', '2026-03-10T14:20:10.001Z', '14:20:11.000'],
    ['one that began in its last second: it never leaves its hour', '2026-03-10T14:59:59.500Z', '14:59:59.000'],
    ['a term that began after the hour, by a renewal', '2026-03-10T15:30:00.000Z', '14:00:00.000'],
  ])('%s', (_, start, expected) => {
    expect(timestampOf('2026-03-10T14:00:00.000Z', start)).toBe(`2026-03-10T${expected}Z`)
  })

  test("without a known term the customer's first event under the licence is the start of use", () => {
    const state = { since: { [arn]: '2026-03-10T14:20:00.000Z' } }
    const [seal] = sealsOf(books([record('2026-03-10T14')], { meter: meter(state) }), at('2026-03-10T15:10:00.000Z'))
    expect(seal).toMatchObject({ timestamp: '2026-03-10T14:20:00.000Z' })
  })
})

describe('the end of a subscription', () => {
  const ended = meter({ ends: { [arn]: '2026-03-10T14:20:00.000Z' } })
  const running = record('2026-03-10T14', 5, { sealEarly: 'subscription_ended' })

  test('seals the running hour as soon as doubts have come to light, without a watermark', () => {
    const open = books([running], { meter: ended })
    expect(sealsOf(open, at('', { now: '2026-03-10T14:20:29.999Z' }))).toEqual([])
    expect(sealsOf(open, at('', { now: '2026-03-10T14:20:30.000Z' }))).toMatchObject([
      { cause: 'subscription_ended', deadline: '2026-03-10T15:20:00.000Z', quantity: 5, submission: 'due' },
    ])
  })

  test('a replaced licence is sealed in the same way, with the usual deadline', () => {
    const next: Licence = { ...licence, licenceArn: `${arn}0` }
    const state = {
      licence: next,
      licences: { [arn]: licence, [`${arn}0`]: next },
      since: { [arn]: '2026-01-01T00:00:00.000Z', [`${arn}0`]: '2026-03-10T14:20:00.000Z' },
    }
    const open = books([record('2026-03-10T14', 5, { sealEarly: 'licence_replaced' })], { meter: meter(state) })
    expect(sealsOf(open, at('', { now: '2026-03-10T14:20:00.000Z' }))).toEqual([])
    expect(sealsOf(open, at('', { now: '2026-03-10T14:20:30.000Z' }))).toMatchObject([
      { cause: 'licence_replaced', deadline: '2026-03-11T14:00:00.000Z', identity: { licenceArn: arn } },
    ])
  })
})

describe('calls that found no hour of their month left', () => {
  const overflow = record('2026-03-01T00', 3, { recordId: `${idOf('2026-03-01T00').slice(0, -6)}|no_hour_left` })

  test('are sealed as the last of their month, and never sent', () => {
    const open = books([overflow])
    expect(sealsOf(open, at('2026-04-01T05:59:59.999Z'))).toEqual([])
    expect(sealsOf(open, at('2026-04-01T00:09:00.000Z', { now: '2026-04-01T06:00:00.000Z' }))).toEqual([])
    expect(sealsOf(open, at('2026-04-01T06:00:00.000Z'))).toMatchObject([
      { submission: 'no_hour_left', cause: 'no_hour_left', quantity: 3, deadline: '2026-04-01T06:00:00.000Z' },
    ])
  })
})

describe('heartbeats', () => {
  const beating = { ...rules, heartbeat: true }
  const hoursOf = (...args: Parameters<typeof decideSeals>) => sealsOf(...args).map(({ hour }) => hour.slice(0, 13))

  test('are zeros for judged hours without calls, never for one that is not over', () => {
    const view = books([record('2026-03-10T13')], { meter: meter({}, { sealedUpTo: '2026-03-10T11:00:00.000Z' }) })
    const seals = sealsOf(view, at('2026-03-10T15:10:00.000Z', { rules: beating }))
    expect(seals.map(({ hour, quantity, cause }) => [hour.slice(11, 13), quantity, cause])).toEqual([
      ['13', 5, 'hour_over'],
      ['12', 0, 'heartbeat'],
      ['14', 0, 'heartbeat'],
    ])
    expect(seals[1]).toMatchObject({ digest: '0'.repeat(64), recordId: idOf('2026-03-10T12'), submission: 'due' })
  })

  test('are not made for hours to come, whatever a clock ahead of its time has ticked', () => {
    const ahead = at('2026-03-11T14:00:00.000Z', { rules: beating, now: '2026-03-10T15:10:00.000Z' })
    expect(hoursOf(books([]), ahead).at(-1)).toBe('2026-03-10T14')
  })

  test('are not made for a month that is closed, whatever a clock says', () => {
    const closed = meter({}, { closed: ['2026-03'] })
    expect(hoursOf(books([], { meter: closed }), at('2026-04-01T02:10:00.000Z', { rules: beating }))).toEqual([
      '2026-04-01T00',
      '2026-04-01T01',
    ])
  })

  test('go back as far as AWS takes the hour, and not before the licence was known', () => {
    const back = hoursOf(books([]), at('2026-03-10T15:10:00.000Z', { rules: beating }))
    expect(back).toHaveLength(23)
    expect(back[0]).toBe('2026-03-09T16')
    const young = meter({ since: { [arn]: '2026-03-10T13:30:00.000Z' } })
    expect(hoursOf(books([], { meter: young }), at('2026-03-10T15:10:00.000Z', { rules: beating }))).toEqual([
      '2026-03-10T13',
      '2026-03-10T14',
    ])
  })

  test('are not made for an hour that has calls under another licence, nor for hours before this one took over', () => {
    const legacy = { ...sealed(record('2026-03-10T13', 15)), recordId: 'legacy', licence: 'product/buyer' }
    const hours = hoursOf(books([legacy]), at('2026-03-10T15:10:00.000Z', { rules: beating }))
    expect(hours.slice(-2)).toEqual(['2026-03-10T12', '2026-03-10T14'])
    // The contract began before the customer moved to it.
    const licence = {
      kind: 'licence',
      awsAccountId: '1',
      licenceArn: arn,
      termStart: '2026-03-01T00:00:00.000Z',
    } as const
    const moved = meter({ licence, licences: { [arn]: licence }, since: { [arn]: '2026-03-10T14:00:00.000Z' } })
    expect(hoursOf(books([], { meter: moved }), at('2026-03-10T15:10:00.000Z', { rules: beating }))).toEqual([
      '2026-03-10T14',
    ])
  })

  test.each([
    ['the setting is off', meter(), rules],
    ['nothing is sent', meter(), { ...beating, submit: false }],
    ['the customer has no licence', meter({ licence: { kind: 'none' } }), beating],
    ['the subscription has ended', meter({ ends: { [arn]: '2026-03-10T10:00:00.000Z' } }), beating],
    ['the plan has no overage', meter({ plan: 'free' }), beating],
  ])('are not made when %s', (_, customer, settings) => {
    expect(sealsOf(books([], { meter: customer }), at('2026-03-10T15:10:00.000Z', { rules: settings }))).toEqual([])
  })
})

test('a call voided after its record was sealed is noted once, beside the record', () => {
  const adjustment = { customerId, revision: 44, recordId: idOf('2026-03-10T14'), yearMonth: '2026-03', detectionId }
  const view = books([], {
    adjustments: [
      { ...adjustment, noted: false },
      { ...adjustment, revision: 43, noted: true },
    ],
  })
  const [event, ...more] = decideAdjustments(view, '2026-03-10T16:00:00.000Z')
  expect(more).toEqual([])
  expect(meteringEventData.AdjustmentNoted.parse(event?.data)).toMatchObject({ revision: 44, quantity: -1 })
})
