import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connect } from '../../src/postgres/pool.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { type Runner, startProjections } from '../../src/projections/runner.ts'
import { createFreshness, type Freshness, NotFreshYet } from '../../src/readmodels/freshness.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { createPlayer, type Step } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'

const detect: Step = { customer: 0, minutes: 1, action: { kind: 'detect', key: undefined } }
let database: Database
let store: MemoryStore
let player: ReturnType<typeof createPlayer>
let freshness: Freshness
let runner: Runner | undefined
const onAlarm = (error: Error) => console.error(error)
/** Milliseconds: a wait that covers the start of the runner. */
const patience = 20_000

beforeEach(async () => {
  database = await openDatabase()
  await ensureReadModels(database.pool)
  store = createMemoryStore()
  player = createPlayer(store)
  freshness = createFreshness(database)
})
afterEach(async () => {
  await freshness.close()
  await runner?.stop()
  runner = undefined
  await database.close()
})

const written = async () => {
  await player.play([detect])
  const [customer] = player.customers()
  if (customer === undefined) throw new Error('nobody is registered')
  return { id: customer.id, revision: customer.head.revision }
}

test('a read waits until the row has reached the write, and then at once', async () => {
  const { id, revision } = await written()
  let passed = false
  const waiting = freshness.waitFor(id, revision, patience).then(() => {
    passed = true
  })
  await new Promise((resolve) => setTimeout(resolve, 120))
  expect(passed, 'nothing is projected yet').toBe(false)
  runner = startProjections({ ...database, store, onAlarm })
  await waiting
  const { rows } = await database.pool.query('select revision from readmodel.customers')
  expect(rows).toEqual([{ revision }])
  await freshness.waitFor(id, revision - 1n, 0)
})

test('many waiters of many writes are all woken', async () => {
  runner = startProjections({ ...database, store, onAlarm })
  for (let round = 0; round < 30; round++) {
    const { id, revision } = await written()
    await Promise.all([freshness.waitFor(id, revision, patience), freshness.waitFor(id, revision, patience)])
  }
})

test('the poll finds what no notification told of', async () => {
  const pool = connect(database.url)
  const deaf = createFreshness({ pool, url: 'postgres://nobody@127.0.0.1:1/nothing' })
  try {
    const { id, revision } = await written()
    const waiting = deaf.waitFor(id, revision, patience)
    runner = startProjections({ ...database, store, onAlarm })
    await waiting
  } finally {
    await deaf.close()
    await pool.end()
  }
})

test('a row that does not get there in time is refused rather than read', async () => {
  const { id, revision } = await written()
  await expect(freshness.waitFor(id, revision, 80)).rejects.toThrow(NotFreshYet)
  await expect(freshness.waitFor(randomUUID(), 0n, 80)).rejects.toThrow(NotFreshYet)
})
