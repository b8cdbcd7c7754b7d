/** BatchMeterUsage with the real SDK client against the stand-in: each answer of AWS, and each way of getting none. */
import { GetEntitlementsCommand } from '@aws-sdk/client-marketplace-entitlement-service'
import { BatchMeterUsageCommand } from '@aws-sdk/client-marketplace-metering'
import { ReceiveMessageCommand } from '@aws-sdk/client-sqs'
import { describe, expect, test, vi } from 'vitest'
import { entitlementClient, meteringClient, queueClient } from '../../src/marketplace/aws.ts'
import { awsBatchMeterUsage, type CallOutcome, type UsageToSend } from '../../src/marketplace/batch-meter-usage.ts'
import type { Fault } from '../aws/faults.ts'
import { dimension, givenAws, givenCustomer, productCode } from '../aws/support.ts'

const noon = '2026-08-10T12:00:00.000Z'
const region = 'eu-west-1'

async function givenSender(
  customer: { licenceArn?: null; customerIdentifier?: string } = {},
  limits: { answerMs?: number } = {},
) {
  const given = await givenCustomer(noon, customer)
  const { awsAccountId, licenceArn } = given.subscription
  const usage = (changes: Partial<UsageToSend> = {}): UsageToSend => ({
    recordId: 'record-1',
    identity:
      licenceArn === null
        ? { kind: 'product', productCode, awsAccountId }
        : { kind: 'licence', awsAccountId, licenceArn },
    dimension,
    timestamp: '2026-08-10T10:00:00.000Z',
    quantity: 7,
    ...changes,
  })
  const batchMeterUsage = awsBatchMeterUsage(limits)
  const submit = (...usages: UsageToSend[]) => batchMeterUsage(region, usages)
  return { ...given, usage, submit }
}
const answers = (outcome: CallOutcome) => (outcome.kind === 'answered' ? Object.fromEntries(outcome.answers) : outcome)

describe('what is sent', () => {
  test('a licence: account and ARN, no product code; every attempt the same bytes', async () => {
    const { aws, submit, usage, subscription } = await givenSender()
    await submit(usage())
    await submit(usage())
    const [first, second] = aws.calls
    expect(first).toMatchObject({ operation: 'BatchMeterUsage', region })
    expect(JSON.parse(first?.body ?? '')).toEqual({
      UsageRecords: [
        {
          Timestamp: Date.parse('2026-08-10T10:00:00Z') / 1000,
          Dimension: dimension,
          Quantity: 7,
          CustomerAWSAccountId: subscription.awsAccountId,
          LicenseArn: subscription.licenceArn,
        },
      ],
    })
    expect(second?.body).toBe(first?.body)
  })

  test('a legacy customer: the product code, and the account or the identifier, never both', async () => {
    const { aws, submit, usage } = await givenSender({ licenceArn: null, customerIdentifier: 'customer-1' })
    const named = { kind: 'product', productCode, customerIdentifier: 'customer-1' } as const
    await submit(usage({ identity: named }))
    await submit(usage({ identity: { ...named, awsAccountId: '111122223333' } }))
    const sent = aws.calls.map(({ body }) => JSON.parse(body))
    expect(sent.map((request) => request.ProductCode)).toEqual([productCode, productCode])
    const names = sent.map(({ UsageRecords: [one] }) => [one.CustomerIdentifier, one.CustomerAWSAccountId])
    expect(names).toEqual([
      ['customer-1', undefined],
      [undefined, '111122223333'],
    ])
    expect(aws.ledger()).toHaveLength(1)
  })
})

describe('answers, record by record', () => {
  test('Success, DuplicateRecord, CustomerNotSubscribed and UnprocessedRecords find their records', async () => {
    const { aws, submit, usage } = await givenSender()
    const ended = aws.addSubscription({ awsAccountId: '444' })
    aws.endSubscription(ended.id, Date.parse('2026-08-10T10:30:00Z'))
    await submit(usage())
    aws.faults.next('BatchMeterUsage', { kind: 'unprocessed', records: [3] })
    const outcome = await submit(
      usage({ recordId: 'other quantity', quantity: 8 }),
      usage({
        recordId: 'ended',
        identity: { kind: 'licence', awsAccountId: '444', licenceArn: ended.licenceArn ?? '' },
      }),
      usage({ recordId: 'same' }),
      usage({ recordId: 'unlucky', timestamp: '2026-08-10T11:00:00.000Z', quantity: 0 }),
    )
    const [billed] = aws.ledger()
    expect(answers(outcome)).toEqual({
      'other quantity': { kind: 'duplicate' },
      ended: { kind: 'not_subscribed' },
      same: { kind: 'accepted', meteringRecordId: billed?.meteringRecordId },
      unlucky: { kind: 'unprocessed' },
    })
  })

  test('a record that is in neither list is unanswered, and the next attempt learns that AWS took it', async () => {
    const { aws, submit, usage } = await givenSender()
    const two = [usage(), usage({ recordId: 'record-2', dimension: 'overage_pro' })] as const
    aws.faults.next('BatchMeterUsage', { kind: 'omit', records: [1] })
    expect(answers(await submit(...two))).toMatchObject({
      'record-1': { kind: 'accepted' },
      'record-2': { kind: 'unanswered' },
    })
    expect(aws.ledger()).toHaveLength(2)
    expect(answers(await submit(...two))).toMatchObject({ 'record-2': { kind: 'accepted' } })
    expect(aws.ledger()).toHaveLength(2)
  })

  test.each([
    ['a status that is not known', { Status: 'Postponed', MeteringRecordId: 'm' }],
    ['Success without a MeteringRecordId', { Status: 'Success' }],
  ])('%s is no acceptance', async (_, result) => {
    const { aws, submit, usage } = await givenSender()
    await submit(usage())
    const [UsageRecord] = JSON.parse(aws.calls[0]?.body ?? '').UsageRecords
    const body = JSON.stringify({ Results: [{ UsageRecord, ...result }] })
    aws.faults.next('BatchMeterUsage', { kind: 'body', status: 200, body })
    expect(answers(await submit(usage()))).toMatchObject({ 'record-1': { kind: 'unanswered' } })
  })
})

describe('calls without answers for records', () => {
  const exception = (name: string, status?: number): Fault => ({
    kind: 'exception',
    name,
    message: 'in their words',
    ...(status === undefined ? {} : { status }),
  })
  test.each<[string, Fault, Partial<CallOutcome>]>([
    ['too many calls', exception('ThrottlingException'), { kind: 'throttled' }],
    ['too many calls, told by status', exception('SomethingElse', 429), { kind: 'throttled' }],
    ['an error of the service', exception('InternalServiceErrorException', 500), { kind: 'server_error' }],
    ['a load balancer’s page', { kind: 'body', status: 503, body: '<html>busy</html>' }, { kind: 'server_error' }],
    ['a connection that breaks before the answer', { kind: 'lose_answer' }, { kind: 'no_answer' }],
    ['a connection that breaks before the call', { kind: 'lose_call' }, { kind: 'no_answer' }],
    ['an answer that is no JSON', { kind: 'body', status: 200, body: '<html>' }, { kind: 'no_answer' }],
    ['half an answer', { kind: 'body', status: 200, body: '{"Results":[{"Usage' }, { kind: 'no_answer' }],
    ['a disabled API', exception('DisabledApiException'), { kind: 'disabled', message: 'in their words' }],
    ['a key AWS does not know', exception('UnrecognizedClientException'), { kind: 'misconfigured' }],
    ['credentials that have expired', exception('ExpiredTokenException'), { kind: 'misconfigured' }],
    ['a missing permission', exception('AccessDeniedException'), { kind: 'misconfigured' }],
    ['a proxy that denies', { kind: 'body', status: 403, body: 'no' }, { kind: 'misconfigured', code: 'HTTP 403' }],
    ['a redirect', { kind: 'body', status: 302, body: '' }, { kind: 'misconfigured', code: 'HTTP 302' }],
    [
      'a proxy that finds it too big',
      { kind: 'body', status: 413, body: 'big' },
      { kind: 'refused', code: 'HTTP 413' },
    ],
    [
      'an exception not known here',
      exception('NewRuleException'),
      { kind: 'refused', code: 'NewRuleException', message: 'in their words' },
    ],
  ])('%s', async (_, fault, expected) => {
    const { aws, submit, usage } = await givenSender()
    aws.faults.next('BatchMeterUsage', fault)
    expect(await submit(usage())).toMatchObject(expected)
    expect(aws.calls).toHaveLength(1) // the SDK has not tried again by itself
    expect(answers(await submit(usage()))).toMatchObject({ 'record-1': { kind: 'accepted' } })
    expect(aws.ledger()).toHaveLength(1)
  })

  test.each<[string, Fault]>([
    ['no answer in time', { kind: 'hang' }],
    ['an answer that stalls half-way', { kind: 'stall' }],
    ['an answer that comes too late', { kind: 'slow', ms: 800 }],
  ])('%s', async (_, fault) => {
    const { aws, submit, usage } = await givenSender({}, { answerMs: 500 })
    aws.faults.next('BatchMeterUsage', fault)
    expect(await submit(usage())).toMatchObject({ kind: 'no_answer' })
    expect(aws.calls).toHaveLength(1) // the SDK has not tried again by itself
    // On a busy machine so short a limit may pass over a call without a fault as well.
    const next = async () => answers(await submit(usage()))
    await expect.poll(next, { timeout: 20_000 }).toMatchObject({ 'record-1': { kind: 'accepted' } })
    expect(aws.ledger()).toHaveLength(1)
  })

  test.each<[string, Partial<UsageToSend>]>([
    ['TimestampOutOfBoundsException', { timestamp: '2026-08-09T12:00:00.000Z' }],
    ['InvalidUsageDimensionException', { dimension: 'none' }],
    ['InvalidLicenseException', { identity: { kind: 'licence', awsAccountId: '1', licenceArn: 'arn:aws:x' } }],
    ['ValidationException', { quantity: -1 }],
  ])('%s of one record refuses all of them', async (code, poison) => {
    const { aws, submit, usage } = await givenSender()
    expect(await submit(usage({ recordId: 'good' }), usage(poison))).toMatchObject({ kind: 'refused', code })
    expect(aws.ledger()).toEqual([])
  })

  test('nobody listens', async () => {
    const { aws, submit, usage } = await givenSender()
    await aws.stop()
    expect(await submit(usage())).toMatchObject({ kind: 'no_answer' })
    await aws.start()
    expect(answers(await submit(usage()))).toMatchObject({ 'record-1': { kind: 'accepted' } })
  })

  test('no credentials: nothing is sent, and that is said', async () => {
    const { aws, submit, usage } = await givenSender()
    vi.stubEnv('AWS_ACCESS_KEY_ID', undefined)
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nonexistent')
    vi.stubEnv('AWS_CONFIG_FILE', '/nonexistent')
    expect(await submit(usage())).toMatchObject({ kind: 'misconfigured', code: 'CredentialsProviderError' })
    expect(aws.calls).toEqual([])
  })

  test('a region that is none', async () => {
    const { aws, usage } = await givenSender()
    expect(await awsBatchMeterUsage()('not a region', [usage()])).toMatchObject({ kind: 'misconfigured' })
    expect(aws.calls).toEqual([])
  })
})

test('the standard variables of the SDK lead all three clients to an address of the operator', async () => {
  const { aws } = await givenAws(noon)
  await (await meteringClient('ap-northeast-1')).send(new BatchMeterUsageCommand({ UsageRecords: [] }))
  await (await entitlementClient()).send(new GetEntitlementsCommand({ ProductCode: productCode }))
  const QueueUrl = 'https://sqs.us-west-2.amazonaws.com/000000000000/marketplace'
  await (await queueClient(QueueUrl, 'ap-northeast-1')).send(new ReceiveMessageCommand({ QueueUrl }))
  expect(aws.calls.map(({ operation, region: signedFor }) => [operation, signedFor])).toEqual([
    ['BatchMeterUsage', 'ap-northeast-1'],
    ['GetEntitlements', 'us-east-1'],
    ['ReceiveMessage', 'us-west-2'],
  ])
})
