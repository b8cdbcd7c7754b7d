/** What somebody with Postgres at hand can do to the rows that were folded from the log, and that it is found. */
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verify } from '../../src/audit/verify.ts'
import { meteringTables } from '../../src/audit/verify-metering.ts'
import { comparedReadModels } from '../../src/audit/verify-read-models.ts'
import { textOf } from '../../src/cli/audit-verify-report.ts'
import { allProjections } from '../../src/projections/all.ts'
import { february } from './february.ts'
import { startSystem, type TamperedSystem } from './system.ts'

let system: TamperedSystem
let customerId: string
beforeAll(async () => {
  const { world, customerId: id } = await february()
  customerId = id
  system = await startSystem(world.store.all())
  await world.close()
})
afterAll(() => system?.stop())

const { signal } = new AbortController()
const stranger = '99999999-9999-4999-8999-999999999999'

async function foundIn(pool: pg.Pool, only?: string): Promise<string[]> {
  const { store } = system
  const report = await verify({ store, pool, anchors: [], signal, ...(only === undefined ? {} : { customerId: only }) })
  return report.differences.map(textOf)
}

/** [what, statement ($1: the customer), what is named] */
const tamperings: [string, string, RegExp][] = [
  [
    'calls of a month that is over',
    "update readmodel.usage_months set credit_calls = credit_calls + 1 where customer_id = $1 and year_month = '2026-01'",
    /^read_model customer \S+ 2026-01 \["2026-01"\]: usage_months.credit_calls is 3, the log says 2$/,
  ],
  [
    'calls of the month that is open',
    "update readmodel.usage_months set overage_calls = 0 where customer_id = $1 and year_month = '2026-02'",
    /2026-02 \["2026-02"\]: usage_months.overage_calls is 0, the log says \d/,
  ],
  [
    'a price',
    "update readmodel.usage_prices set overage_unit_price = '0.01' where customer_id = $1 and plan = 'business'",
    /\["2026-02" "business" "0.01"\]: usage_prices has a row that the log says nothing of/,
  ],
  [
    'a day that is gone',
    "delete from readmodel.usage_days where customer_id = $1 and day like '2026-02%'",
    /2026-02 \["2026-02-\d\d"\]: usage_days has no such row; the log says there is one/,
  ],
  ['terms', 'update readmodel.terms set monthly_limit = 1000 where customer_id = $1', /terms.monthly_limit is 1000/],
  [
    'the hard cap',
    'update readmodel.customers set hard_cap = not hard_cap where customer_id = $1',
    /customers.hard_cap is/,
  ],
  [
    'the snapshot that ledgers start from',
    "update readmodel.ledger_snapshots set state = jsonb_set(state, '{creditCalls}', '0') where customer_id = $1",
    /ledger_snapshots.state is \{"creditCalls":0/,
  ],
  [
    'a key that was revoked made good',
    'update readmodel.api_keys set revoked_at = null, revoked_why = null where customer_id = $1 and revoked_at is not null',
    /^read_model customer-\S+ revision \d+ \(\S+\) \["[0-9a-f]{64}"\]: api_keys.revoked_at is nothing, the log says "2026/,
  ],
  [
    'a key of their own making',
    `insert into readmodel.api_keys (key_hash, customer_id, key_id, slot, prefix, issued_at)
     select repeat('a', 64), $1::uuid, gen_random_uuid(), 'primary', 'lc_forge', now()`,
    /^read_model customer \S+ \["a{64}"\]: api_keys has a row that the log says nothing of/,
  ],
  [
    'when a key was used last',
    "update readmodel.api_key_use set last_used_at = last_used_at + interval '1 day' where customer_id = $1",
    /^read_model customer \S+ \["\S+"\]: api_key_use.last_used_at is "2026-\S+", the log says "2026/,
  ],
  [
    'who did what',
    "update readmodel.activity set actor = 'marketplace' where customer_id = $1 and type = 'PlanChanged'",
    /^read_model customer-\S+ revision \d+ \(\S+\) 2026-02 \["?\d+"?\]: activity.actor is "marketplace", the log says "/,
  ],
  [
    'an occurrence gone',
    "delete from readmodel.activity where customer_id = $1 and type = 'DetectionVoided'",
    /^read_model customer-\S+ revision \d+ \(\S+\) 2026-02 \["?\d+"?\]: activity has no such row; the log says there is one/,
  ],
  [
    'a month of it that is over',
    'update readmodel.activity set data = data || \'{"plan":"free"}\' where customer_id = $1 and occurred_at < \'2026-02-01\'',
    /^read_model customer-\S+ revision \d+ \(\S+\) 2026-01 .*activity.data is \{.*"plan":"free"/,
  ],
  [
    'what a repeated call is answered with',
    'update readmodel.idempotency_keys set detection_id = gen_random_uuid() where customer_id = $1',
    /^read_model customer-\S+ revision \d+ \(\S+\) 2026-03 \["\S+"\]: idempotency_keys.detection_id is "\S+", the log says "/,
  ],
  [
    'an idempotency key gone',
    'delete from readmodel.idempotency_keys where customer_id = $1 and replayed',
    /^read_model customer-\S+ revision \d+ \(\S+\) 2026-03 \["\S+"\]: idempotency_keys has no such row; the log says there is one/,
  ],
  [
    'an idempotency key that nobody sent',
    `insert into readmodel.idempotency_keys
     select $1::uuid, 'mine', 'body', gen_random_uuid(), 3, '2026-03-01T23:59:00Z', false, false`,
    /^read_model customer-\S+ revision 3 2026-03 \["mine"\]: idempotency_keys has a row that the log says nothing of/,
  ],
  [
    'the place of the read models',
    "update readmodel.generations set event_hash = repeat('0', 64) where $1::text is not null",
    /^read_model customer-\S+ revision \d+ \(\S+\): the read models have folded this event last, and the log does not/,
  ],
  [
    'rows of a customer who never was',
    `insert into readmodel.usage_days values ('${stranger}', $1::text, 1, 1, 1)`,
    new RegExp(`customer ${stranger} .*usage_days has rows of a customer whom the log does not know`),
  ],
  [
    'the quantity of a record that was sent',
    "update metering.records set sealed_quantity = sealed_quantity + 1 where customer_id = $1 and state = 'accepted'",
    /^metering_table customer \S+ 2026-02 \["\S+\|\S+\|\S+\|2026-02-\S+Z"\]: metering.records.sealed_quantity is \d+, the log says \d+/,
  ],
  [
    'an answer of AWS',
    "update metering.records set metering_record_id = 'another' where customer_id = $1 and state = 'accepted'",
    /metering.records.metering_record_id is "another", the log says "at-aws-1"/,
  ],
  [
    'a state',
    "update metering.records set state = 'written_off' where customer_id = $1 and state = 'carried_forward'",
    /metering.records.state is "written_off", the log says "carried_forward"/,
  ],
  [
    'a record gone',
    "delete from metering.records where customer_id = $1 and year_month = '2026-02' and late_quantity > 0",
    /metering.records has no such row/,
  ],
  [
    'a bucket',
    'update metering.records set quantity = 7 where customer_id = $1',
    /2026-02 .*metering.records.quantity is 7, the log says \d/,
  ],
  [
    'an adjustment',
    'update metering.adjustments set noted = false where customer_id = $1',
    /metering.adjustments.noted is false/,
  ],
  [
    'a closed month',
    'update metering.closed_months set adjusted = 5 where customer_id = $1',
    /metering.closed_months.adjusted is 5/,
  ],
  [
    'counts of an open month',
    'update metering.open_months set overage_calls = 9 where customer_id = $1',
    /2026-03 \["2026-03"\]: metering.open_months.overage_calls is 9/,
  ],
  [
    'a licence',
    "update metering.customers set licence_id = 'arn:aws:another' where customer_id = $1",
    /metering.customers.licence_id/,
  ],
  [
    'a place that the log has not reached',
    'update metering.customers set revision = revision + 100 where customer_id = $1',
    /metering.customers has folded revision \d+, and the customer's stream ends at \d+/,
  ],
]

describe('a row changed', () => {
  test.for(tamperings)('%s', async ([, statement, named]) => {
    await system.withTables(async (pool) => {
      const { rowCount } = await pool.query(statement, [customerId])
      expect(rowCount).toBeGreaterThan(0)
      expect(await foundIn(pool)).toContainEqual(expect.stringMatching(named))
    })
  })

  test('is found in the tables of one customer too, and in nobody else’s', async () => {
    await system.withTables(async (pool) => {
      await pool.query('update readmodel.usage_months set credit_calls = 9 where customer_id = $1', [customerId])
      await pool.query('update metering.records set quantity = 9 where customer_id = $1', [customerId])
      const faults = await foundIn(pool, customerId)
      expect(faults).toContainEqual(expect.stringContaining('usage_months.credit_calls is 9'))
      expect(faults).toContainEqual(expect.stringContaining('metering.records.quantity is 9'))
      const { rows } = await pool.query<{ customer_id: string }>(
        'select customer_id from readmodel.customers where customer_id <> $1',
        [customerId],
      )
      expect(await foundIn(pool, rows[0]?.customer_id)).toEqual([])
    })
  })
})

test('a month that is asked for is told of its own rows, and not of those of another', async () => {
  await system.withTables(async (pool) => {
    await pool.query('update metering.open_months set overage_calls = 9 where customer_id = $1', [customerId])
    const of = async (month: string) =>
      (await verify({ store: system.store, pool, anchors: [], signal, month, streams: false })).differences.length
    expect([await of('2026-02'), await of('2026-03')]).toEqual([0, 1])
  })
})

test('every column of the tables is compared', async () => {
  await system.withTables(async (pool) => {
    const { rows } = await pool.query<{ name: string; columns: string[] }>(
      `select case when table_schema = 'metering' then 'metering.' else '' end || table_name as name,
              array_agg(column_name::text order by column_name::text) as columns
       from information_schema.columns where table_schema in ('metering', 'readmodel') group by 1`,
    )
    for (const { name, columns } of [...comparedReadModels, ...Object.values(meteringTables)]) {
      expect([...columns].toSorted(), name).toEqual(rows.find((row) => row.name === name)?.columns)
    }
  })
})

test('every table of every projection is compared', () => {
  const projected = allProjections.flatMap(({ tables }) => Object.keys(tables))
  expect(comparedReadModels.map(({ name }) => name).toSorted()).toEqual(projected.toSorted())
})

test('every table of metering that says something of a customer is compared', async () => {
  /** Where feed and consumer stand, and the version: `audit verify` reads the log itself. */
  const places = ['metering.direct_feed', 'metering.partitions', 'metering.version']
  await system.withTables(async (pool) => {
    const { rows } = await pool.query<{ name: string }>(
      "select 'metering.' || tablename as name from pg_tables where schemaname = 'metering' order by 1",
    )
    const compared = Object.values(meteringTables).map(({ name }) => name)
    expect(rows.map(({ name }) => name)).toEqual([...compared, ...places].toSorted())
  })
})
