/** The metering ledger against CloudTrail and invoices: agreement, and each way to disagree with its likely cause. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BadCloudTrail, readCloudTrail } from '../../src/audit/cloudtrail.ts'
import { BadInvoice, readInvoices } from '../../src/audit/invoice.ts'
import { reconcile } from '../../src/audit/reconcile.ts'
import { againstCloudTrail } from '../../src/audit/reconcile-cloudtrail.ts'
import { type LedgerRecord, readLedger } from '../../src/audit/reconcile-ledger.ts'
import { reserve } from '../../src/marketplace/reservation.ts'
import { newMeter } from '../../src/metering/meter.ts'
import { decideAccept } from '../../src/metering/operator.ts'
import { evolveRecord, type RecordState } from '../../src/metering/record.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { february } from './february.ts'
import type { World } from './world.ts'

let world: World
let ledger: LedgerRecord[]
let database: Database
let customerId: string
let withoutOverage: string

/** The player's licence of that serial. */
const licenceOf = (serial: number) => ({
  ...({ kind: 'licence', awsAccountId: '123456789012' } as const),
  licenceArn: `arn:aws:license-manager::1:license:l-${serial}`,
})

beforeAll(async () => {
  ;({ world, customerId } = await february())
  await world.player.play([{ customer: 3, minutes: 1, action: { kind: 'licence', serial: 1 } }])
  withoutOverage = world.player.customers().at(-1)?.id ?? ''
  const origin = { correlationId: 'buyer', causationId: 'buyer', actor: 'system' }
  for (const [serial, id] of [customerId, withoutOverage].entries()) {
    const reservation = { licence: licenceOf(serial), customerId: id, now: world.player.now, origin }
    await reserve({ store: world.store, patience: { sendMs: 2_000, attemptMs: 30_000 } }, reservation)
  }
  ledger = await readLedger(world.store, undefined)
  database = await openDatabase()
})
afterAll(async () => {
  await database?.close()
  await world?.close()
})

interface TrailEvent {
  eventID: string
  eventTime: string
  awsRegion: string
  errorCode?: string
  record: Record<string, unknown>
  status: string | null
  meteringRecordId: string
  productCode?: string
}

/** As CloudTrail shows times. */
const trailTime = (instant: string): string => {
  const at = new Date(instant)
  const [, day, month, year] = /^\w+, (\d+) (\w+) (\d+)/.exec(at.toUTCString()) ?? []
  const hour = at.getUTCHours()
  const [minutes, seconds] = [at.getUTCMinutes(), at.getUTCSeconds()].map((part) => `${part}`.padStart(2, '0'))
  return `${month} ${Number(day)}, ${year} ${hour % 12 || 12}:${minutes}:${seconds} ${hour < 12 ? 'AM' : 'PM'}`
}

/** What CloudTrail shows when everything went well: one call for each attempt. */
const trailOf = (records: readonly LedgerRecord[]): TrailEvent[] =>
  records.flatMap(({ record, sealed, attemptedAt }) =>
    attemptedAt.map((at, attempt) => ({
      eventID: `${record.recordId} ${attempt}`,
      eventTime: at,
      awsRegion: sealed.region,
      record: {
        timestamp: trailTime(sealed.timestamp),
        dimension: record.dimension,
        quantity: sealed.quantity,
        customerAWSAccountId: '123456789012',
        licenseArn: record.licence,
      },
      status: 'Success',
      meteringRecordId: record.meteringRecordId ?? '',
    })),
  )

const fileOf = (events: readonly TrailEvent[]): string =>
  JSON.stringify({
    Records: [
      { eventName: 'AssumeRole', eventSource: 'sts.amazonaws.com' },
      ...events.map(({ record, status, meteringRecordId, errorCode, productCode, ...event }) => ({
        ...event,
        eventName: 'BatchMeterUsage',
        eventSource: 'metering-marketplace.amazonaws.com',
        userIdentity: { type: 'AssumedRole', arn: 'arn:aws:sts::210987654321:assumed-role/liveness' },
        requestParameters: { usageRecords: [record], ...(productCode === undefined ? {} : { productCode }) },
        ...(errorCode === undefined
          ? {
              responseElements: {
                results: status === null ? [] : [{ usageRecord: record, meteringRecordId, status }],
                unprocessedRecords: status === null ? [record] : [],
              },
            }
          : { errorCode, responseElements: null }),
      })),
    ],
  })

/** A later call of another customer, so that the files reach beyond what the test is about. */
const later: TrailEvent = {
  eventID: 'later',
  eventTime: '2026-04-01T00:00:00Z',
  awsRegion: 'us-east-1',
  record: { timestamp: 1_774_915_200, dimension: 'other', quantity: 0, licenseArn: 'arn:aws:another' },
  status: 'Success',
  meteringRecordId: 'other',
}
const early: TrailEvent = { ...later, eventID: 'early', eventTime: '2026-01-01T00:00:00Z' }

/** What is found besides those two. */
const found = (records: readonly LedgerRecord[], events: readonly TrailEvent[]) =>
  againstCloudTrail(records, readCloudTrail(fileOf([early, ...events, later]), 'trail.json')).filter(
    ({ fault }) => !fault.includes('arn:aws:another'),
  )

const sentRecord = (): LedgerRecord => {
  const one = ledger.find(({ record }) => record.state === 'accepted')
  if (one === undefined) throw new Error('nothing was accepted')
  return one
}
const inState = (state: RecordState, one = sentRecord()): LedgerRecord => ({ ...one, record: { ...one.record, state } })
const eventOf = (one: LedgerRecord): TrailEvent => {
  const [event] = trailOf([one])
  if (event === undefined) throw new Error('nothing was sent')
  return event
}

test('a ledger and the calls it was made of agree', () => {
  expect(ledger.filter(({ record }) => record.state === 'accepted').length).toBeGreaterThan(3)
  expect(found(ledger, trailOf(ledger))).toEqual([])
})

test('nothing else that calls itself CloudTrail is read', () => {
  expect(() => readCloudTrail('{}', 'x.json')).toThrow(BadCloudTrail)
  expect(() => readCloudTrail('not JSON', 'x.json')).toThrow(BadCloudTrail)
  const broken = fileOf([{ ...later, record: { quantity: 1 } }])
  expect(() => readCloudTrail(broken, 'x.json')).toThrow('x.json holds a BatchMeterUsage that cannot be read')
})

test('times are read as UTC, whatever zone this machine is in', () => {
  const forms = ['Apr 19, 2018 4:32:50 PM', 'Apr 19, 2018, 4:32:50\u202fPM', 1_524_155_570, '2018-04-19T16:32:50Z']
  for (const timestamp of forms) {
    const [usage] = readCloudTrail(fileOf([{ ...later, record: { ...later.record, timestamp } }]), 'x.json')
    expect(usage?.timestamp).toBe('2018-04-19T16:32:50.000Z')
  }
})

test("AWS's own example is read: names, times and the buyer's account as CloudTrail spells them", () => {
  // "Logging AWS Marketplace Metering API calls with CloudTrail", AWS Marketplace API reference.
  const usageRecord = {
    dimension: 'Dimension1',
    timestamp: 'Apr 19, 2018 4:32:50 PM',
    customerIdentifier: 'customer1',
    customerAWSAccountID: '987654321098',
    quantity: 1,
  }
  const event = {
    eventVersion: '1.05',
    userIdentity: { type: 'IAMUser', arn: 'arn:aws:iam::123456789012:user/Alice', accountId: '123456789012' },
    eventTime: '2018-04-19T16:32:51Z',
    eventSource: 'metering-marketplace.amazonaws.com',
    eventName: 'BatchMeterUsage',
    awsRegion: 'us-east-1',
    requestParameters: { usageRecords: [usageRecord], productCode: 'EXAMPLE_proCode' },
    responseElements: {
      results: [{ usageRecord, meteringRecordId: 'bEXAMPLE-98f0-4e90-8bd2-bf0EXAMPLE1e', status: 'Success' }],
      unprocessedRecords: [],
    },
    requestID: 'dEXAMPLE-251d-11e7-8d11-1f3EXAMPLE8b',
    eventID: 'cEXAMPLE-e6c2-465d-b47f-150EXAMPLE97',
    readOnly: false,
    eventType: 'AwsApiCall',
    recipientAccountId: '123456789012',
  }
  expect(readCloudTrail(JSON.stringify({ Records: [event] }), 'x.json')).toEqual([
    {
      eventId: event.eventID,
      eventTime: '2018-04-19T16:32:51.000Z',
      region: 'us-east-1',
      caller: 'arn:aws:iam::123456789012:user/Alice',
      licence: 'EXAMPLE_proCode/987654321098',
      dimension: 'Dimension1',
      timestamp: '2018-04-19T16:32:50.000Z',
      quantity: 1,
      status: 'Success',
      meteringRecordId: 'bEXAMPLE-98f0-4e90-8bd2-bf0EXAMPLE1e',
    },
  ])
})

test('an event that was delivered twice counts once, a refused call without its request not at all', () => {
  const seen = new Set<string>()
  const file = fileOf([later, later])
  expect(readCloudTrail(file, 'a.json', seen)).toHaveLength(1)
  expect(readCloudTrail(file, 'b.json', seen)).toEqual([])
  const denied = { ...JSON.parse(fileOf([later])).Records[1], errorCode: 'AccessDenied', requestParameters: null }
  expect(readCloudTrail(JSON.stringify({ Records: [denied] }), 'x.json')).toEqual([])
  const elsewhere = { ...JSON.parse(fileOf([later])).Records[1], eventSource: 'example.amazonaws.com' }
  expect(readCloudTrail(JSON.stringify({ Records: [elsewhere] }), 'x.json')).toEqual([])
})

test('a page of invoices that names another is not taken for all of them', () => {
  const page = { agreementInvoiceLineItemGroupSummaries: [], nextToken: 'more' }
  expect(() => readInvoices(JSON.stringify(page), 'x.json')).toThrow(/x.json is one page of several/)
  expect(readInvoices(JSON.stringify([page, { ...page, nextToken: null }]), 'x.json')).toEqual([])
})

describe('what differs from CloudTrail is named with its likely cause', () => {
  const otherQuantity = (event: TrailEvent, quantity = 77): TrailEvent => ({
    ...event,
    eventID: 'other',
    record: { ...event.record, quantity },
  })
  test.for<
    [string, (one: LedgerRecord, event: TrailEvent) => [LedgerRecord[], TrailEvent[]], RegExp, RegExp, RegExp | null]
  >([
    [
      'a lost answer',
      (one, event) => [[inState('unknown', one)], [event]],
      /^AWS took it .*; here it is unknown$/,
      /the answer was lost/,
      /^liveness metering accept '\S+' --metering-record-id 'at-aws-1'$/,
    ],
    [
      'a lost request',
      (one) => [[inState('unknown', one)], []],
      /CloudTrail shows no such call/,
      /AWS does not bill it/,
      /^liveness metering write-off '\S+' --reason/,
    ],
    [
      'an error without an acceptance',
      (one, event) => [[inState('unknown', one)], [{ ...event, errorCode: 'InternalServiceErrorException' }]],
      /shows only InternalServiceErrorException/,
      /AWS does not bill it/,
      /write-off/,
    ],
    [
      'an acceptance that CloudTrail does not show',
      (one) => [[one], []],
      /CloudTrail shows no acceptance/,
      /files are missing, or it was sent to another account/,
      null,
    ],
    [
      'an acceptance that AWS refused',
      (one, event) => [[one], [{ ...event, status: 'CustomerNotSubscribed' }]],
      /CloudTrail shows no acceptance/,
      /AWS answered CustomerNotSubscribed/,
      null,
    ],
    [
      'another quantity',
      (one, event) => [[one], [event, { ...otherQuantity(event), status: 'DuplicateRecord' }]],
      /^77 were sent in us-east-1 .* AWS answered DuplicateRecord; \d+ is sealed/,
      /sent by somebody else than this installation/,
      null,
    ],
    [
      'a quantity that was faster',
      (one, event) => [[inState('refused', one)], [otherQuantity(event)]],
      /^77 were sent .* AWS took it/,
      /AWS keeps the first quantity/,
      null,
    ],
    [
      'another region',
      (one, event) => [[one], [event, { ...event, eventID: 'abroad', awsRegion: 'eu-west-1' }]],
      /were sent in eu-west-1 .* the record is for us-east-1/,
      /two regions/,
      null,
    ],
    [
      'somebody else',
      (one, event) => [
        [one],
        [
          event,
          { ...event, eventID: 'x', record: { ...event.record, timestamp: '2026-02-20T10:00:00Z', quantity: 5000 } },
        ],
      ],
      /^5000 were sent .*: there is no such record/,
      /sent by somebody else/,
      null,
    ],
    [
      'the wrong month',
      (one, event) => [
        [one],
        [event, { ...event, eventID: 'x', record: { ...event.record, timestamp: 'Mar 1, 2026 12:00:00 AM' } }],
      ],
      /there is no such record/,
      /^wrong month: \S+ has the same quantity/,
      null,
    ],
    [
      'usage sent under the product too',
      (one, event) => {
        const { licenseArn: _, ...record } = event.record
        return [[one], [event, { ...event, eventID: 'again', record, productCode: 'prod' }]]
      },
      /under the licence and under prod\/123456789012/,
      /billed twice/,
      null,
    ],
    [
      'calls that were carried on although AWS had them',
      (one, event) => [[inState('carried_forward', one)], [event]],
      /AWS took it .*; here it is carried forward/,
      /billed twice/,
      null,
    ],
    [
      'what was sealed not to be sent',
      (one, event) => [[{ ...inState('not_submittable', one), sealed: { ...one.sealed, submission: 'off' } }], [event]],
      /METERING_SUBMIT off/,
      /sent by somebody else/,
      null,
    ],
  ])('%s', ([, make, fault, cause, next]) => {
    const one = sentRecord()
    const [records, events] = make(one, eventOf(one))
    const faults = found(records, events)
    const named = faults.find((each) => fault.test(each.fault))
    expect(named, JSON.stringify(faults)).toBeDefined()
    expect(named?.cause).toMatch(cause)
    if (next !== null) expect(named?.next).toMatch(next)
  })

  test('a record in doubt is left alone when the files do not reach it', () => {
    const records = [inState('unknown')]
    expect(againstCloudTrail(records, readCloudTrail(fileOf([early]), 'x.json'))[0]).toMatchObject({
      cause: 'more files of CloudTrail are needed',
      next: null,
    })
  })
})

test('what CloudTrail shows of a record in doubt settles it, and nothing else can be settled so', () => {
  const { record } = inState('unknown')
  const order = { recordId: record.recordId, meteringRecordId: 'from-cloudtrail', now: '2026-03-02T00:00:00.000Z' }
  const books = { meter: newMeter(record.customerId), records: [record], adjustments: [] }
  const ruling = decideAccept(books, order)
  if (!('events' in ruling)) throw new Error(ruling.refusal)
  const [event] = ruling.events
  if (event?.type !== 'RecordAccepted') throw new Error('it was not accepted')
  expect(event.data.attempt).toBe(record.attempts)
  expect(evolveRecord(record, event)).toMatchObject({ state: 'accepted', meteringRecordId: 'from-cloudtrail' })
  for (const state of ['accepted', 'refused', 'carried_forward'] as const) {
    expect(decideAccept({ ...books, records: [inState(state).record] }, order)).toHaveProperty('refusal')
  }
  expect(decideAccept({ ...books, records: [] }, order)).toHaveProperty('refusal')
})

describe('invoices', () => {
  const licence = licenceOf(0).licenceArn
  const agreements = new Map([
    ['agmt-1', licence],
    ['agmt-2', licenceOf(1).licenceArn],
  ])
  const line = (amount: string, month = 2, invoiceType = 'INVOICE') => ({
    agreementId: 'agmt-1',
    invoiceId: `inv-${month}`,
    invoiceType,
    invoiceBillingPeriod: { month, year: 2026 },
    pricingCurrencyAmount: { amount, currencyCode: 'USD', maxAdjustmentAmount: amount },
  })
  async function* texts(...values: unknown[]) {
    for (const value of values) yield { name: 'file.json', text: JSON.stringify(value) }
  }
  const reconciled = async (lines: unknown[], options: Partial<Parameters<typeof reconcile>[0]> = {}) =>
    reconcile({
      store: world.store,
      pool: database.pool,
      cloudTrail: texts(),
      invoices: texts({ agreementInvoiceLineItemGroupSummaries: lines }),
      agreements,
      month: undefined,
      ...options,
    })

  /** Accepted calls × the prices of the catalogue when they were made: 0.15 for standard, 0.08 for business. */
  const cost = () =>
    ledger
      .filter(({ record }) => record.state === 'accepted' && record.yearMonth === '2026-02')
      .reduce(
        (cents, { record, sealed }) => cents + sealed.quantity * (record.dimension === 'standard_over' ? 15 : 8),
        0,
      )
  const usd = (cents: number) => (cents / 100).toFixed(2)

  test('agree with the accepted records, with the monthly fee or without', async () => {
    expect((await reconciled([line(usd(cost()))])).differences).toEqual([])
    expect((await reconciled([line(usd(cost() + 75_000))])).differences).toEqual([])
    expect((await reconciled([line(usd(cost() + 100)), line('1.00', 2, 'CREDIT_MEMO')])).differences).toEqual([])
    const { invoiceLines } = await reconciled([], {
      invoices: texts([line(usd(cost()))], [{ agreementInvoiceLineItemGroupSummaries: [] }]),
    })
    expect(invoiceLines).toBe(1)
  })

  /** A licence without a call past the credits has no record. */
  test.for<[string, string, string, string | undefined]>([
    ['a customer who never had overage', 'agmt-2', '750', undefined],
    ['that customer, of the month alone', 'agmt-2', '750', '2026-03'],
    ['a customer who had some the month before', 'agmt-1', '180', '2026-03'],
  ])('that bill the fee and nothing else agree: %s', async ([, agreementId, fee, month]) => {
    const billed = (amount: string) => [{ ...line(amount, 3), agreementId }]
    expect((await reconciled(billed(fee), { month })).differences).toEqual([])
    expect((await reconciled(billed(`${fee}.01`), { month })).differences).toMatchObject([
      { customerId: agreementId === 'agmt-1' ? customerId : withoutOverage },
    ])
  })

  test.for<[string, () => unknown[], RegExp]>([
    ['too much', () => [line(usd(cost() + 123))], /AWS bills what was not accepted here/],
    ['too little', () => [line('0.01')], /on no invoice of these files yet/],
    [
      'the wrong month',
      () => [line('0.00'), line(usd(cost()), 3)],
      /^wrong month: 2026-0[23] differs by the same amount/,
    ],
  ])('that bill %s are named', async ([, lines, cause]) => {
    const { differences } = await reconciled(lines())
    expect(differences[0]?.fault).toMatch(
      /^2026-0[23], arn:\S+: AWS bills \S+ USD on inv-\d, the accepted records cost/,
    )
    expect(differences[0]?.cause).toMatch(cause)
  })

  test('of an agreement that no message has named are not guessed', async () => {
    const { differences } = await reconciled([line('1.00')], { agreements: new Map() })
    expect(differences[0]?.cause).toContain('--agreement AGREEMENT=LICENCE')
    await database.pool.query(
      `insert into marketplace_messages (id, delivery_id, sent_at, body, kind, agreement_id, licence_arn)
       values ('m', 'm', now(), '{}', 'licence-updated', 'agmt-1', $1)`,
      [licence],
    )
    expect((await reconciled([line(usd(cost()))], { agreements: new Map() })).differences).toEqual([])
  })

  test('of a licence that nobody holds are named', async () => {
    const agreements = new Map([['agmt-1', licenceOf(2).licenceArn]])
    expect((await reconciled([line('750')], { agreements })).differences).toMatchObject([
      { customerId: null, cause: expect.stringContaining('nobody holds this licence') },
    ])
  })

  test('nothing else that calls itself an invoice is read', () => {
    expect(() => readInvoices('{"Records": []}', 'x')).toThrow(BadInvoice)
  })
})
