/** The embedded event store's log as it stands in its table: the bytes, and not what a client makes of them. */
import type pg from 'pg'
import { recordedEvent } from '../eventstore/embedded/protocol.ts'
import { headPosition, PAGE_ROWS, readAllPage } from '../eventstore/embedded/storage.ts'

export interface SourceEvent {
  readonly stream: string
  readonly revision: bigint
  readonly id: string
  readonly type: string
  /** Text of the JSON, as its writer wrote it. */
  readonly data: string
  readonly metadata: string
}

/** An event that cannot be written anew with the same revision and bytes. */
export class CannotMove extends Error {
  override name = 'CannotMove'
}

/** Streams that the event store keeps for itself: metadata of streams, statistics. They are not moved. */
export const isSystemStream = (stream: string): boolean => stream.startsWith('$')

/** How many events will be moved. Null: this Postgres holds no log. */
export async function countEvents(pool: pg.Pool): Promise<number | null> {
  const { rows } = await pool.query<{ there: boolean }>("select to_regclass('eventstore.event') is not null as there")
  if (!rows[0]?.there) return null
  const counted = await pool.query<{ events: bigint }>(
    "select count(*) as events from eventstore.event where stream not like '$%'",
  )
  return Number(counted.rows[0]?.events ?? 0n)
}

/**
 * Every event of the log in the order of $all, without those of system streams.
 * @throws CannotMove where an event's bytes are not those that JSON.stringify writes: nobody here wrote them, and sent
 *   through the client they would become others
 */
export async function* sourceEvents(pool: pg.Pool): AsyncGenerator<SourceEvent> {
  const head = await headPosition(pool)
  let after = 0n
  while (after < head) {
    const rows = await readAllPage(pool, 'forwards', after + 1n, head, PAGE_ROWS)
    const last = rows.at(-1)
    if (last === undefined) return
    for (const { stream, revision, type, message } of rows) {
      if (isSystemStream(stream)) continue
      const { id, contentType, data, metadata } = recordedEvent(message)
      const texts = { data: Buffer.from(data).toString('utf8'), metadata: Buffer.from(metadata).toString('utf8') }
      if (contentType !== 'application/json' || !isOurs(texts.data) || !isOurs(texts.metadata)) {
        throw new CannotMove(
          `${stream} revision ${revision} (${type}, ${id}) was not written by this program: its bytes would change.`,
        )
      }
      yield { stream, revision, id, type, ...texts }
    }
    after = last.position
  }
}

function isOurs(text: string): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === text
  } catch {
    return false
  }
}
