import { describe, expect, test } from 'vitest'
import { freeze } from '../../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal } from '../../src/commands/customer.ts'
import { CustomerLog, type Snapshot } from '../../src/commands/customer-log.ts'
import { LogMismatch } from '../../src/commands/errors.ts'
import { IdempotencyTail, rememberedMs, tablesBehind } from '../../src/commands/idempotency.ts'
import { evolve, initialState } from '../../src/commands/state.ts'
import type { CustomerEvent } from '../../src/events/catalogue.ts'
import { emptyHead, type Head } from '../../src/events/chain.ts'
import { customerId, detection, newKey, registration, uuid } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'

const origin = { correlationId: 'r', causationId: 'c', actor: 'operator' }
const stream = `customer-${customerId}`

/** A store that holds a history, and what was known right after each event. */
async function stored(...steps: readonly (readonly [now: string, command: CustomerCommand])[]) {
  const store = createMemoryStore()
  const after: Snapshot[] = []
  let state = initialState
  let head: Head = emptyHead
  for (const [now, command] of steps) {
    const decision = decide(state, command, now)
    if (isRefusal(decision)) throw new Error(decision.message)
    for (const event of decision) {
      const frozen = freeze(stream, head, [{ event, origin }])
      await store.send(frozen.attempt, 1_000)
      state = evolve(state, event)
      head = frozen.head
      after.push({ state, head })
    }
  }
  return { store, after }
}

const history = [
  ['2026-04-10T00:00:00.000Z', registration({ monthlyLimit: 3 })],
  ['2026-04-10T00:00:01.000Z', detection()],
  ['2026-04-11T00:00:00.000Z', { type: 'RegenerateApiKey', slot: 'secondary', key: newKey() }],
  ['2026-04-12T00:00:00.000Z', { type: 'SetPlan', plan: 'free', origin: 'operator', reason: 'asked' }],
  ['2026-05-01T00:00:00.000Z', detection()],
  ['2026-05-02T00:00:00.000Z', { type: 'EnableHardCap' }],
  ['2026-05-02T00:00:00.000Z', { type: 'DeactivateApiKey', slot: 'secondary', reason: 'lost' }],
  ['2026-05-02T00:00:01.000Z', detection()],
] as const satisfies readonly (readonly [string, CustomerCommand])[]

describe('a cold start', () => {
  test('from the newest opener, and from a snapshot at any revision, reaches the state of a full fold', async () => {
    const { store, after } = await stored(...history)
    const last = after.at(-1)
    const fromOpener = await CustomerLog.open(store, async () => null, customerId)
    expect({ state: fromOpener.state, head: fromOpener.head }).toEqual(last)
    for (const snapshot of after) {
      const throughJson = { head: snapshot.head, state: JSON.parse(JSON.stringify(snapshot.state)) }
      const log = await CustomerLog.open(store, async () => throughJson, customerId)
      expect({ state: log.state, head: log.head }).toEqual(last)
    }
  })
  test('of an unknown customer is the empty state', async () => {
    const log = await CustomerLog.open(createMemoryStore(), async () => null, customerId)
    expect([log.state, log.head]).toEqual([initialState, emptyHead])
  })
  test('from a snapshot that this store never had is refused: another or a restored older store', async () => {
    const { store, after } = await stored(...history)
    const snapshot = after.at(-1)
    if (snapshot === undefined) throw new Error('no history')
    const open = (head: Head) => CustomerLog.open(store, async () => ({ ...snapshot, head }), customerId)
    await expect(open({ ...snapshot.head, hash: 'f'.repeat(64) })).rejects.toThrow(LogMismatch)
    await expect(open({ ...snapshot.head, revision: 1_000n })).rejects.toThrow(LogMismatch)
  })
  test('refuses a stream whose chain does not hold together', async () => {
    const { store } = await stored(...history)
    const event = store.stream(stream)[8]
    if (event === undefined) throw new Error('no history')
    const head = store.stream(stream).length
    const { attempt } = freeze(stream, { revision: BigInt(head - 1), hash: 'e'.repeat(64) }, [
      { event: { type: 'HardCapEnabled', data: { customerId, occurredAt: '2026-05-03T00:00:00.000Z' } }, origin },
    ])
    await store.send(attempt, 1_000)
    await expect(CustomerLog.open(store, async () => null, customerId)).rejects.toThrow(LogMismatch)
  })
})

describe('the idempotency tail', () => {
  const wanted = { key: 'a'.repeat(64), body: 'b'.repeat(64) }
  const now = '2026-05-04T12:00:00.000Z'
  const nothing = { hit: null, throughRevision: 9n }
  const decided = (detectionId: string, occurredAt = now): CustomerEvent => {
    const registered = decide(initialState, registration(), occurredAt)
    if (isRefusal(registered)) throw new Error('refused')
    const [event] = decide(
      registered.reduce(evolve, initialState),
      detection({ detectionId, idempotency: wanted }),
      occurredAt,
    ) as CustomerEvent[]
    if (event === undefined) throw new Error('nothing decided')
    return event
  }
  const voidOf = (detectionId: string): CustomerEvent => ({
    type: 'DetectionVoided',
    data: {
      customerId,
      occurredAt: now,
      detectionId,
      revision: 10,
      yearMonth: '2026-05',
      funding: 'credit',
      bucketKey: 'b',
    },
  })

  test('finds a key the table does not know yet, also one that is not committed yet', () => {
    const id = uuid()
    const tail = new IdempotencyTail(9n)
    expect(tail.find([wanted], nothing, now, [[10n, decided(id)]])).toMatchObject({ detectionId: id, revision: 10n })
    tail.add(10n, decided(id))
    expect(tail.find([wanted], nothing, now)).toMatchObject({ detectionId: id, replayed: false })
  })
  test('a void above the table’s revision makes the key free again; a replay forbids nothing but is known', () => {
    const id = uuid()
    const tail = new IdempotencyTail(9n)
    tail.add(10n, decided(id))
    tail.add(11n, { type: 'DetectionReplayed', data: { customerId, occurredAt: now, detectionId: id } })
    expect(tail.find([wanted], nothing, now)).toMatchObject({ replayed: true })
    const voided = new IdempotencyTail(9n)
    voided.add(10n, decided(id))
    voided.add(11n, voidOf(id))
    expect(voided.find([wanted], nothing, now)).toBeNull()
  })
  test('a key is remembered for 24 hours of event time', () => {
    const tail = new IdempotencyTail(9n)
    tail.add(10n, decided(uuid()))
    const at = (ms: number) => new Date(Date.parse(now) + ms).toISOString()
    expect(tail.find([wanted], nothing, at(rememberedMs - 1))).not.toBeNull()
    expect(tail.find([wanted], nothing, at(rememberedMs))).toBeNull()
  })
  test('is bounded, and says so when the table is too far behind to meet it', () => {
    const tail = new IdempotencyTail(9n, 10)
    for (let i = 0; i < 20; i++) tail.add(10n + BigInt(i), decided(uuid()))
    expect(tail.find([wanted], nothing, now)).toBe(tablesBehind)
    expect(tail.find([wanted], { hit: null, throughRevision: 28n }, now)).toMatchObject({ revision: 29n })
  })
})
