import { readdirSync } from 'node:fs'
import { expect, inject, test } from 'vitest'
import { packageRoot } from '../../src/built.ts'
import { ensureDatabase, migrate } from '../../src/postgres/migrate.ts'
import { connect } from '../../src/postgres/pool.ts'
import { freshDatabase } from '../support/postgres.ts'

const server = inject('postgresUrl')

test('instances that migrate at the same time take turns, and one of them does the work', async () => {
  const url = await freshDatabase(server)
  const done = await Promise.all([migrate(url), migrate(url), migrate(url), migrate(url)])
  const files = readdirSync(new URL('migrations/', packageRoot)).map((file) => file.replace('.sql', ''))
  expect(done.flat()).toEqual(files.sort())
  expect(await migrate(url)).toEqual([])
}, 120_000)

test('a doubt keeps its bigint revision and its detections', async () => {
  const url = await freshDatabase(server)
  await migrate(url)
  const pool = connect(url)
  const id = '00000000-0000-4000-8000-000000000001'
  await pool.query(
    `insert into attempts_in_doubt (first_event_id, customer_id, expected_revision, detection_ids)
     values ($1, $1, $2, $3)`,
    [id, 9007199254740993n, [id, id]],
  )
  const { rows } = await pool.query('select expected_revision, detection_ids, recorded_at from attempts_in_doubt')
  expect(rows).toEqual([
    { expected_revision: 9007199254740993n, detection_ids: [id, id], recorded_at: expect.any(Date) },
  ])
  await pool.end()
})

test('one account per e-mail address, whatever its case', async () => {
  const url = await freshDatabase(server)
  await migrate(url)
  const pool = connect(url)
  const insert = (email: string) =>
    pool.query('insert into accounts (customer_id, email) values (gen_random_uuid(), $1)', [email])
  await insert('ada@example.org')
  await expect(insert('Ada@Example.org')).rejects.toMatchObject({ code: '23505' })
  await pool.end()
})

test('a database is made once, also when several ask for it at the same time', async () => {
  const name = new URL(await freshDatabase(server)).pathname.slice(1).replace('test_', 'made_')
  const urls = await Promise.all([1, 2, 3].map(() => ensureDatabase(server, name)))
  expect(new Set(urls).size).toBe(1)
  const pool = connect(await ensureDatabase(server, name))
  expect((await pool.query('select current_database()')).rows).toEqual([{ current_database: name }])
  await pool.end()
})
