/**
 * The tables that are no read model, from one Postgres to another. Which they are is asked of the source: all tables
 * but the few named here, so that one added later is moved too.
 */
import type pg from 'pg'
import { transaction } from '../postgres/pool.ts'

/** Folds of the log: the target's own are made from its own log, for they hold its positions. */
const foldedSchemas = /^(readmodel|readmodel_\d+|metering)$/

/** Tables that are neither folds nor moved, and why. */
export const staying: Readonly<Record<string, string>> = {
  migrations: 'each database keeps its own',
  secrets_in_use: 'says which processes run beside it',
  moved_in: 'speaks of the database that it stands in',
  relay:
    'places in the $all of one event store, and offsets of what was relayed from there: the relay begins anew, and the consumer skips what it knows by revision',
}

/** The target's tables hold something that did not come from this source. */
export class OtherTables extends Error {
  override name = 'OtherTables'
}

/** Tables to move, each behind those that it refers to. */
export async function tablesToMove(client: pg.ClientBase | pg.Pool): Promise<string[]> {
  const { rows } = await client.query<{ schema: string; name: string; refers_to: string[] }>(`
    select n.nspname as schema, c.relname as name,
      array(select f.relname::text from pg_constraint k join pg_class f on f.oid = k.confrelid
            where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> c.oid) as refers_to
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
    order by 1, 2`)
  const moving = rows.filter(({ schema, name }) => !foldedSchemas.test(schema) && !(name in staying))
  const elsewhere = moving.find(({ schema }) => schema !== 'public')
  if (elsewhere !== undefined) {
    throw new Error(`The table ${elsewhere.schema}.${elsewhere.name} is not one that this version can move.`)
  }
  const ordered: string[] = []
  const left = new Map(moving.map(({ name, refers_to }) => [name, refers_to]))
  while (left.size > 0) {
    const free = [...left].filter(([, refersTo]) => refersTo.every((name) => !left.has(name))).map(([name]) => name)
    if (free.length === 0) throw new Error(`The tables ${[...left.keys()].join(', ')} refer to each other in a circle.`)
    for (const name of free) left.delete(name)
    ordered.push(...free)
  }
  return ordered
}

/** The first of the tables that holds a row. */
export async function firstFilled(client: pg.ClientBase | pg.Pool, tables: readonly string[]): Promise<string | null> {
  for (const table of tables) {
    const { rows } = await client.query<{ filled: boolean }>(`select exists (select from "${table}") as filled`)
    if (rows[0]?.filled) return table
  }
  return null
}

const pageRows = 1_000

/** Both sessions show values alike, and each may take as long as it does, also while the other is at work. */
const asLongAsItTakes = `set local timezone = 'UTC'; set local datestyle = 'ISO'; set local statement_timeout = 0;
  set local idle_in_transaction_session_timeout = 0`

/**
 * Empties the tables of the target and fills them with the source's rows as they were at one instant: all or nothing.
 * @returns how many rows
 * @throws OtherTables when a table is not the same afterwards
 */
export function copyTables(source: pg.Pool, target: pg.Pool, tables: readonly string[]): Promise<number> {
  return transaction(source, async (from) => {
    await from.query(`set transaction isolation level repeatable read, read only; ${asLongAsItTakes}`)
    return transaction(target, async (to) => {
      await to.query(asLongAsItTakes)
      return copyRows(from, to, tables)
    })
  })
}

async function copyRows(source: pg.ClientBase, target: pg.ClientBase, tables: readonly string[]): Promise<number> {
  for (const table of tables.toReversed()) await target.query(`delete from "${table}"`)
  let copied = 0
  for (const table of tables) {
    await source.query(`declare moving no scroll cursor for select row_to_json(t)::text as row from "${table}" t`)
    for (;;) {
      const { rows } = await source.query<{ row: string }>(`fetch ${pageRows} from moving`)
      if (rows.length === 0) break
      await target.query(`insert into "${table}" select * from json_populate_recordset(null::"${table}", $1)`, [
        `[${rows.map(({ row }) => row).join(',')}]`,
      ])
      copied += rows.length
    }
    await source.query('close moving')
    const [ours, theirs] = [await digestOf(source, table), await digestOf(target, table)]
    if (ours !== theirs) throw new OtherTables(`The table ${table} is not the same after it was moved.`)
  }
  return copied
}

/** Of all rows, in an order that does not depend on where they lie. */
async function digestOf(client: pg.ClientBase, table: string): Promise<string> {
  const { rows } = await client.query<{ digest: string }>(
    `select count(*) || ':' || coalesce(md5(string_agg(row, '' order by row)), '') as digest
     from (select md5(row_to_json(t)::text) collate "C" as row from "${table}" t) as rows`,
  )
  return rows[0]?.digest ?? ''
}
