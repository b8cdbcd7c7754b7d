/** Registering a customer with an account: two writes to two servers, either of which may be slow. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createCustomer } from '../../src/cli/create-customer.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { connect } from '../../src/postgres/pool.ts'
import { NotFreshYet } from '../../src/readmodels/freshness.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { createMemoryStore } from '../support/memory-store.ts'

let database: Database
/** Of sessions that Postgres ends after 200 ms of silence in a transaction. */
let impatient: pg.Pool
beforeAll(async () => {
  database = await openDatabase()
  impatient = connect(`${database.url}?idle_in_transaction_session_timeout=200`)
})
afterAll(async () => {
  await impatient.end()
  await database.close()
})

/** Creates a customer with an account, and returns whom the log has and whose the account is. */
async function created(waitFor: () => Promise<void>, landsAfterMs = 0) {
  const store = createMemoryStore()
  store.onSend = () => ({ landsAfterMs })
  const ledgers = createLedgers({
    store,
    loadSnapshot: async () => null,
    doubts: memoryDoubts(),
    clock: { now: () => '2026-02-03T04:05:06.789Z', monthHasBegun: async () => {} },
    patience: { sendMs: 5_000, attemptMs: 5_000 },
  })
  const email = `${randomUUID()}@example.com`
  const system = { pool: impatient, ledgers, freshness: { waitFor, close: async () => {} } }
  const [outcome] = await Promise.allSettled([createCustomer(system, { plan: 'standard', hardCap: false, email })])
  const { rows } = await database.pool.query<{ id: string }>(
    'select customer_id as id from accounts where email = $1',
    [email],
  )
  return {
    outcome,
    registered: [...new Set(store.all().map(({ stream }) => stream))],
    withAccount: rows.map(({ id }) => `customer-${id}`),
  }
}

test('read models that come late cost no account', async () => {
  const { registered, withAccount } = await created(() => delay(400))
  expect(registered).toHaveLength(1)
  expect(withAccount).toEqual(registered)
})

test('read models that do not come at all cost no account', async () => {
  const { outcome, registered, withAccount } = await created(async () => {
    throw new NotFreshYet('they are being rebuilt')
  })
  expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(NotFreshYet) })
  expect(registered).toHaveLength(1)
  expect(withAccount).toEqual(registered)
})

test('an event store that answers late costs no account', async () => {
  const { outcome, registered, withAccount } = await created(async () => {}, 400)
  expect(outcome).toMatchObject({ status: 'fulfilled' })
  expect(registered).toHaveLength(1)
  expect(withAccount).toEqual(registered)
})
