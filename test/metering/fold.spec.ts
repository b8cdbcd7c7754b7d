/** Which record a call belongs to, and what becomes of it: told as stories, each compared with its rebuild. */
import { afterEach, describe, expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { foldCalls, foldMetering } from '../../src/metering/fold.ts'
import { noCalls } from '../../src/metering/record.ts'
import { formatBucketKey, overflowKey, parseBucketKey } from '../../src/metering/rules.ts'
import { decideSeals } from '../../src/metering/seal.ts'
import { customerId } from '../support/given.ts'
import { record, rules, sealed } from './books.ts'
import { expectPure, licence, rebuild, story, type Told } from './story.ts'

let told: Told
afterEach(() => expectPure(told))

const standard = (hour: string, serial = 1) => ({
  customerId,
  licence: licence(serial).licenceArn,
  dimension: 'standard_over',
  hour: `${hour}:00:00.000Z`,
})
const idOf = (hour: string, serial = 1) => formatBucketKey(standard(hour, serial))

/** March's credit is used up; calls from here on are overage. */
function overage(...arguments_: Parameters<typeof story>): Told {
  told = story(...arguments_)
  told.call('2026-03-01T00:00:00.000Z')
  told.feed()
  return told
}

describe('calls', () => {
  test('a credit call is counted in its month and stands in no record', () => {
    const { sheet } = overage()
    expect(sheet.meter.state.months).toEqual({ '2026-03': { credit: 1, overage: 0 } })
    expect(sheet.records.size).toBe(0)
  })

  test('overage calls of an hour make one record, those of the next hour another', () => {
    const { call, feed, lines } = overage()
    for (const at of ['10:00:00.000', '10:59:59.999', '11:00:00.000']) call(`2026-03-10T${at}Z`)
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 2 open', '2026-03-10T11 standard_over: 1 open'])
    expect(told.sheet.meter.state.months['2026-03']).toEqual({ credit: 1, overage: 2 + 1 })
  })

  test('an upgrade within the hour opens a record of the new dimension', () => {
    const { call, does, feed, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    const upgrade = { plan: 'business', monthlyLimit: 2, origin: 'operator', reason: 'test' } as const
    does('2026-03-10T10:20:00.000Z', { type: 'SetPlan', ...upgrade })
    call('2026-03-10T10:30:00.000Z')
    call('2026-03-10T10:40:00.000Z')
    feed()
    expect(lines()).toEqual(['2026-03-10T10 business_over: 1 open', '2026-03-10T10 standard_over: 1 open'])
    expect(told.sheet.meter.state.plan).toBe('business')
  })

  test('the digest chains the hashes of calls and voids in the order of the stream', () => {
    const { call, voids, feed, record } = overage()
    const first = call('2026-03-10T10:00:00.000Z')
    feed()
    const one = record(idOf('2026-03-10T10')).calls.digest
    voids('2026-03-10T10:01:00.000Z', first)
    feed()
    const { quantity, digest } = record(idOf('2026-03-10T10')).calls
    expect(quantity).toBe(0)
    expect(new Set(['0'.repeat(64), one, digest]).size).toBe(3)
  })
})

describe('late calls', () => {
  test('a call whose hour is sealed goes into the next hour that is not, and is told', () => {
    const { call, feed, seals, lines, late } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    const unseen = call('2026-03-10T10:30:00.000Z')
    call('2026-03-10T11:05:00.000Z')
    seals('2026-03-10T11:10:00.000Z')
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 sealed', '2026-03-10T11 standard_over: 2 open, 1 late'])
    expect(late).toEqual([
      { revision: BigInt(unseen.revision), bucketKey: idOf('2026-03-10T10'), recordId: idOf('2026-03-10T11') },
    ])
  })

  test('hours that were sealed as zero are passed over too', () => {
    const { call, feed, seals, lines } = overage({}, { heartbeat: true })
    call('2026-03-10T10:00:00.000Z')
    seals('2026-03-10T13:10:00.000Z')
    feed()
    const [first, last] = [lines()[0], lines().slice(-2)]
    expect(first).toBe('2026-03-09T14 standard_over: 0 sealed')
    expect(last).toEqual(['2026-03-10T12 standard_over: 0 sealed', '2026-03-10T13 standard_over: 1 open, 1 late'])
  })

  test('a call that a seal does hold is not late, however the two are folded', () => {
    const { call, feed, seals, rebuilt } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    seals('2026-03-10T11:10:00.000Z')
    expect(rebuilt().records.get(idOf('2026-03-10T10'))).toMatchObject({ state: 'sealed', calls: { late: 0 } })
  })

  test('in a month without an open hour it goes into the overflow record, which is never sent', () => {
    const { call, feed, seals, record } = overage()
    call('2026-03-31T23:00:00.000Z')
    feed()
    call('2026-03-31T23:30:00.000Z')
    seals('2026-04-01T00:10:00.000Z')
    feed()
    const overflow = overflowKey(standard('2026-03-31T23'), 1)
    expect(record(overflow)).toMatchObject({ yearMonth: '2026-03', state: 'open', calls: { quantity: 1, late: 1 } })
    expect(seals('2026-04-01T05:59:59.999Z')).toEqual([])
    expect(seals('2026-04-01T06:10:00.000Z')).toMatchObject([
      { recordId: overflow, state: 'unbillable', sealed: { submission: 'no_hour_left', quantity: 1 } },
    ])
    expect(told.sheet.meter.sealedUpTo).toBe('2026-03-31T23:00:00.000Z')
  })

  test('a call that comes even after the overflow record was sealed gets another one', () => {
    const { call, feed, seals, lines } = overage()
    call('2026-03-31T23:00:00.000Z')
    feed()
    call('2026-03-31T23:10:00.000Z')
    seals('2026-04-01T00:10:00.000Z')
    feed()
    call('2026-03-31T23:20:00.000Z')
    seals('2026-04-01T06:10:00.000Z')
    feed()
    expect(lines()).toEqual([
      '2026-03 standard_over: 1 unbillable, 1 late',
      '2026-03-31T23 standard_over: 1 sealed',
      '2026-03.2 standard_over: 1 open, 1 late',
    ])
  })
})

describe('voids', () => {
  test('before the seal it takes the call out of its record', () => {
    const { call, voids, feed, lines, seals, sheet } = overage()
    const made = call('2026-03-10T10:00:00.000Z')
    call('2026-03-10T10:10:00.000Z')
    voids('2026-03-10T10:20:00.000Z', made)
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 open'])
    expect(seals('2026-03-10T11:10:00.000Z')).toMatchObject([{ sealed: { quantity: 1, ownQuantity: 1 } }])
    expect(sheet.adjustments.size).toBe(0)
  })

  test('after the seal it becomes an adjustment, noted once, and the record stands', () => {
    const { call, voids, feed, seals, notes, lines, log } = overage()
    const made = call('2026-03-10T10:00:00.000Z')
    feed()
    seals('2026-03-10T11:10:00.000Z')
    voids('2026-03-10T11:20:00.000Z', made)
    feed()
    const adjustment = { recordId: idOf('2026-03-10T10'), detectionId: made.detectionId, yearMonth: '2026-03' }
    expect([...told.sheet.adjustments.values()]).toMatchObject([{ ...adjustment, noted: false }])
    notes('2026-03-10T11:21:00.000Z')
    expect([...told.sheet.adjustments.values()]).toMatchObject([{ ...adjustment, noted: true }])
    notes('2026-03-10T11:22:00.000Z')
    expect(log.filter(({ event }) => event.type === 'AdjustmentNoted')).toHaveLength(1)
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 sealed'])
    expect(told.sheet.meter.state.months['2026-03']?.overage).toBe(0)
  })

  test('the void of a late call finds the record that the call went into', () => {
    const { call, voids, feed, seals, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    const made = call('2026-03-10T10:30:00.000Z')
    seals('2026-03-10T11:10:00.000Z')
    feed()
    voids('2026-03-10T11:20:00.000Z', made)
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 sealed', '2026-03-10T11 standard_over: 0 open'])
  })

  test('that of a credit call touches no record', () => {
    told = story()
    const made = told.call('2026-03-10T10:00:00.000Z')
    told.voids('2026-03-10T10:20:00.000Z', made)
    told.feed()
    expect(told.sheet.meter.state.months).toEqual({ '2026-03': { credit: 0, overage: 0 } })
    expect(told.sheet.records.size).toBe(0)
  })
})

describe('licences', () => {
  test('an ended subscription seals its running hour early', () => {
    const { call, does, feed, seals, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    does('2026-03-10T10:20:00.000Z', { type: 'EndSubscription', licence: licence(1), reason: 'test' })
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 open (subscription_ended)'])
    expect(told.sheet.meter.state.ends).toEqual({ [licence(1).licenceArn]: '2026-03-10T10:20:00.000Z' })
    expect(seals('2026-03-10T10:20:29.999Z')).toEqual([])
    expect(seals('2026-03-10T10:20:30.000Z')).toMatchObject([
      { sealed: { cause: 'subscription_ended', deadline: '2026-03-10T11:20:00.000Z' } },
    ])
  })

  test('a replaced licence seals the hour of the old one early; the new one’s goes on', () => {
    const { call, does, feed, seals, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    does('2026-03-10T10:20:00.000Z', { type: 'ChangeLicence', licence: licence(2), reason: 'REPLACED' })
    call('2026-03-10T10:30:00.000Z')
    feed()
    expect(lines()).toEqual([
      '2026-03-10T10 standard_over: 1 open',
      '2026-03-10T10 standard_over: 1 open (licence_replaced)',
    ])
    expect(seals('2026-03-10T10:21:00.000Z')).toMatchObject([
      { recordId: idOf('2026-03-10T10', 1), sealed: { cause: 'licence_replaced' } },
    ])
    expect(told.sheet.meter.state.since).toEqual({
      [licence(1).licenceArn]: '2026-01-05T09:00:00.000Z',
      [licence(2).licenceArn]: '2026-03-10T10:20:00.000Z',
    })
  })

  test('a renewed term of the same licence seals nothing early', () => {
    const { call, does, feed, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    const renewed = { ...licence(1), termStart: '2026-03-10T10:20:00.000Z' }
    does('2026-03-10T10:20:00.000Z', { type: 'ChangeLicence', licence: renewed, reason: 'RENEWED' })
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 open'])
    expect(told.sheet.meter.state.licences[licence(1).licenceArn]).toEqual(renewed)
  })

  test('a subscription that is resumed before the seal is not sealed early', () => {
    const { call, does, feed, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    does('2026-03-10T10:20:00.000Z', { type: 'EndSubscription', licence: licence(1), reason: 'test' })
    feed()
    does('2026-03-10T10:20:10.000Z', { type: 'ResumeSubscription', licence: licence(1) })
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 open'])
  })

  test('resumed with another licence, the old one’s records are sealed early, as when it ended', () => {
    const { call, does, feed, seals, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    does('2026-03-10T10:20:00.000Z', { type: 'EndSubscription', licence: licence(1), reason: 'test' })
    feed()
    does('2026-03-10T11:10:00.000Z', { type: 'ResumeSubscription', licence: licence(2) })
    feed()
    expect(lines()).toEqual(['2026-03-10T10 standard_over: 1 open (subscription_ended)'])
    expect(seals('2026-03-10T11:15:00.000Z')).toMatchObject([
      { sealed: { cause: 'subscription_ended', deadline: '2026-03-10T11:20:00.000Z' } },
    ])
    expectPure(told)
  })

  test('an end is forgotten when its licence comes back, and with nothing else', () => {
    const { does, feed } = overage()
    const ends = (at: string, serial: number) =>
      does(at, { type: 'EndSubscription', licence: licence(serial), reason: 'test' })
    const standing = () => {
      feed()
      return Object.keys(told.sheet.meter.state.ends).map((arn) => arn.slice(-1))
    }
    ends('2026-03-10T10:20:00.000Z', 1)
    const dated = { ...licence(1), termEnd: '2026-03-10T10:20:00.000Z' }
    does('2026-03-10T10:21:00.000Z', { type: 'ChangeLicence', licence: dated, reason: 'its last term' })
    expect(standing()).toEqual(['1'])
    does('2026-03-10T10:40:00.000Z', { type: 'ResumeSubscription', licence: licence(2) })
    ends('2026-03-10T10:50:00.000Z', 2)
    expect(standing()).toEqual(['1', '2'])
    does('2026-03-10T11:00:00.000Z', { type: 'ResumeSubscription', licence: licence(2) })
    expect(standing()).toEqual(['1'])
    does('2026-03-10T11:10:00.000Z', { type: 'ChangeLicence', licence: licence(1), reason: 'it runs again' })
    expect(standing()).toEqual([])
    expectPure(told)
  })
})

describe('the metering stream', () => {
  test('a carried quantity leaves its record and arrives in an open one, new or not', () => {
    const { call, feed, seals, logs, record } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    seals('2026-03-10T11:10:00.000Z')
    const [from, to] = [idOf('2026-03-10T10'), idOf('2026-03-11T10')]
    const occurredAt = '2026-03-11T10:00:00.000Z'
    logs({
      type: 'RecordCarriedForward',
      data: { customerId, occurredAt, recordId: from, quantity: 1, toRecordId: to },
    })
    expect(record(from)).toMatchObject({ state: 'carried_forward', carriedTo: to })
    expect(record(to)).toMatchObject({ state: 'open', carriedFrom: [{ recordId: from, quantity: 1 }], sealEarly: null })
    call('2026-03-11T10:30:00.000Z')
    feed()
    expect(seals('2026-03-11T11:10:00.000Z')).toMatchObject([
      { recordId: to, sealed: { quantity: 2, ownQuantity: 1, carriedFrom: [{ recordId: from, quantity: 1 }] } },
    ])
  })

  test('a closed month is counted no more, and a call that still comes overflows', () => {
    const { call, feed, seals, logs, lines } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    const unseen = call('2026-03-10T12:00:00.000Z')
    seals('2026-04-01T00:10:00.000Z')
    const data = {
      customerId,
      occurredAt: '2026-04-01T06:00:00.000Z',
      yearMonth: '2026-03',
      creditCalls: 1,
      overageCalls: 1,
      overage: [],
      adjusted: 0,
      throughRevision: unseen.revision - 1,
      digest: '0'.repeat(64),
    }
    logs({ type: 'MonthClosed', data })
    feed()
    expect(told.sheet.meter).toMatchObject({ closed: ['2026-03'], state: { months: {} } })
    expect(told.sheet.closed).toEqual([data])
    expect(lines()).toEqual(['2026-03 standard_over: 1 open, 1 late', '2026-03-10T10 standard_over: 1 sealed'])
    seals('2026-04-01T06:10:00.000Z')
    expect(lines()[0]).toBe('2026-03 standard_over: 1 unbillable, 1 late')
    expect(told.sheet.meter.state.months).toEqual({})
  })

  test('an hour that is named after its month was closed takes no call from where it went', () => {
    const { call, feed, logs, voids, lines } = overage()
    const made = call('2026-03-10T10:00:00.000Z')
    const at = { customerId, occurredAt: '2026-04-01T06:00:00.000Z', yearMonth: '2026-03', digest: '0'.repeat(64) }
    const counts = { creditCalls: 1, overageCalls: 0, overage: [], adjusted: 0, throughRevision: made.revision - 1 }
    logs({ type: 'MonthClosed', data: { ...at, ...counts } })
    feed()
    const zero = record('2026-03-10T11', 0, { calls: noCalls, recordId: idOf('2026-03-10T11') })
    const { sealed: data } = sealed(zero, { throughRevision: made.revision })
    if (data === null) throw new Error('it is not sealed')
    const { hour, dimension, recordId } = { ...standard('2026-03-10T11'), recordId: zero.recordId }
    logs({ type: 'RecordSealed', data: { ...data, ...at, recordId, hour, dimension } })
    voids('2026-04-01T06:30:00.000Z', made)
    feed()
    expect(lines()).toEqual(['2026-03 standard_over: 0 open', '2026-03-10T11 standard_over: 0 sealed'])
  })

  test('a month of zeros alone is one to be closed', () => {
    told = story({}, { heartbeat: true })
    told.feed()
    told.seals('2026-01-05T12:10:00.000Z')
    expect(told.lines()).toEqual(['09', '10', '11'].map((hour) => `2026-01-05T${hour} standard_over: 0 sealed`))
    expect(told.sheet.meter.state.months).toEqual({ '2026-01': { credit: 0, overage: 0 } })
  })
})

describe('contradictions', () => {
  test('a seal that turns up after a call it does not hold was put into its record', () => {
    const { call, feed } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    const context = { rules, now: '2026-03-10T11:10:00.000Z', judgedThrough: '2026-03-10T11:10:00.000Z' }
    const seals = decideSeals(told.books(), context)
    call('2026-03-10T10:30:00.000Z')
    feed()
    const unseen = told.appended(...seals)
    const { contradiction } = foldMetering(told.sheet, unseen)
    expect(contradiction).toContain(idOf('2026-03-10T10'))
    // Folded anew, the call is in the next hour.
    const rebuilt = rebuild(told.calls, unseen)
    expect(rebuilt.records.get(idOf('2026-03-10T10'))).toMatchObject({ state: 'sealed', calls: { quantity: 1 } })
    expect(rebuilt.records.get(idOf('2026-03-10T11'))).toMatchObject({ state: 'open', calls: { quantity: 1, late: 1 } })
  })

  test('a seal that turns up after calls of other hours only contradicts nothing', () => {
    const { call, feed, logsUnseen, logs } = overage()
    call('2026-03-10T10:00:00.000Z')
    feed()
    const context = { rules, now: '2026-03-10T11:10:00.000Z', judgedThrough: '2026-03-10T11:10:00.000Z' }
    logsUnseen(...decideSeals(told.books(), context))
    call('2026-03-10T11:30:00.000Z')
    feed()
    logs()
    expect(told.lines()).toEqual(['2026-03-10T10 standard_over: 1 sealed', '2026-03-10T11 standard_over: 1 open'])
  })

  test('events that do not follow the head, or are not what their hash says, stop the fold', () => {
    const { call } = overage()
    call('2026-03-10T10:00:00.000Z')
    const [next] = told.calls.slice(-1)
    told.feed()
    if (next === undefined) throw new Error('there was no call')
    expect(() => foldCalls(told.sheet, [next])).toThrow(LogMismatch)
    call('2026-03-10T10:01:00.000Z')
    const [changed] = told.calls.slice(-1)
    if (changed === undefined) throw new Error('there was no call')
    const data = { ...(changed.stored.data as object), funding: 'credit' }
    expect(() => foldCalls(told.sheet, [{ ...changed, stored: { ...changed.stored, data } }])).toThrow(/hash/)
    told.feed()
  })
})

test('record ids say what they are', () => {
  told = story()
  const key = standard('2026-03-31T23')
  expect(parseBucketKey(formatBucketKey(key))).toEqual(key)
  expect(overflowKey(key, 1)).toBe(`${customerId}|${key.licence}|standard_over|2026-03|no_hour_left`)
})
