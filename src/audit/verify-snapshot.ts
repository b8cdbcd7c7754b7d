/** One state of the database, to be compared with the log at the place where its tables stand. */
import type pg from 'pg'
import { meteringVersion } from '../metering/schema.ts'
import { hasMeteringTables } from '../metering/status.ts'
import { allProjections } from '../projections/all.ts'
import type { Checkpoint } from '../projections/checkpoint.ts'
import { compareVersions } from '../projections/generations.ts'
import { projectionStatus } from '../readmodels/status.ts'

/** The tables are another version's: this program cannot say what they must hold. */
export class OtherVersion extends Error {
  override name = 'OtherVersion'
}

export interface LiveReadModels {
  readonly schema: string
  readonly checkpoint: Checkpoint
}

/** Null where nothing was ever folded. @throws OtherVersion */
export async function liveReadModels(client: pg.ClientBase | pg.Pool): Promise<LiveReadModels | null> {
  const [live] = (await projectionStatus(client)).filter(({ state }) => state === 'live')
  if (live === undefined || live.checkpoint === null) return null
  if (compareVersions(live.versions, allProjections) !== 'same') {
    throw new OtherVersion('The read models are of another version of the program: `liveness projections status`.')
  }
  return { schema: live.schema, checkpoint: live.checkpoint }
}

/** @throws OtherVersion */
export async function isMetered(client: pg.ClientBase | pg.Pool): Promise<boolean> {
  if (!(await hasMeteringTables(client))) return false
  const { rows } = await client.query<{ version: number }>('select version from metering.version')
  if (rows[0]?.version === meteringVersion) return true
  throw new OtherVersion('The metering tables are of another version of the program.')
}

export interface Snapshot {
  readonly client: pg.ClientBase
  close(): Promise<void>
}

/**
 * Everything read through it is of one instant. It keeps Postgres from cleaning up, so it is closed as soon as it was
 * compared. It locks no row: nobody waits for it, and it may idle for as long as the log between is read.
 */
export async function openSnapshot(pool: pg.Pool): Promise<Snapshot> {
  const client = await pool.connect()
  try {
    await client.query(
      'begin isolation level repeatable read, read only; set local idle_in_transaction_session_timeout = 0',
    )
  } catch (error) {
    client.release(true)
    throw error
  }
  return {
    client,
    async close() {
      const broken = await client.query('rollback').then(
        () => false,
        () => true,
      )
      client.release(broken)
    },
  }
}
