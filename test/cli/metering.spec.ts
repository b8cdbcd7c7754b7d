/** `liveness metering` beside a leader at work: real Postgres, the real event store protocol, the stand-in for AWS. */
import { Command } from 'commander'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { addMeteringCommands } from '../../src/cli/metering.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { awsBatchMeterUsage } from '../../src/marketplace/batch-meter-usage.ts'
import { postgresTables } from '../../src/metering/postgres-tables.ts'
import { addHours, addMs, hourOf } from '../../src/metering/rules.ts'
import { ensureMeteringTables } from '../../src/metering/schema.ts'
import { type Metering, startMetering } from '../../src/metering/start.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { type AwsStandIn, startAwsStandIn } from '../aws/stand-in.ts'
import { rules } from '../metering/books.ts'
import { type FoldedCustomer, foldedCalls, foldedCustomer, judge } from '../metering/folded.ts'
import { type Database, openDatabase, until } from '../projections/support.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { reachableFolder } from '../support/folder.ts'
import { freshDatabase } from '../support/postgres.ts'

let database: Database
let server: Awaited<ReturnType<typeof startEmbeddedEventStore>>
let store: EventStore
let tables: MeteringTables
let aws: AwsStandIn
const leaders: Metering[] = []
const alarms: string[] = []

/** The hour before last: it is over, and AWS takes it for most of a day. */
const hour = addHours(hourOf(new Date().toISOString()), -2)
const month = hour.slice(0, 7)

beforeAll(async () => {
  database = await openDatabase()
  server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(database.url) })
  store = connectEventStore(server.url)
  aws = await startAwsStandIn()
  aws.addProduct('product', ['standard_over'])
  tables = postgresTables(database.pool)
  const env = {
    ...aws.env,
    DATABASE_URL: database.url,
    EVENTSTORE_URL: server.url,
    DATA_DIR: reachableFolder('liveness-metering-'),
  }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
})
afterAll(async () => {
  await Promise.all(leaders.map((leader) => leader.stop()))
  await store.close()
  await server.stop()
  await database.close()
  await aws.stop()
  vi.unstubAllEnvs()
})

function lead(): Metering {
  const { pool, url } = database
  const leader = startMetering({
    pool,
    url,
    tables,
    store,
    rules,
    batchMeterUsage: awsBatchMeterUsage({ answerMs: 2_000 }),
    doubts: memoryDoubts(),
    now: () => new Date().toISOString(),
    onAlarm: (kind) => alarms.push(kind),
    onWarn: () => {},
  })
  leaders.push(leader)
  return leader
}

/** What a command prints. */
async function liveness(...args: string[]): Promise<string> {
  let printed = ''
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    printed += chunk
    return true
  })
  try {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} })
    addMeteringCommands(program)
    await program.parseAsync(['metering', ...args], { from: 'user' })
  } finally {
    write.mockRestore()
  }
  return printed
}
const json = async (...args: string[]) => {
  const lines = (await liveness(...args, '--json')).split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line))
}

const billed = () =>
  aws
    .ledger()
    .map(({ quantity }) => quantity)
    .toSorted()

let customers: FoldedCustomer[]
let names: string[]

test('before metering has run, the command says so', async () => {
  await database.pool.query('drop schema if exists metering cascade')
  await expect(liveness('status')).rejects.toThrow('Metering has not run on this database yet')
})

test('the leader seals and sends, status and list tell how far it is', async () => {
  await ensureMeteringTables(database.pool)
  customers = []
  names = []
  for (let place = 0; place < 3; place++) {
    const customer = await foldedCustomer(tables, aws, {}, { unknownToAws: place === 2 })
    customers.push(customer)
    names.push(await foldedCalls(tables, customer, hour.slice(0, 13), 5 + place))
  }
  expect(await json('status')).toMatchObject([
    { judged_through: null, watermark_age_seconds: null, open: { records: 3, quantity: 18 }, months_closed: 0 },
  ])
  const judgedThrough = addMs(new Date().toISOString(), -1_000)
  await judge(
    tables,
    judgedThrough,
    Array.from({ length: partitionCount }, (_, partition) => partition),
  )

  const leader = lead()
  await until(async () => {
    const { open, sealed, trouble } = await leader.status()
    return open.records + sealed.records + trouble.unknown.records === 0
  }, 30_000)
  expect(leader.leading()).toBe(true)
  expect(billed()).toEqual([5, 6])
  const [status] = await json('status', '--month', month)
  expect(status).toMatchObject({
    judged_through: judgedThrough,
    open: { records: 0, quantity: 0 },
    sealed: { records: 0, quantity: 0 },
    unknown: { records: 0 },
    refused: { records: 1, quantity: 7 },
    nearest_deadline: null,
    adjustments_not_noted: 0,
    year_month: month,
    records: { accepted: { records: 2, quantity: 11 }, refused: { records: 1, quantity: 7 } },
  })
  expect(status.watermark_age_seconds).toBeLessThan(60)
  expect(await liveness('status', '--month', month)).toContain('Refused          1 records, 7 calls')

  expect((await json('list')).map(({ record }) => record).toSorted()).toEqual(names.toSorted())
  expect(
    await json('list', '--customer', customers[0]?.customerId ?? '', '--month', month, '--state', 'accepted'),
  ).toMatchObject([{ record: names[0], quantity: 5, last_answer: 'Success', submission: 'due' }])
  expect(await json('list', '--limit', '1')).toHaveLength(1)
  expect(await liveness('list', '--state', 'refused')).toContain('InvalidLicenseException')
  expect(alarms).toEqual(['metering_refused'])
}, 60_000)

test('another process stands by, and takes over', async () => {
  const second = lead()
  const [first] = leaders
  await first?.stop()
  await until(() => second.leading(), 20_000)
}, 30_000)

test('a refused record is sent again when an operator says so, and accepted', async () => {
  const [customer, refused = ''] = [customers[2], names[2]]
  if (customer === undefined) throw new Error('no customer')
  const { awsAccountId, licenceArn } = customer.licence
  aws.addSubscription({ awsAccountId, licenceArn })
  await expect(liveness('retry', names[0] ?? '')).rejects.toThrow('The record is accepted: only a refused one')
  expect(await json('retry', refused, '--reason', 'the licence is known now')).toMatchObject([
    { record: refused, events: [{ type: 'RecordRetried', data: { reason: 'the licence is known now' } }] },
  ])
  await until(async () => (await json('list', '--state', 'accepted')).length === 3, 30_000)
  expect(billed()).toEqual([5, 6, 7])
  const last = []
  for await (const { metadata } of store.readForward(`metering-${customer.customerId}`, 0n)) last.push(metadata)
  expect(last.map((metadata) => (metadata as { actor: string }).actor)).toContain('operator')
}, 60_000)

test('a record that will not be billed is written off, with a reason, and nothing else is', async () => {
  await expect(liveness('write-off', names[0] ?? '', '--reason', 'why not')).rejects.toThrow(
    'there is nothing to write off',
  )
  await expect(liveness('write-off', names[0] ?? '')).rejects.toThrow('--reason')
  await expect(liveness('write-off', 'nonsense', '--reason', 'r')).rejects.toThrow(
    'as `liveness metering list` shows it',
  )
  const [customer] = customers
  if (customer === undefined) throw new Error('no customer')
  const other = `${names[0]}`.replace(hour.slice(0, 13), '2020-01-01T00')
  await expect(liveness('write-off', other, '--reason', 'r')).rejects.toThrow(
    'No sealed record of an open month is called',
  )
  const nobody = other.replace(customer.customerId, '11111111-1111-4111-8111-111111111111')
  await expect(liveness('retry', nobody)).rejects.toThrow('Metering knows no customer')

  const unknown = await foldedCustomer(tables, aws, {}, { unknownToAws: true })
  const name = await foldedCalls(tables, unknown, hour.slice(0, 13), 9)
  await until(async () => (await json('list', '--state', 'refused')).length === 1, 30_000)
  expect(await liveness('write-off', name, '--reason', 'never a customer')).toBe('It is written off.\n')
  expect(await json('list', '--state', 'written_off')).toMatchObject([{ record: name, reason: 'never a customer' }])
}, 60_000)
