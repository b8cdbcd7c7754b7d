/** Brings a database to where this program can work with it: tables, and the first read models. */
import { migrate } from '../postgres/migrate.ts'
import { connect } from '../postgres/pool.ts'
import { ensureReadModels } from '../projections/generations.ts'

/** Safe to repeat, and for several instances at once. */
export async function prepareDatabase(databaseUrl: string): Promise<void> {
  await migrate(databaseUrl)
  const pool = connect(databaseUrl, { max: 1, applicationName: 'liveness setup' })
  try {
    await ensureReadModels(pool)
  } finally {
    await pool.end()
  }
}
