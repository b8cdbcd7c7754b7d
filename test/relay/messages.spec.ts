import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chain, chainFault, emptyHead } from '../../src/events/chain.ts'
import type { PositionedEvent } from '../../src/eventstore/store.ts'
import { type FeedItem, partitionOf } from '../../src/relay/feed.ts'
import { messageOf, parseMessage, type ReceivedMessage, UnreadableMessage } from '../../src/relay/messages.ts'

/** As the message comes back from Kafka: everything is bytes. */
function received(item: FeedItem): ReceivedMessage {
  const { partition, key, value, headers } = messageOf(item)
  const bytes = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)]))
  return {
    partition,
    offset: '41',
    key: key === null ? null : Buffer.from(key),
    value: Buffer.from(value),
    headers: bytes,
  }
}

const natural = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })
const position = fc.record({ commit: natural, prepare: natural })
// As in the log: what JSON cannot say is not in it. JSON.parse makes −0 of "-0", stringify does not.
const json = fc.jsonValue().map((value): unknown => JSON.parse(JSON.stringify(value)))

const events = fc
  .record({
    id: fc.uuid({ version: 4 }),
    customerId: fc.uuid({ version: 4 }),
    revision: natural,
    position,
    body: json,
    at: fc.nat(),
  })
  .map(({ id, customerId, revision, position, body, at }) => {
    const stream = `customer-${customerId}`
    const metadata = { correlationId: 'c', causationId: 'c', actor: 'operator', schema: '1' }
    const head = { ...emptyHead, revision: revision - 1n }
    const [linked] = chain(stream, head, [{ id, type: 'Something', data: { body }, metadata }]).events
    if (linked === undefined) throw new Error('chain() lost an event')
    const event: PositionedEvent = { ...linked, stream, revision, created: new Date(at), position }
    return { head, item: { kind: 'event', partition: partitionOf(customerId), customerId, event } as const }
  })

test('an event comes back as it was stored: its hash still verifies', () => {
  fc.assert(
    fc.property(events, ({ head, item }) => {
      const parsed = parseMessage(received(item))
      expect(parsed).toEqual(item)
      if (parsed.kind !== 'event') throw new Error('not an event')
      expect(chainFault(head, parsed.event)).toBeNull()
    }),
  )
})

test('a watermark comes back, without a key', () => {
  fc.assert(
    fc.property(position, natural, fc.nat(11), (position, count, partition) => {
      const item = { kind: 'watermark', partition, through: '2026-01-01T00:00:00.000Z', position, count } as const
      const message = received(item)
      expect(message.key).toBeNull()
      expect(parseMessage(message)).toEqual(item)
    }),
  )
})

describe('a message that is none of ours is refused, with partition and offset', () => {
  const customerId = '11111111-1111-4111-8111-111111111111'
  const event: PositionedEvent = {
    stream: `customer-${customerId}`,
    revision: 7n,
    id: '22222222-2222-4222-8222-222222222222',
    type: 'DetectionSucceeded',
    data: {},
    metadata: { schema: '1' },
    created: new Date(0),
    position: { commit: 9n, prepare: 9n },
  }
  const good = received({ kind: 'event', partition: partitionOf(customerId), customerId, event })
  const partition = partitionOf(customerId)
  const other = (partition + 1) % 12

  const bad: [why: string, message: ReceivedMessage][] = [
    ['no value', { ...good, value: null }],
    ['a value that is no JSON', { ...good, value: Buffer.from('{"data":') }],
    ['a value with a field that nobody wrote', { ...good, value: Buffer.from('{"data":{},"metadata":{},"x":1}') }],
    ['no headers', { ...good, headers: undefined }],
    ['a header missing', { ...good, headers: { ...good.headers, commit: undefined } }],
    ['a revision that is no number', { ...good, headers: { ...good.headers, revision: Buffer.from('-1') } }],
    ['the key of another', { ...good, key: Buffer.from('33333333-3333-4333-8333-333333333333') }],
    ['no key', { ...good, key: null }],
    ['a stream of no customer', { ...good, headers: { ...good.headers, stream: Buffer.from('metering-1') } }],
    ['the partition of another', { ...good, partition: other }],
    [
      'an event that calls itself a watermark',
      { ...good, headers: { ...good.headers, type: Buffer.from('$watermark') } },
    ],
  ]
  test.each(bad)('%s', (_, message) => {
    const where = `partition ${message.partition} offset 41`
    expect(() => parseMessage(message)).toThrow(UnreadableMessage)
    expect(() => parseMessage(message)).toThrow(where)
  })
  test('and the unchanged one is not', () => {
    expect(parseMessage(good)).toMatchObject({ kind: 'event', customerId })
  })
})
