import { describe, expect, test } from 'vitest'
import { licenceIdentity } from '../../src/commands/plans.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { decideSeals, type SealContext } from '../../src/metering/seal.ts'
import { arn, books, fold, idOf, licence, meter, record, rules, sealed } from './books.ts'

const at = (now: string, settings = rules): SealContext => ({ rules: settings, now, judgedThrough: '' })
const ended = meter({ ends: { [arn]: '2026-03-10T14:20:00.000Z' } })
const running = record('2026-03-10T14', 5, { sealEarly: 'subscription_ended' })

describe('the end of a subscription, while calls stand in an hour to come because they were late or carried there', () => {
  const late = record('2026-03-10T15', 4, {
    sealEarly: 'subscription_ended',
    calls: { quantity: 4, late: 4, digest: 'd'.repeat(64) },
    carriedFrom: [{ recordId: idOf('2026-03-09T12'), quantity: 3 }],
  })
  const decided = (records: readonly MeteringRecord[], settings = rules, now = '2026-03-10T14:20:30.000Z') =>
    decideSeals(books(records, { meter: ended }), at(now, settings)).map(({ type, data }) => ({
      type,
      ...data,
    }))

  test('brings them into the last hour of the licence, which is sealed when they are there', () => {
    expect(decided([late, running], rules, '2026-03-10T14:20:29.999Z')).toEqual([])
    const events = decided([late, running])
    expect(events).toMatchObject([
      { type: 'RecordSealed', recordId: late.recordId, quantity: 7, lateQuantity: 4, cause: 'subscription_ended' },
      { type: 'RecordCarriedForward', recordId: late.recordId, quantity: 7, toRecordId: idOf('2026-03-10T14') },
    ])
    const after = fold(
      [late, running],
      ...decideSeals(books([late, running], { meter: ended }), at('2026-03-10T14:20:30.000Z')),
    )
    expect(decided(after)).toMatchObject([
      { type: 'RecordSealed', recordId: idOf('2026-03-10T14'), quantity: 12, ownQuantity: 5, submission: 'due' },
    ])
  })

  test('or into one before it that nothing was sealed for', () => {
    const gone = sealed(record('2026-03-10T14'))
    expect(decided([late, gone])[1]).toMatchObject({ toRecordId: idOf('2026-03-10T13') })
    expect(decided([late, gone, sealed(record('2026-03-10T13'))])[1]).toMatchObject({
      toRecordId: idOf('2026-03-10T12'),
    })
  })

  test('and no later, where another licence follows before they are sealed', () => {
    const next = { ...licence, licenceArn: `${arn}0` }
    const { state } = ended
    const followed = meter({
      ...state,
      licence: next,
      licences: { ...state.licences, [next.licenceArn]: next },
      since: { ...state.since, [next.licenceArn]: '2026-03-10T15:05:00.000Z' },
    })
    const open = books([late, record('2026-03-10T13', 5)], { meter: followed })
    expect(decideSeals(open, at('2026-03-10T15:10:00.000Z'))[1]).toMatchObject({
      type: 'RecordCarriedForward',
      data: { toRecordId: idOf('2026-03-10T14') },
    })
  })

  test('ends them as unbillable where AWS takes no such hour, or nothing may be carried', () => {
    const lost = [{ type: 'RecordSealed', submission: 'no_hour_left', cause: 'subscription_ended', quantity: 7 }]
    const window = ['08', '09', '10', '11', '12', '13', '14'].map((hour) => sealed(record(`2026-03-10T${hour}`)))
    expect(decided([late, ...window], { ...rules, windowHours: 6 })).toMatchObject(lost)
    expect(decided([late], { ...rules, carryForward: false })).toMatchObject(lost)
    expect(decided([late], rules, '2026-03-10T15:18:00.000Z')).toMatchObject(lost)
  })

  test('and also those of an hour that is too old by then', () => {
    const old = record('2026-03-09T13', 2, { sealEarly: 'subscription_ended' })
    expect(decided([old, running])).toMatchObject([
      { type: 'RecordSealed', recordId: old.recordId, quantity: 2 },
      { type: 'RecordCarriedForward', recordId: old.recordId, toRecordId: running.recordId },
    ])
  })

  test('opens no hour of a closed month, though a clock should say that AWS takes it: calls would change places', () => {
    const closed = meter(ended.state, { closed: ['2026-03'] })
    expect(decideSeals(books([late], { meter: closed }), at('2026-03-10T14:20:30.000Z'))).toMatchObject([
      { type: 'RecordSealed', data: { recordId: late.recordId, submission: 'no_hour_left' } },
    ])
  })

  test('is no matter where nothing is sent: they are sealed in their time', () => {
    expect(decided([late], { ...rules, submit: false })).toEqual([])
  })
})

test('a product code: late calls never come into an hour of the licence that took over', () => {
  const product = { kind: 'product', productCode: 'p', customerIdentifier: 'c' } as const
  const old = licenceIdentity(product)
  const late = record('2026-03-10T15', 1, {
    recordId: idOf('2026-03-10T15', product),
    licence: old,
    sealEarly: 'licence_replaced',
    calls: { quantity: 1, late: 1, digest: 'd'.repeat(64) },
  })
  const state = {
    licences: { [old]: product, [arn]: licence },
    since: { [old]: '2026-01-01T00:00:00.000Z', [arn]: '2026-03-10T15:04:00.000Z' },
  }
  const open = books([late, record('2026-03-10T15')], { meter: meter(state) })
  expect(decideSeals(open, at('2026-03-10T15:05:00.000Z'))).toMatchObject([
    { type: 'RecordSealed' },
    { type: 'RecordCarriedForward', data: { toRecordId: idOf('2026-03-10T14', product) } },
  ])
})
