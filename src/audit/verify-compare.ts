/** Holds the tables of one snapshot against what a pass over the log has folded. */
import type pg from 'pg'
import { customerStream } from '../events/catalogue.ts'
import { emptyHead } from '../events/chain.ts'
import type { EventStore } from '../eventstore/store.ts'
import { foldAgain } from './verify-again.ts'
import type { LogMemory } from './verify-log.ts'
import { checkMeteringTables } from './verify-metering-tables.ts'
import { checkReadModels } from './verify-read-models.ts'
import type { Kind, Say, TablesCompared } from './verify-report.ts'
import type { LastEvent } from './verify-resume.ts'
import type { RowFault } from './verify-rows.ts'
import type { LiveReadModels } from './verify-snapshot.ts'

export interface CompareOptions {
  readonly store: Pick<EventStore, 'readForward' | 'readBackward'>
  readonly memory: LogMemory
  /** Only this customer's rows. */
  readonly customerId?: string | undefined
  readonly month?: string | undefined
  readonly say: Say
}

const sayRow =
  (say: Say, kind: Kind) =>
  (customerId: string, month: string, { row, fault, event }: RowFault): void =>
    say(
      kind,
      {
        customerId,
        row,
        ...(month === '' ? {} : { month }),
        ...(event ? { stream: customerStream(customerId), ...event } : {}),
      },
      fault,
    )

/**
 * Read models that stand where the pass stands.
 * @param last the last event of a customer that the pass has seen: it must be the one that they folded last
 */
export async function compareAtCheckpoint(
  { store, memory, month, say }: CompareOptions,
  client: pg.ClientBase,
  { schema, checkpoint }: LiveReadModels,
  last: LastEvent | null,
): Promise<TablesCompared> {
  const { stream, revision, eventId: id, hash, position, created } = checkpoint
  const isThere = last?.stream === stream && last.revision === revision && last.id === id && last.hash === hash
  if (!isThere) {
    const where = { stream, customerId: stream.slice('customer-'.length), revision: `${revision}`, id }
    say('read_model', where, 'the read models have folded this event last, and the log does not have it at its place')
  }
  const rows = await checkReadModels({
    log: store,
    client,
    schema,
    customerIds: memory.books.keys(),
    strangers: true,
    async bookOf(id, full) {
      const book = memory.books.get(id)
      if (book !== undefined && !full) return book
      return foldAgain(store, id, { ...noneFolded, revision: book?.head.revision ?? -1n })
    },
    month,
    say: sayRow(say, 'read_model'),
  })
  return { rows, eventsBehind: 0, at: { position, created: created.toISOString() } }
}

/** One customer's rows, at the revision that the customer's own row names. */
export async function compareAtRevision(
  { store, memory, month, say }: CompareOptions,
  customerId: string,
  client: pg.ClientBase,
  { schema }: LiveReadModels,
): Promise<TablesCompared> {
  const found = await client.query<{ revision: bigint }>(
    `select revision from ${schema}.customers where customer_id = $1`,
    [customerId],
  )
  const revision = BigInt(found.rows[0]?.revision ?? -1n)
  const head = memory.books.get(customerId)?.head ?? emptyHead
  if (revision > head.revision) {
    const where = { stream: customerStream(customerId), customerId, revision: `${revision}` }
    say('read_model', where, `the read models have folded this event, and the stream ends at ${head.revision}`)
  }
  const rows = await checkReadModels({
    log: store,
    client,
    schema,
    customerIds: [customerId],
    strangers: false,
    async bookOf(id, full) {
      const book = memory.books.get(id)
      return book?.head.revision === revision && !full ? book : foldAgain(store, id, { ...noneFolded, revision })
    },
    month,
    say: sayRow(say, 'read_model'),
  })
  const behind = head.revision - revision
  return { rows, eventsBehind: behind > 0n ? Number(behind) : 0, at: null }
}

/** Metering's rows, each customer's at the revisions that the customer's own row names. */
export async function compareMetering(
  { store, memory, customerId, month, say }: CompareOptions,
  client: pg.ClientBase,
): Promise<TablesCompared> {
  const { rows, eventsBehind } = await checkMeteringTables({
    client,
    books: memory.books,
    strangers: customerId === undefined,
    foldAgain: (id, upto) => foldAgain(store, id, upto),
    month,
    say: sayRow(say, 'metering_table'),
  })
  return { rows, eventsBehind: Number(eventsBehind), at: null }
}

const noneFolded = { revision: emptyHead.revision, meteringRevision: emptyHead.revision }
