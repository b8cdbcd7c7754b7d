/** The two marks of a move: the source says where it went, the target that it is not complete yet. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { z } from 'zod'
import { writeWhole } from '../write-whole.ts'

const movedToSchema = z.object({ at: z.iso.datetime(), eventStore: z.string(), database: z.string() })

/** Where a data directory's content went. Addresses without passwords. */
export type MovedTo = z.infer<typeof movedToSchema>

/** The data directory was moved to other servers: whoever started on it again would bill on a second log. */
export class MovedAway extends Error {
  override name = 'MovedAway'
}

/** The database is the target of a move that has not ended. */
export class MoveUnfinished extends Error {
  override name = 'MoveUnfinished'
}

const markPath = (dataDir: string) => join(dataDir, 'moved.json')

/** Null while the data directory was not moved. */
export async function movedTo(dataDir: string): Promise<MovedTo | null> {
  const text = await readFile(markPath(dataDir), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return null
  })
  return text === null ? null : movedToSchema.parse(JSON.parse(text))
}

/** On disk when this resolves. */
export const markMoved = (dataDir: string, to: MovedTo): Promise<void> =>
  writeWhole(markPath(dataDir), [Buffer.from(`${JSON.stringify(to)}\n`)])

/** @throws MovedAway */
export async function refuseMoved(dataDir: string): Promise<void> {
  const to = await movedTo(dataDir)
  if (to === null) return
  throw new MovedAway(
    `The data directory ${dataDir} was moved on ${to.at} to ${to.eventStore} and ${to.database}: nothing is billed here ` +
      'any more. Set EVENTSTORE_URL and DATABASE_URL to those. To go back all the same, remove its file moved.json.',
  )
}

export interface MovedIn {
  /** System identifier of the source's Postgres. */
  readonly source: string
  readonly finishedAt: Date | null
}

/** What was, or is being, moved into this database; null when nothing ever was. */
export async function movedIn(client: pg.Pool | pg.ClientBase): Promise<MovedIn | null> {
  const { rows } = await client.query<{ there: boolean }>("select to_regclass('moved_in') is not null as there")
  if (!rows[0]?.there) return null
  const found = await client.query<MovedIn>('select source, finished_at as "finishedAt" from moved_in')
  return found.rows[0] ?? null
}

/** @throws MoveUnfinished */
export async function refuseUnfinishedMove(client: pg.Pool | pg.ClientBase): Promise<void> {
  const into = await movedIn(client)
  if (into === null || into.finishedAt !== null) return
  throw new MoveUnfinished(
    'DATABASE_URL is the target of a `liveness migrate` that has not ended: its log may lack the end. Run it again, ' +
      'with the same settings; it goes on where it stopped.',
  )
}
