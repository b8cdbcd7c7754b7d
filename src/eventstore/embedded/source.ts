import type { Pool } from 'pg'
import { absentStream, DELETED, LogUnavailable, type StoredRow, type StreamState } from './model.ts'
import { type Direction, loadStreams, PAGE_ROWS } from './storage.ts'
import type { Writer } from './writer.ts'

/** What reads and subscriptions draw from: the table through connections of their own, and the writer's memory. */
export interface ReadSource {
  readonly pool: Pool
  readonly writer: Pick<Writer, 'tail' | 'knownStream'>
}

/** @throws LogUnavailable */
export async function streamState(source: ReadSource, stream: string): Promise<StreamState> {
  const known = source.writer.knownStream(stream)
  if (known !== undefined) return known
  return (await loadStreams(source.pool, [stream]).catch(unavailable)).get(stream) ?? absentStream
}

/** Pages from one end of a range to the other, of at most `maxRows`; the next is fetched while one is being sent.
 * @throws LogUnavailable */
export async function* pages(
  direction: Direction,
  first: bigint,
  last: bigint,
  placeOf: (row: StoredRow) => bigint,
  fetch: (low: bigint, high: bigint, limit: number) => Promise<StoredRow[]>,
  maxRows = Number.MAX_SAFE_INTEGER,
): AsyncGenerator<readonly StoredRow[], void, void> {
  let low = first
  let high = last < DELETED ? last : DELETED - 1n
  let left = maxRows
  function fetchNext(): Promise<StoredRow[]> | undefined {
    if (low > high || left <= 0) return undefined
    const page = fetch(low, high, Math.min(left, PAGE_ROWS)).catch(unavailable)
    page.catch(() => undefined) // whoever awaits it sees the error; nobody does when the client has left
    return page
  }
  let next = fetchNext()
  while (next !== undefined) {
    const page = await next
    const end = page.at(-1)
    if (end === undefined) return
    left -= page.length
    if (direction === 'forwards') low = placeOf(end) + 1n
    else high = placeOf(end) - 1n
    next = fetchNext()
    yield page
  }
}

/** Whatever goes wrong while reading the table is Postgres's, and a read may be repeated. */
function unavailable(error: unknown): never {
  throw new LogUnavailable(`Postgres cannot be read: ${error instanceof Error ? error.message : String(error)}`)
}
