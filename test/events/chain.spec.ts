import { createHash, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chain, chainFault, emptyHead, type Unchained } from '../../src/events/chain.ts'
import type { StoredEvent } from '../../src/eventstore/store.ts'

const stream = 'customer-11111111-1111-4111-8111-111111111111'

function log(count: number): StoredEvent[] {
  const events: Unchained[] = Array.from({ length: count }, (_, i) => ({
    id: randomUUID(),
    type: 'HardCapEnabled',
    data: { occurredAt: '2026-05-04T12:34:56.789Z', n: i },
    metadata: { correlationId: 'r', causationId: 'c', actor: 'operator', schema: '1' },
  }))
  return chain(stream, emptyHead, events).events.map((event, i) => ({
    ...event,
    stream,
    revision: BigInt(i),
    created: new Date(0),
  }))
}

/** The first fault of a whole stream, or null. */
function firstFault(events: readonly StoredEvent[]): string | null {
  let head = emptyHead
  for (const event of events) {
    const fault = chainFault(head, event)
    if (fault !== null) return fault
    head = { revision: event.revision, hash: (event.metadata as { hash: string }).hash }
  }
  return null
}

describe('the hash chain', () => {
  test('the hash is SHA-256 over the RFC 8785 form, computed here by hand', () => {
    const [event] = log(1)
    const id = event?.id
    const canonical = `{"data":{"n":0,"occurredAt":"2026-05-04T12:34:56.789Z"},"id":"${id}","metadata":{"actor":"operator","causationId":"c","correlationId":"r","prevHash":"","schema":"1"},"revision":"0","stream":"${stream}","type":"HardCapEnabled"}`
    expect(event?.metadata).toMatchObject({ hash: createHash('sha256').update(canonical).digest('hex') })
  })
  test('an untouched stream has no fault, and survives the way through JSON', () => {
    expect(firstFault(log(20))).toBeNull()
    expect(firstFault(log(20).map((e) => ({ ...e, data: JSON.parse(JSON.stringify(e.data)) })))).toBeNull()
  })
  test('an altered, removed, inserted or reordered event is found', () => {
    fc.assert(
      fc.property(fc.nat({ max: 8 }), fc.constantFrom('alter', 'actor', 'remove', 'insert', 'swap'), (at, how) => {
        const events = log(10)
        const [one, two] = [events[at], events[at + 1]]
        if (one === undefined || two === undefined) return
        if (how === 'alter') events[at] = { ...one, data: { ...(one.data as object), n: 99 } }
        if (how === 'actor') events[at] = { ...one, metadata: { ...(one.metadata as object), actor: 'nobody' } }
        if (how === 'remove') events.splice(at, 1)
        if (how === 'insert') events.splice(at, 0, { ...one, id: randomUUID() })
        if (how === 'swap') events.splice(at, 2, { ...two, revision: one.revision }, { ...one, revision: two.revision })
        expect(firstFault(events)).not.toBeNull()
      }),
    )
  })
})
