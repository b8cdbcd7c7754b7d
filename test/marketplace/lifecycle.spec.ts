import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { continuesAnother, type LifecycleMessage, readMessage, standingOf } from '../../src/marketplace/lifecycle.ts'
import { accountId, agreementEvent, licenceArn, licenceEvent, notification, productCode } from './said.ts'

let serial = 0
const read = (body: string): LifecycleMessage =>
  readMessage({ messageId: `m${++serial}`, sentAt: '2026-08-20T15:00:00.000Z', body })
const said = (body: string) => read(body).said
const agreement = { agreement: 'agmt-1' }
const arn = licenceArn(1)

describe('what a message says', () => {
  test('a new agreement, without licence and without product', () => {
    expect(read(agreementEvent('Created', { intent: 'NEW' }, { agreement: 'agmt-1', requestId: 'r-1' }))).toEqual({
      id: 'agreement-created:r-1',
      sentAt: '2026-08-20T14:23:22.000Z',
      said: { kind: 'agreement-created', agreementId: 'agmt-1', awsAccountId: accountId, intent: 'NEW' },
    })
  })
  test('a licence, with both ids', () => {
    expect(said(licenceEvent('Updated', arn, agreement))).toEqual({
      kind: 'licence-updated',
      agreementId: 'agmt-1',
      awsAccountId: accountId,
      licenceArn: arn,
      productCode,
    })
    expect(said(licenceEvent('Deprovisioned', arn, agreement))).toMatchObject({ kind: 'licence-deprovisioned' })
  })
  test('a licence named without "arn:", as AWS’s examples have it, is the same licence', () => {
    expect(said(licenceEvent('Updated', arn.slice('arn:'.length), agreement))).toMatchObject({ licenceArn: arn })
  })
  test.each([
    'subscribe-success',
    'subscribe-fail',
    'unsubscribe-pending',
    'unsubscribe-success',
    'entitlement-updated',
  ])('%s, raw and in the envelope of SNS', (kind) => {
    const expected = { kind, productCode, customerIdentifier: 'X01EXAMPLEX' }
    expect(read(notification(kind))).toMatchObject({ said: expected, sentAt: '2026-08-20T15:00:00.000Z' })
    expect(read(notification(kind, { sns: '2026-03-29T05:12:16.901Z' }))).toMatchObject({
      said: expected,
      sentAt: '2026-03-29T05:12:16.901Z',
    })
  })
  test('an event that came by way of SNS', () => {
    const body = JSON.stringify({
      Type: 'Notification',
      MessageId: 'sns-1',
      Message: licenceEvent('Updated', arn, { agreement: 'agmt-1', requestId: 'r-9' }),
    })
    expect(read(body)).toMatchObject({ id: 'licence-updated:r-9', said: { kind: 'licence-updated' } })
  })
  test('what is not understood is unknown, and says why', () => {
    expect(said('hello')).toEqual({ kind: 'unknown', reason: 'it is no JSON' })
    expect(said('{}')).toMatchObject({ kind: 'unknown' })
    expect(said(notification('subscription-paused'))).toMatchObject({ kind: 'unknown' })
    expect(said(agreementEvent('Ended', { status: 'SUPERSEDED' }, agreement))).toMatchObject({
      kind: 'unknown',
      reason: expect.stringContaining('agreement.status'),
    })
    const advisory = JSON.parse(agreementEvent('Created', { intent: 'NEW' }, agreement)) as Record<string, unknown>
    advisory['detail-type'] = 'Purchase Agreement Ending - Proposer'
    expect(said(JSON.stringify(advisory))).toMatchObject({
      reason: 'the event type is Purchase Agreement Ending - Proposer',
    })
  })
  test('never throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.jsonValue().map((value) => JSON.stringify(value)),
        ),
        (body) => {
          expect(read(body).said.kind).toBeTypeOf('string')
        },
      ),
    )
  })
})

describe('what is the same message', () => {
  const id = (body: string) => read(body).id
  test('proposer and manufacturer are told of one request', () => {
    const options = { agreement: 'agmt-1', requestId: 'r-2' }
    expect(id(agreementEvent('Ended', { status: 'EXPIRED' }, options, 'Proposer'))).toBe(
      id(agreementEvent('Ended', { status: 'EXPIRED' }, options, 'Manufacturer')),
    )
  })
  test('the end of an agreement and of its licence are two, though a request should have caused both', () => {
    const options = { agreement: 'agmt-1', requestId: 'r-3' }
    expect(id(agreementEvent('Ended', { status: 'EXPIRED' }, options))).not.toBe(
      id(licenceEvent('Deprovisioned', arn, options)),
    )
  })
  test('SNS’s id outlives a second delivery by SQS; a raw notification has SQS’s only', () => {
    const body = notification('subscribe-success', { sns: '2026-03-29T05:12:16.901Z' })
    expect(id(body)).toBe(id(body))
    expect(id(notification('subscribe-success'))).not.toBe(id(notification('subscribe-success')))
  })
})

describe('how a licence stands', () => {
  const created = (intent: string, of = agreement) => agreementEvent('Created', { intent }, of)
  const updated = licenceEvent('Updated', arn, agreement)
  const deprovisioned = licenceEvent('Deprovisioned', arn, agreement)
  const ended = (status: string) => agreementEvent('Ended', { status }, agreement)
  const standing = (...bodies: string[]) => standingOf(bodies.map(read)).kind

  test('granted, amended: it runs', () => {
    expect(standing(created('NEW'), updated)).toBe('running')
    expect(standing(created('NEW'), updated, agreementEvent('Amended', { intent: 'AMEND' }, agreement))).toBe('running')
  })
  test.each(['CANCELLED', 'EXPIRED', 'TERMINATED'])('%s ends it, before and after it is deprovisioned', (status) => {
    expect(standing(created('NEW'), updated, ended(status))).toBe('ended')
    expect(standing(created('NEW'), updated, ended(status), deprovisioned)).toBe('ended')
  })
  test('deprovisioning ends it, though the end of the agreement is not known yet', () => {
    expect(standing(created('NEW'), updated, deprovisioned)).toBe('ended')
  })
  test.each(['RENEWED', 'REPLACED'])('%s is no end, deprovisioned or not', (status) => {
    expect(standing(created('NEW'), updated, ended(status))).toBe('replaced')
    expect(standing(created('NEW'), updated, ended(status), deprovisioned)).toBe('replaced')
  })
  test('a licence that another agreement goes on with has not ended', () => {
    expect(standing(updated, ended('REPLACED'), licenceEvent('Updated', arn, { agreement: 'agmt-2' }))).toBe('running')
  })
  test('the order of the messages and their number make no difference', () => {
    const bodies = fc.shuffledSubarray([
      created('NEW'),
      updated,
      ended('CANCELLED'),
      ended('RENEWED'),
      deprovisioned,
      notification('subscribe-success', { sns: '2026-03-01T00:00:00.000Z' }),
      notification('unsubscribe-pending', { sns: '2026-04-01T00:00:00.000Z' }),
      notification('subscribe-success', { sns: '2026-05-01T00:00:00.000Z' }),
    ])
    fc.assert(
      fc.property(bodies, fc.infiniteStream(fc.nat()), (some, random) => {
        const again = [...some, ...some.filter(() => (random.next().value ?? 0) % 2 === 0)]
        const shuffled = again
          .map((body) => ({ body, at: random.next().value ?? 0 }))
          .sort((a, b) => a.at - b.at)
          .map(({ body }) => body)
        expect(standing(...shuffled)).toBe(standing(...some))
      }),
    )
  })

  const success = (sns: string) => notification('subscribe-success', { sns })
  const leave = (action: string, sns: string) => notification(action, { sns })
  test.each(['unsubscribe-pending', 'unsubscribe-success', 'subscribe-fail'])('legacy: %s ends it', (action) => {
    expect(standing(success('2026-03-01T00:00:00Z'), leave(action, '2026-03-02T00:00:00Z'))).toBe('ended')
  })
  test('legacy: subscribed again before unsubscribe-success came, it runs; the newest by AWS’s time holds', () => {
    const again = [
      success('2026-03-03T00:00:00Z'),
      leave('unsubscribe-pending', '2026-03-02T00:00:00Z'),
      success('2026-03-01T00:00:00Z'),
    ]
    expect(standing(...again)).toBe('running')
    expect(standing(...again, leave('unsubscribe-pending', '2026-03-04T00:00:00Z'))).toBe('ended')
  })
  test('legacy: entitlement-updated says nothing of it', () => {
    expect(standing(notification('entitlement-updated'))).toBe('running')
    expect(
      standing(
        leave('unsubscribe-pending', '2026-03-02T00:00:00Z'),
        notification('entitlement-updated', { sns: '2026-03-03T00:00:00Z' }),
      ),
    ).toBe('ended')
  })

  test('whether it continues another is known from how its agreement was made', () => {
    expect(continuesAnother([read(updated)])).toBeUndefined()
    expect(continuesAnother([read(updated), read(created('NEW'))])).toBe(false)
    expect(continuesAnother([read(updated), read(created('RENEW'))])).toBe(true)
    expect(continuesAnother([read(created('REPLACE')), read(updated)])).toBe(true)
  })
})
