import type { ClientBase, Pool } from 'pg'
import { undamaged } from './damage.ts'
import { parseMetadata } from './metadata.ts'
import { absentStream, metastreamOf, NO_REVISION, type StoredRow, type StreamState } from './model.ts'
import { recordedData, recordedId } from './protocol.ts'

/** All SQL of the embedded event store. Rows are written once and never changed. */

type Queryable = Pick<ClientBase | Pool, 'query'>

/**
 * Advisory locks are counted per database, so one number suffices. The session that holds it is the one writer; the
 * lock falls when that session ends, that is after its last statement has ended one way or the other.
 */
export const WRITER_LOCK = 7_305_811_236

/** At most this many rows and this many bytes are fetched at once, so that a reader's memory stays bounded. */
export const PAGE_ROWS = 1_000
const PAGE_BYTES = 4 * 1024 * 1024

export async function createSchema(client: Queryable): Promise<void> {
  await client.query(`
    create schema if not exists eventstore;
    create table if not exists eventstore.event (
      position bigint primary key,
      stream   text collate "C" not null,
      revision bigint not null,
      type     text not null,
      message  bytea not null,
      unique (stream, revision)
    );`)
}

export async function headPosition(client: Queryable): Promise<bigint> {
  const { rows } = await client.query({
    name: 'head-position',
    text: 'select coalesce(max(position), 0) from eventstore.event',
    rowMode: 'array',
  })
  return BigInt(rows[0]?.[0] ?? 0)
}

/**
 * One statement is one transaction: when it has ended well, Postgres has the rows on disk. Positions are consecutive.
 *
 * The messages travel as one piece of bytes that Postgres cuts up. As an array they would be text, twice as long, and
 * cost it twice the time.
 */
export async function insertRows(client: Queryable, rows: readonly StoredRow[]): Promise<void> {
  await client.query({
    name: 'insert',
    text: `insert into eventstore.event (position, stream, revision, type, message)
           select $1 + place - 1, stream, revision, type,
                  substring($2::bytea from (1 + sum(length) over (order by place) - length)::int for length)
           from unnest($3::text[], $4::bigint[], $5::text[], $6::int[])
             with ordinality as rows (stream, revision, type, length, place)`,
    values: [
      rows[0]?.position,
      Buffer.concat(rows.map((row) => row.message)),
      rows.map((row) => row.stream),
      rows.map((row) => row.revision),
      rows.map((row) => row.type),
      rows.map((row) => row.message.length),
    ],
  })
}

/** The state of each named stream; absent streams are answered too. */
export async function loadStreams(client: Queryable, streams: readonly string[]): Promise<Map<string, StreamState>> {
  const { rows } = await client.query<[string, string | null, Buffer | null]>({
    name: 'streams',
    text: `select s.stream,
                  (select max(revision) from eventstore.event e where e.stream = s.stream),
                  (select message from eventstore.event e where e.stream = s.metastream order by revision desc limit 1)
           from unnest($1::text[], $2::text[]) as s (stream, metastream)`,
    values: [streams, streams.map(metastreamOf)],
    rowMode: 'array',
  })
  return new Map(
    rows.map(([stream, head, metadata]) => [
      stream,
      {
        ...absentStream,
        ...(metadata === null ? {} : parseMetadata(recordedData(metadata))),
        head: head === null ? NO_REVISION : BigInt(head),
      },
    ]),
  )
}

/** The id of the event at that place; it stands in its message. */
export async function idAt(client: Queryable, stream: string, revision: bigint): Promise<string | undefined> {
  const { rows } = await client.query<[Buffer]>({
    name: 'id-at',
    text: 'select message from eventstore.event where stream = $1 and revision = $2',
    values: [stream, revision],
    rowMode: 'array',
  })
  return rows[0] === undefined ? undefined : recordedId(rows[0][0])
}

/** At most `$3` rows; the page is cut off where its bytes pass the limit, but the first row is always in it. */
function page(condition: string, order: string): string {
  return `select position, stream, revision, type, message
          from (select rows.*, sum(octet_length(message)) over (order by ${order} rows unbounded preceding)
                                 - octet_length(message) as bytes_before
                from (select * from eventstore.event where ${condition} order by ${order} limit $3) as rows) as sized
          where bytes_before < ${PAGE_BYTES} order by ${order}`
}

const IN_ALL = 'position between $1 and $2'
const IN_STREAM = 'stream = $4 and revision between $1 and $2'
const statements = {
  all: { forwards: page(IN_ALL, 'position'), backwards: page(IN_ALL, 'position desc') },
  stream: { forwards: page(IN_STREAM, 'revision'), backwards: page(IN_STREAM, 'revision desc') },
}

export type Direction = 'forwards' | 'backwards'

/** The next page of $all within the positions `low` … `high`, both included. Empty: there is no more. */
export function readAllPage(
  client: Queryable,
  direction: Direction,
  low: bigint,
  high: bigint,
  limit: number,
): Promise<StoredRow[]> {
  return readPage(client, `all-${direction}`, statements.all[direction], [low, high, limit])
}

/** The next page of one stream within the revisions `low` … `high`, both included. Empty: there is no more. */
export function readStreamPage(
  client: Queryable,
  stream: string,
  direction: Direction,
  low: bigint,
  high: bigint,
  limit: number,
): Promise<StoredRow[]> {
  return readPage(client, `stream-${direction}`, statements.stream[direction], [low, high, limit, stream])
}

async function readPage(client: Queryable, name: string, text: string, values: unknown[]): Promise<StoredRow[]> {
  const { rows } = await client.query<[string, string, string, string, Buffer]>({
    name,
    text,
    values,
    rowMode: 'array',
  })
  return rows.map(([position, stream, revision, type, message]) =>
    undamaged({ position: BigInt(position), stream, revision: BigInt(revision), type, message }),
  )
}
