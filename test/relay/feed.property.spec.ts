import fc from 'fast-check'
import { expect, test } from 'vitest'
import { chain, emptyHead, type Head } from '../../src/events/chain.ts'
import { watermarkStream } from '../../src/events/metering.ts'
import { UnreadableEvent } from '../../src/events/parse.ts'
import type { PositionedEvent } from '../../src/eventstore/store.ts'
import { emptyFeed, type FeedState, feed, feedAll, partitionCount, partitionOf } from '../../src/relay/feed.ts'

/** A log of some customers, ticks and streams that are nobody's, in any order. */
const logs = fc
  .record({
    customers: fc.uniqueArray(fc.uuid({ version: 4 }), { minLength: 1, maxLength: 8 }),
    turns: fc.array(
      fc.oneof({ weight: 6, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.constantFrom('tick', 'other') }),
      {
        maxLength: 80,
      },
    ),
  })
  .map(({ customers, turns }) => {
    const heads = new Map<string, Head>()
    return turns.map((turn, index): PositionedEvent => {
      const tick = turn === 'tick'
      const customer = customers[Number(turn) % customers.length]
      const stream = tick ? watermarkStream : turn === 'other' ? 'watermark-of-others' : `customer-${customer}`
      const head = heads.get(stream) ?? emptyHead
      const occurredAt = new Date(Date.UTC(2026, 0, 1) + index * 60_000).toISOString()
      const id = `00000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`
      const metadata = { correlationId: id, causationId: id, actor: 'system', schema: '1' }
      const linked = chain(stream, head, [{ id, type: tick ? 'Tick' : 'Something', data: { occurredAt }, metadata }])
      const [event] = linked.events
      if (event === undefined) throw new Error('chain() lost an event')
      heads.set(stream, linked.head)
      const place = BigInt(index) * 100n
      const position = { commit: place, prepare: place }
      return { ...event, stream, revision: linked.head.revision, created: new Date(occurredAt), position }
    })
  })

/** Σ(head revision + 1) over a partition's customers. */
function fromHeads(events: readonly PositionedEvent[]): bigint[] {
  const heads = new Map<string, bigint>()
  for (const { stream, revision } of events) {
    if (stream.startsWith('customer-')) heads.set(stream, revision)
  }
  const sums = Array.from({ length: partitionCount }, () => 0n)
  for (const [stream, revision] of heads) {
    const partition = partitionOf(stream.slice('customer-'.length))
    sums[partition] = (sums[partition] ?? 0n) + revision + 1n
  }
  return sums
}

test("a watermark's count is the sum of its partition's heads at the tick, and every partition gets one", () => {
  fc.assert(
    fc.property(logs, (log) => {
      let state: FeedState = emptyFeed
      for (const [index, event] of log.entries()) {
        const step = feed(state, event)
        state = step.state
        expect(state.counts).toEqual(fromHeads(log.slice(0, index + 1)))
        if (event.type !== 'Tick') continue
        expect(step.items.map((item) => item.partition)).toEqual([...Array(partitionCount).keys()])
        expect(step.items.map((item) => (item.kind === 'watermark' ? item.count : null))).toEqual(state.counts)
      }
    }),
  )
})

test('however the log is cut into batches, and whatever comes again, the items are the same', () => {
  fc.assert(
    fc.property(logs, fc.array(fc.nat(80)), fc.nat(10), (log, cuts, again) => {
      const whole = feedAll(emptyFeed, log)
      let state: FeedState = emptyFeed
      const items = []
      const places = [...new Set([0, ...cuts.map((cut) => Math.min(cut, log.length)), log.length])].sort(
        (a, b) => a - b,
      )
      for (const [index, from] of places.entries()) {
        // Each batch begins with some that were delivered before.
        const step = feedAll(state, log.slice(Math.max(0, from - again), places[index + 1] ?? from))
        state = step.state
        items.push(...step.items)
      }
      expect(items).toEqual(whole.items)
      expect(state).toEqual(whole.state)
    }),
  )
})

test('random customers spread over all partitions', () => {
  fc.assert(
    fc.property(fc.uuid({ version: 4 }), (id) => {
      expect(partitionOf(id)).toBeGreaterThanOrEqual(0)
      expect(partitionOf(id)).toBeLessThan(partitionCount)
    }),
  )
  const used = new Set(Array.from({ length: 1_000 }, () => partitionOf(crypto.randomUUID())))
  expect(used.size).toBe(partitionCount)
})

test("a customer's stream without a customer's id, and a tick without a time, stop the feed", () => {
  const event: PositionedEvent = {
    stream: 'customer-somebody',
    revision: 0n,
    id: crypto.randomUUID(),
    type: 'Tick',
    data: {},
    metadata: {},
    created: new Date(),
    position: { commit: 0n, prepare: 0n },
  }
  expect(() => feed(emptyFeed, event)).toThrow(UnreadableEvent)
  expect(() => feed(emptyFeed, { ...event, stream: watermarkStream })).toThrow(/watermark revision 0/)
})
