/** Two databases at once, either of which may have to wait for the other. */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { expect, inject, test } from 'vitest'
import { copyTables } from '../../src/move/copy-tables.ts'
import { connect } from '../../src/postgres/pool.ts'
import { freshDatabase } from '../support/postgres.ts'

/** A database with a table, and somebody who has it for themselves until `release`. */
async function held(rows: string) {
  const url = await freshDatabase(inject('postgresUrl'))
  const pool = connect(`${url}?idle_in_transaction_session_timeout=2000`)
  await pool.query(`create table moving as select * from (values ${rows}) as t (n, note)`)
  const holder = new pg.Client({ connectionString: url })
  await holder.connect()
  await holder.query('begin; lock table moving')
  return {
    pool,
    /** Resolves when somebody has waited for the table for a while: the other side has nothing to do meanwhile. */
    async waitedFor(): Promise<void> {
      const query =
        'select from pg_locks l join pg_database d on d.oid = l.database where datname = current_database() and not granted'
      await expect.poll(async () => (await holder.query(query)).rowCount, { interval: 10 }).toBe(1)
      await delay(2_500)
    },
    release: () => holder.end(),
  }
}

test('neither session is ended while it waits for the other side, however long that takes', async () => {
  const [source, target] = [await held("(1, 'ü'), (2, null)"), await held("(3, 'there before')")]
  const copied = copyTables(source.pool, target.pool, ['moving'])
  copied.catch(() => {}) // it may fail before it is looked at
  await target.waitedFor()
  await target.release()
  await source.waitedFor()
  await source.release()
  expect(await copied).toBe(2)
  expect((await target.pool.query('select * from moving order by n')).rows).toEqual([
    { n: 1, note: 'ü' },
    { n: 2, note: null },
  ])
  await source.pool.end()
  await target.pool.end()
})
