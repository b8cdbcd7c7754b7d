/** Every answer of AWS has one end. What is sent and read over the real SDK: submit.spec.ts. */
import { describe, expect, test } from 'vitest'
import type { CallOutcome, RecordAnswer } from '../../src/marketplace/batch-meter-usage.ts'
import { type AttemptEnd, decideAnswers, decideAttempts, endOf } from '../../src/metering/answers.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { accepted, answered, attempted, books, callId, fold, idOf, record, refused, rules, sealed } from './books.ts'

const id = idOf('2026-03-31T14')
const due = sealed(record('2026-03-31T14'))
const now = '2026-03-31T15:20:01.000Z'
const sent = fold([due], attempted(id))

const answerTo = (records: readonly MeteringRecord[], end: AttemptEnd, attempt = 1) =>
  decideAnswers(books(records), new Map([[id, { attempt, end }]]), now, rules)
const endOfAnswer = (answer: RecordAnswer) => endOf({ kind: 'answered', answers: new Map([[id, answer]]) }, id, 25)
/** The record after an outcome of the one call it was in. */
const after = (outcome: CallOutcome, recordsInCall = 25) =>
  fold(sent, ...answerTo(sent, endOf(outcome, id, recordsInCall)))[0]

describe('what an outcome makes of a record', () => {
  test.each<[string, CallOutcome, number, Partial<MeteringRecord>]>([
    [
      'Success',
      { kind: 'answered', answers: new Map([[id, { kind: 'accepted', meteringRecordId: 'm-7' }]]) },
      25,
      { state: 'accepted', meteringRecordId: 'm-7', doubtful: false },
    ],
    [
      'DuplicateRecord is no success: AWS holds another quantity',
      { kind: 'answered', answers: new Map([[id, { kind: 'duplicate' }]]) },
      25,
      { state: 'refused', lastAnswer: 'DuplicateRecord: AWS holds another quantity for this hour' },
    ],
    [
      'CustomerNotSubscribed holds it',
      { kind: 'answered', answers: new Map([[id, { kind: 'not_subscribed' }]]) },
      25,
      { state: 'sealed', lastAnswer: 'not_subscribed' },
    ],
    [
      'UnprocessedRecords',
      { kind: 'answered', answers: new Map([[id, { kind: 'unprocessed' }]]) },
      25,
      { state: 'sealed', lastAnswer: 'unprocessed' },
    ],
    [
      'an answer that leaves it out',
      { kind: 'answered', answers: new Map([[id, { kind: 'unanswered', detail: 'in neither list' }]]) },
      25,
      { state: 'unknown', unanswered: true },
    ],
    ['throttling', { kind: 'throttled' }, 25, { state: 'sealed', lastAnswer: 'throttled', doubtful: false }],
    ['a 5xx', { kind: 'server_error', detail: '500' }, 25, { state: 'unknown', doubtful: true, unanswered: false }],
    ['no answer', { kind: 'no_answer', detail: 'lost' }, 25, { state: 'unknown', unanswered: true }],
    [
      'a call that was refused for some record',
      { kind: 'refused', code: 'InvalidLicenseException', message: 'which?' },
      25,
      { state: 'sealed', lastAnswer: 'batch_refused: InvalidLicenseException: which?' },
    ],
    [
      'a call with this record alone that was refused',
      { kind: 'refused', code: 'InvalidLicenseException', message: 'this' },
      1,
      { state: 'refused', lastAnswer: 'InvalidLicenseException: this' },
    ],
    ['a region without the API', { kind: 'disabled', message: 'no' }, 1, { state: 'sealed', doubtful: false }],
    [
      'no credentials',
      { kind: 'misconfigured', code: 'Expired', message: '' },
      1,
      { state: 'sealed', doubtful: false },
    ],
  ])('%s', (_, outcome, recordsInCall, expected) => {
    expect(after(outcome, recordsInCall)).toMatchObject(expected)
  })

  test('a long page of a proxy is not written into the log in full', () => {
    const [event] = answerTo(sent, endOf({ kind: 'server_error', detail: 'x'.repeat(10_000) }, id, 1))
    expect(event?.data).toMatchObject({ detail: 'x'.repeat(500) })
  })
})

describe('a record that is too old for AWS, though not for our settings', () => {
  const tooOld = { kind: 'refused', code: 'TimestampOutOfBoundsException', message: 'old' } as const

  test('is refused and carried on at once', () => {
    const events = answerTo(sent, endOf(tooOld, id, 1))
    expect(events).toMatchObject([
      { type: 'RecordRefused', data: { code: 'TimestampOutOfBoundsException', attempt: 1 } },
      { type: 'RecordCarriedForward', data: { quantity: 5, toRecordId: idOf('2026-03-31T15') } },
    ])
    expect(fold(sent, ...events)).toMatchObject([{ state: 'carried_forward' }, { state: 'open' }])
  })

  test('stays in doubt where an earlier attempt had no answer: it may have been in time', () => {
    const doubtful = fold([due], attempted(id, 1), attempted(id, 2))
    const events = answerTo(doubtful, endOf(tooOld, id, 1), 2)
    expect(events).toMatchObject([{ type: 'SubmissionAnswered', data: { answer: 'batch_refused', attempt: 2 } }])
    expect(fold(doubtful, ...events)).toMatchObject([{ state: 'unknown', doubtful: true }])
  })
})

describe('doubt', () => {
  test('once an attempt had no answer, only acceptance ends it', () => {
    const doubtful = fold([due], attempted(id, 1), attempted(id, 2), answered(id, 'throttled', 2))
    expect(doubtful).toMatchObject([{ state: 'unknown', doubtful: true, unanswered: false }])
    expect(fold(doubtful, attempted(id, 3), accepted(id, 3))).toMatchObject([{ state: 'accepted', doubtful: false }])
  })

  test('an answer to an attempt that was overtaken says nothing of the newer one', () => {
    const overtaken = fold([due], attempted(id, 1), attempted(id, 2))
    expect(answerTo(overtaken, endOfAnswer({ kind: 'unprocessed' }), 1)).toEqual([])
    expect(answerTo(overtaken, endOfAnswer({ kind: 'duplicate' }), 1)).toEqual([])
  })

  test('but its acceptance is true, whatever was decided here meanwhile', () => {
    const writtenOff = fold(sent, {
      type: 'RecordWrittenOff',
      data: { customerId: due.customerId, occurredAt: now, recordId: id, reason: 'lost' },
    })
    for (const records of [fold([due], attempted(id, 1), attempted(id, 2)), writtenOff]) {
      const events = answerTo(records, endOfAnswer({ kind: 'accepted', meteringRecordId: 'm-1' }), 1)
      expect(events).toMatchObject([{ type: 'RecordAccepted', data: { attempt: 1, meteringRecordId: 'm-1' } }])
    }
  })

  test('an answer that is in the log already is not written again', () => {
    expect(answerTo(fold(sent, accepted(id)), endOfAnswer({ kind: 'accepted', meteringRecordId: 'm-1' }))).toEqual([])
    expect(answerTo(fold(sent, answered(id, 'unprocessed')), endOfAnswer({ kind: 'unprocessed' }))).toEqual([])
  })
})

describe('an attempt', () => {
  const attemptsOf = (records: readonly MeteringRecord[], seen = records, at = now) =>
    decideAttempts(books(records), seen, callId, at).map(({ data }) => data)

  test('counts on from the last one', () => {
    expect(attemptsOf([due])).toMatchObject([{ recordId: id, attempt: 1, callId }])
    expect(attemptsOf(fold(sent, answered(id, 'throttled')))).toMatchObject([{ attempt: 2 }])
  })

  test('is not begun for a record that somebody else has begun with since it was seen', () => {
    expect(attemptsOf(sent, [due])).toEqual([])
  })

  test.each([
    ['accepted', fold(sent, accepted(id))],
    ['refused', fold(sent, refused(id, 'InvalidLicenseException'))],
    ['sealed while METERING_SUBMIT was off', [sealed(record('2026-03-31T14'), { submission: 'off' })]],
    ['open', [record('2026-03-31T14')]],
  ])('is not begun for one that is %s', (_, records) => {
    expect(attemptsOf(records)).toEqual([])
  })

  test('is begun again for a refused one that an operator lets through', () => {
    const retried = fold(sent, refused(id, 'InvalidLicenseException'), {
      type: 'RecordRetried',
      data: { customerId: due.customerId, occurredAt: now, recordId: id, reason: 'the licence is mended' },
    })
    expect(attemptsOf(retried)).toMatchObject([{ attempt: 2 }])
  })

  test('is not begun before its hour, where the clock was ahead when it was sealed: AWS takes no usage of the future', () => {
    const at = (instant: string) => decideAttempts(books([due]), [due], callId, instant)
    expect(at('2026-03-31T13:59:59.999Z')).toEqual([])
    expect(at('2026-03-31T14:00:00.000Z')).toHaveLength(1)
  })

  test('is not begun in the last two minutes before the deadline', () => {
    const records = [sealed(record('2026-03-31T23'), { deadline: '2026-04-01T06:00:00.000Z' })]
    expect(attemptsOf(records, records, '2026-04-01T05:57:59.999Z')).toHaveLength(1)
    for (const late of ['05:58:00.000', '05:59:00.000', '06:00:00.000']) {
      expect(attemptsOf(records, records, `2026-04-01T${late}Z`)).toEqual([])
    }
  })
})
