import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import type { PositionedEvent } from '../../src/eventstore/store.ts'
import { allProjections } from '../../src/projections/all.ts'
import { ensureReadModels, liveGeneration } from '../../src/projections/generations.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { rebuild } from '../../src/projections/rebuild.ts'
import { createPlayer, histories } from '../support/histories.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { type Database, dump, openDatabase, projectAll, withSubscription } from './support.ts'

let database: Database
beforeAll(async () => {
  database = await openDatabase()
})
afterAll(() => database.close())

/** Delivers some events a second time, right away or a little later. */
async function* twice(events: AsyncIterable<PositionedEvent>, every: number): AsyncIterable<PositionedEvent> {
  const seen: PositionedEvent[] = []
  for await (const event of events) {
    yield event
    seen.push(event)
    const again = seen.length % every === 0 ? seen.at(-every) : undefined
    if (again !== undefined) yield again
  }
}

/** Breaks the transaction of a batch after its rows were written, `times` times. */
function failing(times: number): Projection {
  let left = times
  return {
    name: 'failing',
    version: 0,
    tables: {},
    fold: () => (left-- > 0 ? [{ name: 'failing', text: 'select 1 / $1::int', values: [0] }] : []),
  }
}

/** The figures of `usage_months`, `usage_prices` and `usage_days`, counted naively from the log. */
function counted(log: readonly PositionedEvent[]) {
  const rows = new Map<string, [credit: number, overage: number, voided: number]>()
  const detections = new Map<string, string[]>()
  const add = (key: string, index: 0 | 1 | 2, by: 1 | -1) => {
    const row = rows.get(key) ?? [0, 0, 0]
    row[index] += by
    rows.set(key, row)
  }
  for (const stored of log) {
    const { event } = parseCustomerEvent(stored)
    if (event.type === 'DetectionSucceeded') {
      const { customerId, yearMonth, plan, overageUnitPrice, occurredAt, detectionId, funding } = event.data
      const keys = [
        `${customerId} ${yearMonth}`,
        `${customerId} ${yearMonth} ${plan} ${overageUnitPrice}`,
        `${customerId} ${occurredAt.slice(0, 10)}`,
      ]
      detections.set(detectionId, keys)
      for (const key of keys) add(key, funding === 'credit' ? 0 : 1, 1)
    } else if (event.type === 'DetectionVoided') {
      for (const key of detections.get(event.data.detectionId) ?? []) {
        add(key, event.data.funding === 'credit' ? 0 : 1, -1)
        add(key, 2, 1)
      }
    }
  }
  return Object.fromEntries([...rows].sort())
}

async function tabulated(schema: string) {
  const { rows } = await database.pool.query<{ key: string; c: bigint; o: bigint; v: bigint }>(
    `select customer_id || ' ' || year_month as key, credit_calls as c, overage_calls as o, voided_calls as v
       from ${schema}.usage_months where last_sequence > 0
     union all select customer_id || ' ' || year_month || ' ' || plan || ' ' || overage_unit_price,
       credit_calls, overage_calls, voided_calls from ${schema}.usage_prices
     union all select customer_id || ' ' || day, credit_calls, overage_calls, voided_calls from ${schema}.usage_days`,
  )
  return Object.fromEntries(rows.map(({ key, c, o, v }) => [key, [Number(c), Number(o), Number(v)]] as const).sort())
}

describe('read models are a fold of the log and nothing else (invariant 7)', () => {
  test('rows written bit by bit, with duplicates and broken batches, equal a replay byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(
        histories(),
        histories({ maxLength: 20 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 7 }),
        fc.nat(3),
        async (before, after, maxBatch, every, failures) => {
          const { pool, url } = database
          await pool.query('drop schema if exists readmodel cascade')
          const { rows } = await pool.query<{ nspname: string }>(
            "select nspname from pg_namespace where nspname like 'readmodel\\_%'",
          )
          for (const { nspname } of rows) await pool.query(`drop schema ${nspname} cascade`)
          await ensureReadModels(pool)
          const store = createMemoryStore()
          const player = createPlayer(store)
          const unreliable = withSubscription(store, (events) => twice(events, every))
          const projections = [...allProjections, failing(failures)]
          for (const steps of [before, after]) {
            await player.play(steps)
            for (let attempt = 0; attempt <= failures; attempt++) {
              await projectAll(pool, store, { store: unreliable, maxBatch, projections }).catch((error: Error) => {
                expect(error.message).toBe('division by zero')
              })
            }
          }
          const live = await liveGeneration(pool)
          const incremental = await dump(pool, live)
          expect(live.checkpoint?.position).toEqual(store.all().at(-1)?.position)
          expect(await tabulated(live.schema)).toEqual(counted(store.all()))

          await rebuild({ pool, url, store, signal: new AbortController().signal })
          const rebuilt = await liveGeneration(pool)
          expect(rebuilt.schema).not.toBe(live.schema)
          expect(await dump(pool, rebuilt)).toEqual(incremental)
        },
      ),
      { numRuns: 15 },
    )
  }, 120_000)
})
