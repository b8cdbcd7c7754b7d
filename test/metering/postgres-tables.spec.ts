/** The metering tables in Postgres: the contract, and what only a real database can get wrong. */
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { ensureMeteringTables, OtherMeteringVersion } from '../../src/metering/schema.ts'
import { connect } from '../../src/postgres/pool.ts'
import { type Database, openDatabase } from '../projections/support.ts'
import { customer, id, open, sealed } from './table-rows.ts'
import { meteringTablesContract } from './tables.contract.ts'

let database: Database
let pool: pg.Pool
beforeAll(async () => {
  database = await openDatabase()
  pool = database.pool
})
afterAll(() => database.close())

async function fresh() {
  await pool.query('drop schema if exists metering cascade')
  await ensureMeteringTables(pool)
  return postgresTables(pool)
}

describe('Postgres', () => {
  meteringTablesContract(fresh)
})

test('instances that start together make the tables once, and a second start leaves the rows alone', async () => {
  await pool.query('drop schema if exists metering cascade')
  await Promise.all(Array.from({ length: 4 }, () => ensureMeteringTables(pool)))
  const tables = postgresTables(pool)
  await tables.transaction((tx) => tx.save({ customers: [customer(id(1))] }))
  await ensureMeteringTables(pool)
  const found = await tables.transaction((tx) => tx.lockCustomers([id(1)]))
  expect(found.size).toBe(1)
})

test('tables of an older version are dropped, those of a newer one are left alone', async () => {
  const tables = await fresh()
  await tables.transaction((tx) => tx.save({ customers: [customer(id(1))] }))
  await pool.query('update metering.version set version = 0')
  await ensureMeteringTables(pool)
  expect(await tables.transaction((tx) => tx.lockCustomers([id(1)]))).toEqual(new Map())

  await pool.query('update metering.version set version = 1000')
  await expect(ensureMeteringTables(pool)).rejects.toThrow(OtherMeteringVersion)
})

test('a program of another version writes nothing into these tables', async () => {
  const tables = await fresh()
  await pool.query('update metering.version set version = 1000')
  const write = tables.transaction((tx) => tx.save({ customers: [customer(id(1))] }))
  await expect(write).rejects.toThrow(OtherMeteringVersion)
  const { rows } = await pool.query('select from metering.customers')
  expect(rows).toEqual([])
})

test('the session’s time zone has no part in what is due', async () => {
  const tables = await fresh()
  const months = { '2026-03': { credit: 1, overage: 0 } }
  await tables.transaction(async (tx) => {
    const row = await tx.lockPartition(1)
    await tx.save({
      customers: [customer(id(1), { partition: 1, months })],
      partition: { ...row, judgedThrough: '2026-03-31T23:59:59.999Z' },
    })
  })
  const url = new URL(database.url)
  url.searchParams.set('options', '-c TimeZone=Asia/Tokyo')
  const inTokyo = connect(url.href, { max: 1 })
  try {
    const { rows } = await inTokyo.query<{ TimeZone: string }>('show timezone')
    expect(rows[0]?.TimeZone).toBe('Asia/Tokyo')
    expect(await postgresTables(inTokyo).monthsToClose(0)).toEqual([])
  } finally {
    await inTokyo.end()
  }
})

test('the questions of the leader use an index on large tables', async () => {
  const tables = await fresh()
  const hours = Array.from({ length: 2_000 }, (_, i) => new Date(Date.UTC(2026, 0, 1, i)).toISOString())
  const records = hours.map((hour) => ({ ...sealed(id(1), hour), state: 'accepted' as const }))
  await tables.transaction((tx) =>
    tx.save({ customers: [customer(id(1))], records: [...records, open(id(2), '2026-07-01T00:00:00.000Z')] }),
  )
  await pool.query('analyze metering.records')
  const { rows } = await pool.query<{ 'QUERY PLAN': string }>(
    "explain select * from metering.records where submission = 'due' and state in ('sealed', 'unknown') order by deadline, record_id limit 100",
  )
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
  expect(plan).toContain('Index Scan')
  expect(plan).not.toContain('Seq Scan')
})
