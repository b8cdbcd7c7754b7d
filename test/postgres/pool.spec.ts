import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connect, databaseTime, isUnavailable, transaction } from '../../src/postgres/pool.ts'
import { freshDatabase, startTestPostgres } from '../support/postgres.ts'

let url: string
let pool: pg.Pool

beforeAll(async () => {
  url = await freshDatabase(inject('postgresUrl'))
  pool = connect(url, { applicationName: 'pool-spec' })
  await pool.query('create table numbers (n int8 primary key)')
})
afterAll(() => pool.end())

test('int8 is read as bigint, alone and in arrays, and written from it', async () => {
  const { rows } = await pool.query(
    `select $1::int8 as big, null::int8 as none, array[$1::int8, null, -2] as many, '{}'::int8[] as empty,
       1::int4 as small, 1.50::numeric as money, array['a,b'] as texts`,
    [9007199254740993n],
  )
  expect(rows).toEqual([
    {
      big: 9007199254740993n,
      none: null,
      many: [9007199254740993n, null, -2n],
      empty: [],
      small: 1,
      money: '1.50',
      texts: ['a,b'],
    },
  ])
})

test('a transaction commits what resolved and rolls back what threw, and the connection stays usable', async () => {
  const one = connect(url, { max: 1 })
  expect(
    await transaction(one, async (client) => (await client.query('insert into numbers values (1)')).rowCount),
  ).toBe(1)
  const failing = transaction(one, async (client) => {
    await client.query('insert into numbers values (2)')
    throw new Error('a change of mind')
  })
  await expect(failing).rejects.toThrow('a change of mind')
  await expect(transaction(one, (client) => client.query('insert into numbers values (1)'))).rejects.toMatchObject({
    code: '23505',
  })
  expect((await one.query('select n from numbers')).rows).toEqual([{ n: 1n }])
  await one.end()
})

test('a connection that the server ended in mid-transaction is "unavailable", and the next one works', async () => {
  const one = connect(url, { max: 1 })
  const cut = transaction(one, async (client) => {
    const { rows } = await client.query('insert into numbers values (3) returning pg_backend_pid() as pid')
    await pool.query('select pg_terminate_backend($1)', [rows[0].pid])
    await client.query('select 1')
  })
  await expect(cut).rejects.toSatisfy(isUnavailable)
  expect((await one.query('select n from numbers where n = 3')).rows).toEqual([])
  await one.end()
})

test('a statement that runs too long is ended and counts as "unavailable"', async () => {
  const short = connect(url, { statementTimeoutMs: 100 })
  await expect(short.query('select pg_sleep(10)')).rejects.toSatisfy(isUnavailable)
  await short.end()
})

test('a server that refuses, does not exist or never answers is "unavailable"', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const address = silent.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const at = (host: string) => connect(`postgres://u:p@${host}/d`)
  await expect(at(`127.0.0.1:${address.port}`).query('select 1')).rejects.toSatisfy(isUnavailable)
  silent.close()
  await expect(at('127.0.0.1:1').query('select 1')).rejects.toSatisfy(isUnavailable)
  await expect(at('localhost:1').query('select 1')).rejects.toSatisfy(isUnavailable)
})

test('faults of a statement are not "unavailable"', async () => {
  await expect(pool.query('select nonsense')).rejects.not.toSatisfy(isUnavailable)
  await expect(pool.query('select 1 / 0')).rejects.not.toSatisfy(isUnavailable)
  expect([new Error('other'), 'text', null, undefined].some(isUnavailable)).toBe(false)
})

test('an ended server is "unavailable" at once, and an idle connection it takes along ends nothing else', async () => {
  const server = await startTestPostgres()
  const errors: Error[] = []
  const mine = connect(server.url, { onIdleError: (error) => errors.push(error) })
  await mine.query('select 1')
  await server.stop()
  await expect(mine.query('select 1')).rejects.toSatisfy(isUnavailable)
  expect(errors).toSatisfy((all: Error[]) => all.length > 0 && all.every(isUnavailable))
  await mine.end()
})

test("the database's clock moves within a transaction and has milliseconds", async () => {
  const before = Date.now()
  await transaction(pool, async (client) => {
    const first = await databaseTime(client)
    expect(Math.abs(first.getTime() - before)).toBeLessThan(5_000) // the same machine's clock
    await delay(20)
    expect((await databaseTime(client)).getTime()).toBeGreaterThanOrEqual(first.getTime() + 15)
  })
  const samples = await Promise.all(Array.from({ length: 8 }, () => databaseTime(pool)))
  expect(samples.some((time) => time.getMilliseconds() !== 0)).toBe(true)
})

test('a connection that breaks between its hand-out and its first query ends no process', async () => {
  const own = connect(url, { applicationName: 'broken-in-hand' })
  const client = await own.connect()
  const broken = new Promise((resolve) => client.once('end', () => resolve(null)))
  await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'broken-in-hand'")
  await broken // an 'error' that nobody listens to would have been thrown here, out of reach of any catch
  expect(client.listenerCount('error')).toBeGreaterThan(0)
  await expect(client.query('select 1')).rejects.toSatisfy(isUnavailable)
  client.release(true)
  await own.end()
})
