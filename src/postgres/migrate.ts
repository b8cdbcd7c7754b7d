import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { packageRoot } from '../built.ts'
import { clientConfig } from './client-config.ts'

/**
 * Brings the database's tables up to date, in one transaction. Instances that start together take turns (advisory
 * lock); the later ones find nothing left to do. Read models are not made here: their projections make them.
 *
 * @returns the names of the migrations that were run
 */
export async function migrate(url: string, log: (line: string) => void = () => {}): Promise<string[]> {
  const { runner } = await import('node-pg-migrate') // commands that find the tables made do without it
  const done = await runner({
    databaseUrl: clientConfig(url, 'liveness migrate', 0),
    dir: fileURLToPath(new URL('migrations/', packageRoot)),
    direction: 'up',
    migrationsTable: 'migrations',
    singleTransaction: true,
    advisoryLockMode: 'wait',
    log,
  })
  return done.map(({ name }) => name)
}

/** Already there, or made by another instance at the same moment. */
const EXISTS = new Set(['42P04', '23505'])

/**
 * Makes a database on the server that `url` names, unless it exists.
 *
 * @returns the address of that database
 */
export async function ensureDatabase(url: string, name: string): Promise<string> {
  const client = new pg.Client(clientConfig(url, 'liveness setup', 0))
  await client.connect()
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`)
  } catch (error) {
    if (!(error instanceof pg.DatabaseError && EXISTS.has(error.code ?? ''))) throw error
  } finally {
    await client.end()
  }
  const address = new URL(url)
  address.pathname = `/${name}`
  return address.href
}
