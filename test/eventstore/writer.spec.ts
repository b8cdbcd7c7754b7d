/** The embedded event store's writer, on what may go wrong before it is open. */
import pg from 'pg'
import { expect, inject, onTestFinished, test } from 'vitest'
import { openWriter } from '../../src/eventstore/embedded/writer.ts'
import { freshDatabase } from '../support/postgres.ts'

test('a log whose end cannot be read yet is opened when it can: the lock is not left with a session of its own', async () => {
  const databaseUrl = await freshDatabase(inject('postgresUrl'))
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  onTestFinished(() => client.end())
  // A table without the columns: the session stands and takes the lock, and the question where the log ends fails.
  await client.query('create schema eventstore; create table eventstore.event ()')
  let warn: (message: string) => void = () => {}
  const warned = new Promise<string>((resolve) => {
    // A busy Postgres may have turned the session away before.
    warn = (message) => {
      if (message.includes('"position"')) resolve(message)
    }
  })
  const over = new AbortController()
  onTestFinished(() => over.abort())
  const opening = openWriter(databaseUrl, { info() {}, error() {}, warn }, over.signal)
  expect(await Promise.race([warned, opening])).toContain('"position" does not exist')
  await client.query('drop table eventstore.event')
  const writer = await opening
  await writer.close()
})
