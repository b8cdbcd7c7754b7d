import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  answersOf,
  awsBatchMeterUsage,
  batches,
  requestOf,
  type UsageToSend,
} from '../../src/marketplace/batch-meter-usage.ts'
import { directBatchMeterUsage } from '../aws/direct.ts'
import { createFaults, type Fault } from '../aws/faults.ts'
import { emptyAws } from '../aws/state.ts'
import { dimension, givenAws, productCode } from '../aws/support.ts'

type Due = UsageToSend & { readonly region: string }

const usages: fc.Arbitrary<Due[]> = fc
  .array(
    fc.record({
      region: fc.constantFrom('us-east-1', 'eu-west-1'),
      dimension: fc.oneof(fc.constant(dimension), fc.string({ minLength: 1, maxLength: 255, unit: 'binary' })),
      timestamp: fc.constantFrom('2026-08-10T10:00:00.000Z', '2026-08-10T11:00:00.000Z'),
      quantity: fc.nat(),
      identity: fc.oneof(
        fc.record({
          kind: fc.constant('licence' as const),
          awsAccountId: fc.constant('111'),
          licenceArn: fc.constantFrom('arn:aws:l-1', 'arn:aws:l-2', `arn:aws:${'l'.repeat(300_000)}`),
        }),
        fc.record({
          kind: fc.constant('product' as const),
          productCode: fc.constantFrom('p-1', 'p-2'),
          awsAccountId: fc.constant('111'),
        }),
      ),
    }),
    { maxLength: 120 },
  )
  .map((all) => all.map((one, place) => ({ ...one, recordId: `record-${place}` })))

test('batches: every record once, at most 25, less than 1 MB, one product and region, in order', () => {
  fc.assert(
    fc.property(usages, (all) => {
      const found = batches(all)
      expect(
        found
          .flat()
          .map((one) => one.recordId)
          .toSorted(),
      ).toEqual(all.map((one) => one.recordId).toSorted())
      for (const batch of found) {
        expect(batch.length).toBeLessThanOrEqual(25)
        expect(batch.length).toBeGreaterThan(0)
        expect(Buffer.byteLength(JSON.stringify(requestOf(batch)))).toBeLessThan(1_000_000)
        const product = (one: Due) => (one.identity.kind === 'product' ? one.identity.productCode : 'licence')
        expect(new Set(batch.map((one) => `${one.region} ${product(one)}`)).size).toBe(1)
        const places = batch.map((one) => all.indexOf(one))
        expect(places).toEqual(places.toSorted((a, b) => a - b))
      }
    }),
    { numRuns: 60 },
  )
})

test('60 records of one product are three calls', () => {
  const identity = { kind: 'licence', awsAccountId: '1', licenceArn: 'arn:aws:l' } as const
  const all = Array.from({ length: 60 }, (_, place) => ({
    recordId: String(place),
    region: 'us-east-1',
    identity,
    dimension,
    timestamp: '2026-08-10T10:00:00.000Z',
    quantity: place,
  }))
  expect(batches(all).map((batch) => batch.length)).toEqual([25, 25, 10])
})

test('two records of the same content get an answer each', () => {
  const identity = { kind: 'licence', awsAccountId: '1', licenceArn: 'arn:aws:l' } as const
  const usage = { identity, dimension, timestamp: '2026-08-10T10:00:00.000Z', quantity: 1 }
  const two = [
    { ...usage, recordId: 'a' },
    { ...usage, recordId: 'b' },
  ]
  const [UsageRecord] = requestOf(two).UsageRecords ?? []
  const Results = [{ UsageRecord, Status: 'Success' as const, MeteringRecordId: 'm' }]
  expect([...answersOf(two, { Results }).values()].map(({ kind }) => kind)).toEqual(['accepted', 'unanswered'])
})

describe('the simulation’s way to AWS’s rules', () => {
  const now = '2026-08-10T12:00:00.000Z'
  const faults: (Fault | null)[] = [
    null,
    { kind: 'lose_call' },
    { kind: 'lose_answer' },
    { kind: 'unprocessed', records: [0] },
    { kind: 'omit', records: [1] },
    { kind: 'exception', name: 'ThrottlingException' },
    { kind: 'exception', name: 'InternalServiceErrorException', carriedOut: true },
    { kind: 'body', status: 503, body: 'busy' },
  ]
  test.each(faults.map((fault) => [fault?.kind ?? 'no fault', fault] as const))(
    'with %s it ends as over HTTP and the SDK: the same outcome, the same bill',
    async (_, fault) => {
      const { aws } = await givenAws(now)
      const subscription = aws.addSubscription({ awsAccountId: '111' })
      const direct = {
        state: { ...emptyAws, products: new Map([[productCode, [dimension]]]), subscriptions: [subscription] },
      }
      const planned = createFaults()
      if (fault !== null) {
        aws.faults.next('BatchMeterUsage', fault)
        planned.next('BatchMeterUsage', fault)
      }
      const identity = { kind: 'licence', awsAccountId: '111', licenceArn: subscription.licenceArn ?? '' } as const
      const due = (recordId: string, change: Partial<UsageToSend> = {}): UsageToSend => ({
        recordId,
        identity,
        dimension,
        timestamp: '2026-08-10T10:00:00.000Z',
        quantity: 5,
        ...change,
      })
      const calls = [
        [due('a'), due('b', { timestamp: '2026-08-10T11:00:00.000Z' })],
        [due('a', { quantity: 6 }), due('b', { timestamp: '2026-08-10T11:00:00.000Z' })],
        [due('a'), due('c', { dimension: 'none' })],
      ]
      const overHttp = awsBatchMeterUsage()
      const straight = directBatchMeterUsage(
        direct,
        () => Date.parse(now),
        (records) => planned.draw('BatchMeterUsage', records),
      )
      for (const call of calls) {
        const [expected, found] = [await overHttp('us-east-1', call), await straight('us-east-1', call)]
        expect(found.kind).toBe(expected.kind)
        if (expected.kind === 'answered' || expected.kind === 'refused') expect(found).toEqual(expected)
      }
      expect([...direct.state.billed.values()]).toEqual(aws.ledger())
    },
  )
})
