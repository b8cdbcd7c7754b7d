import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freeze } from '../../src/commands/attempt.ts'
import { decide, isRefusal } from '../../src/commands/customer.ts'
import { CustomerLog } from '../../src/commands/customer-log.ts'
import { postgresDoubts } from '../../src/commands/doubts.ts'
import { counters, openMonth } from '../../src/commands/state.ts'
import { type CustomerEvent, customerStream } from '../../src/events/catalogue.ts'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { findApiKey, keysOf } from '../../src/readmodels/api-keys.ts'
import { customer, customersToOpen, listCustomers } from '../../src/readmodels/customers.ts'
import { findIdempotencyKey } from '../../src/readmodels/idempotency-keys.ts'
import { loadSnapshot } from '../../src/readmodels/snapshots.ts'
import { statementOf, usageOf } from '../../src/readmodels/usage.ts'
import { type Database, openDatabase, projectAll } from '../projections/support.ts'
import { createPlayer, histories, type Step } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'

let database: Database
let store: MemoryStore
let player: ReturnType<typeof createPlayer>
beforeEach(async () => {
  database = await openDatabase()
  await ensureReadModels(database.pool)
  store = createMemoryStore()
  player = createPlayer(store, '2026-01-10T08:00:00.000Z')
})
afterEach(() => database.close())

const step = (action: Step['action'], minutes = 1, customerNumber = 0): Step => ({
  customer: customerNumber,
  minutes,
  action,
})
const detect = (key?: number): Step => step({ kind: 'detect', key })
const days = (count: number) => count * 24 * 60
const hmac = (of: string) => of.padStart(64, '0')

async function play(...steps: Step[]) {
  await player.play(steps)
  await projectAll(database.pool, store)
}
function first() {
  const [found] = player.customers()
  if (found === undefined) throw new Error('nobody is registered')
  return found
}
const events = (id: string): CustomerEvent[] =>
  store.stream(customerStream(id)).map((stored) => parseCustomerEvent(stored).event)

describe('API keys', () => {
  test('a key is found by its hash, stays known when revoked, and says when a doubt stands', async () => {
    await play(detect())
    const { pool } = database
    const { id, state } = first()
    const before = state.keys.primary
    const hash = before?.keyHash ?? ''
    expect(await findApiKey(pool, hash)).toEqual({
      customerId: id,
      keyId: before?.keyId,
      expiresAt: null,
      revoked: false,
      doubtStanding: false,
    })
    expect(await findApiKey(pool, 'f'.repeat(64))).toBeNull()

    const doubts = postgresDoubts(pool)
    const firstEventId = randomUUID()
    await doubts.record({ firstEventId, customerId: id, expectedRevision: 3n, detectionIds: [] })
    expect(await findApiKey(pool, hash)).toMatchObject({ doubtStanding: true })
    await doubts.remove(firstEventId)

    await play(
      step({ kind: 'regenerate', slot: 'primary' }, 5),
      step({ kind: 'deactivateKey', slot: 'secondary' }, 5),
      step({ kind: 'deactivate' }, 5),
    )
    expect(await findApiKey(pool, hash)).toMatchObject({ revoked: true, doubtStanding: false })
    const keys = await keysOf(pool, id)
    expect(keys.map(({ slot, revokedWhy }) => [slot, revokedWhy])).toEqual([
      ['primary', 'customer_deactivated'],
      ['primary', 'regenerated'],
      ['secondary', 'deactivated'],
    ])
    expect(keys[0]?.issuedAt).toBe(keys[1]?.revokedAt)
  })
})

describe('idempotency keys', () => {
  test('the newest detection with the key is found, with what became of it and how far the table knows', async () => {
    const { pool } = database
    expect(await findIdempotencyKey(pool, randomUUID(), [hmac('1')])).toEqual({ hit: null, throughRevision: -1n })
    await play(detect(1), step({ kind: 'void', back: 0 }))
    const { id, head } = first()
    const voided = await findIdempotencyKey(pool, id, [hmac('1')])
    expect(voided).toMatchObject({ hit: { voided: true, replayed: false }, throughRevision: head.revision })
    expect(await findIdempotencyKey(pool, id, [hmac('2')])).toEqual({ hit: null, throughRevision: head.revision })

    await play(detect(1), step({ kind: 'replay', back: 0 }))
    const again = await findIdempotencyKey(pool, id, [hmac('1')])
    expect(again.hit).toMatchObject({ body: hmac('b'), voided: false, replayed: true, revision: head.revision + 1n })
    expect(again.hit?.detectionId).not.toBe(voided.hit?.detectionId)
    expect(again.throughRevision).toBe(first().head.revision)
  })

  test('rows go when the stream enters a new day and they are 24 hours old', async () => {
    const held = async () =>
      (await database.pool.query<{ key: string }>('select key from readmodel.idempotency_keys order by key')).rows.map(
        ({ key }) => Number(key),
      )
    await play(detect(1)) // the 10th, 08:01
    await play(step({ kind: 'detect', key: 2 }, 20 * 60)) // the 11th, 04:01: nothing is 24 h old yet
    await play(step({ kind: 'detect', key: 3 }, 10 * 60)) // the 11th, 14:01: the first is, but no new day begins
    expect(await held()).toEqual([1, 2, 3])
    await play(step({ kind: 'detect', key: 0 }, 16 * 60)) // the 12th, 06:01
    expect(await held()).toEqual([0, 3])
  })
})

describe('usage', () => {
  test('a month with an upgrade and a void has a line per price, and its figures are those of the ledger', async () => {
    await play(
      detect(),
      detect(),
      detect(), // the third is past the limit of 2
      detect(),
      step({ kind: 'setPlan', plan: 'business', limit: 5 }),
      detect(),
      step({ kind: 'detect', key: undefined }, days(1)),
      step({ kind: 'detect', key: undefined }),
      step({ kind: 'detect', key: undefined }),
      step({ kind: 'void', back: 5 }), // the second overage call at the old price
    )
    const { id, state, head } = first()
    const { pool } = database
    const statement = await statementOf(pool, id, '2026-01')
    expect(statement?.usage).toMatchObject({
      plan: 'business',
      monthlyLimit: 5,
      monthlyFee: '2400',
      ...counters(state),
      creditCalls: state.creditCalls,
      overageCalls: state.overageCalls,
      voidedCalls: 1,
      lastSequence: 8,
      throughRevision: head.revision,
    })
    expect(statement?.lines).toEqual([
      { plan: 'business', overageUnitPrice: '0.08', creditCalls: 3, overageCalls: 1, voidedCalls: 0 },
      { plan: 'standard', overageUnitPrice: '0.15', creditCalls: 2, overageCalls: 1, voidedCalls: 1 },
    ])
    expect(
      statement?.days.map(({ day, ...calls }) => [day, calls.creditCalls, calls.overageCalls, calls.voidedCalls]),
    ).toEqual([
      ['2026-01-10', 3, 1, 1],
      ['2026-01-11', 2, 1, 0],
    ])
    expect(statement?.terms.map(({ plan, monthlyLimit }) => [plan, monthlyLimit])).toEqual([
      ['standard', 2],
      ['standard', 2],
      ['business', 5],
    ])
  })

  test('a void in the next month gives back in the month of the call', async () => {
    await play(detect(), step({ kind: 'openMonth' }, days(30)), step({ kind: 'void', back: 0 }))
    const { id } = first()
    const { pool } = database
    expect(await usageOf(pool, id, '2026-01')).toMatchObject({ creditCalls: 0, voidedCalls: 1, remainingCalls: 2 })
    expect(await usageOf(pool, id, '2026-02')).toMatchObject({ creditCalls: 0, voidedCalls: 0, remainingCalls: 2 })
    expect((await statementOf(pool, id, '2026-01'))?.days).toEqual([
      { day: '2026-01-10', creditCalls: 0, overageCalls: 0, voidedCalls: 1 },
    ])
  })

  test('a month that is not opened yet comes out as it will open, a scheduled downgrade in effect', async () => {
    await play(detect(), detect(), detect(), step({ kind: 'setPlan', plan: 'starter', limit: 1 }))
    const { id } = first()
    const { pool } = database
    expect(await usageOf(pool, id, '2026-02')).toMatchObject({
      plan: 'starter',
      monthlyLimit: 1,
      remainingCalls: 1,
      totalCalls: 0,
      lastSequence: 0,
    })
    expect(await usageOf(pool, id, '2025-12')).toBeNull()
    expect(await usageOf(pool, randomUUID(), '2026-01')).toBeNull()
    expect(await customer(pool, id, '2026-01-31T23:59:59.999Z')).toMatchObject({ plan: 'standard', month: '2026-01' })
    expect(await customer(pool, id, '2026-02-01T00:00:00.000Z')).toMatchObject({
      plan: 'starter',
      month: '2026-02',
      scheduled: null,
    })
    expect(await customersToOpen(pool, '2026-01')).toEqual([])
    expect(await customersToOpen(pool, '2026-02')).toEqual([id])
  })
})

describe('snapshots', () => {
  test('a ledger that starts from one stands where the log does, for any history', async () => {
    const all = fc.sample(histories({ customers: 4, maxLength: 120 }), 3).flat()
    await play(...all)
    await player.play(all.slice(0, 20)) // the snapshot is a little behind
    const load = loadSnapshot(database.pool)
    for (const { id, state, head } of player.customers()) {
      expect(await load(id)).not.toBeNull()
      const warm = await CustomerLog.open(store, load, id)
      const cold = await CustomerLog.open(store, async () => null, id)
      expect(warm.head).toEqual(head)
      expect(warm.state).toEqual(cold.state)
      expect(warm.state).toEqual(state)
    }
    expect(await load(randomUUID())).toBeNull()
  })

  test('customers are listed as their states say, at the heads of their streams', async () => {
    await play(...fc.sample(histories({ customers: 4, maxLength: 120 }), 2).flat())
    const listed = await listCustomers(database.pool, player.now)
    expect(listed).toHaveLength(player.customers().length)
    for (const { id, state, head } of player.customers()) {
      const now = openMonth(state, player.now)
      expect(listed.find(({ customerId }) => customerId === id)).toMatchObject({
        ...now.terms,
        month: now.yearMonth,
        deactivated: now.deactivated,
        licence: now.licence,
        scheduled: now.scheduled ?? null,
        revision: head.revision,
        headHash: head.hash,
        registeredAt: events(id)[0]?.data.occurredAt,
      })
      const usage = await usageOf(database.pool, id, player.now.slice(0, 7))
      expect(usage).toMatchObject(counters(now))
    }
  })

  test('the decider takes a loaded snapshot for the state it was made from', async () => {
    await play(detect(), step({ kind: 'setPlan', plan: 'starter', limit: 1 }))
    const { id, head } = first()
    const snapshot = await loadSnapshot(database.pool)(id)
    if (snapshot === null) throw new Error('no snapshot')
    expect(snapshot.head).toEqual(head)
    const decision = decide(snapshot.state, { type: 'OpenMonth' }, '2026-02-01T00:00:00.000Z')
    if (isRefusal(decision)) throw new Error(decision.message)
    const origin = { correlationId: 'x', causationId: 'x', actor: 'system' }
    const frozen = freeze(
      customerStream(id),
      snapshot.head,
      decision.map((event) => ({ event, origin })),
    )
    expect(await store.send(frozen.attempt, 1_000)).toMatchObject({ kind: 'appended' })
  })
})
