/**
 * The rows of `idempotency_keys`: there is one for every call with a key of a customer's last two days, so they are the
 * only ones that grow with calls. They are compared one by one beside the stream's tail, both read backwards, and
 * neither is held in memory.
 */
import type pg from 'pg'
import { rememberedMs } from '../commands/idempotency.ts'
import { monthOf } from '../commands/plans.ts'
import type { CustomerState } from '../commands/state.ts'
import { type CustomerEvent, customerStream } from '../events/catalogue.ts'
import type { EventStore } from '../eventstore/store.ts'
import { readable } from './replay.ts'
import type { CustomerBook } from './verify-book.ts'
import { type AuditedTable, type RowFault, rowFaults, rowsOf } from './verify-rows.ts'

/** What of a customer's stream says which rows there must be. Plain data. */
export interface Remembered {
  /** Calls that are not later are forgotten: 24 h before the first event of the stream's present day. ISO 8601 or ''. */
  forgottenUntil: string
  /** Time of the last call that had a key, or ''. */
  newest: string
}

export const newRemembered = (): Remembered => ({ forgottenUntil: '', newest: '' })

/** @param before the customer's state before the event */
export function foldRemembered(remembered: Remembered, event: CustomerEvent, before: CustomerState): void {
  const { occurredAt } = event.data
  if (before.lastOccurredAt !== '' && before.lastOccurredAt.slice(0, 10) < occurredAt.slice(0, 10)) {
    remembered.forgottenUntil = new Date(Date.parse(occurredAt) - rememberedMs).toISOString()
  }
  if (event.type === 'DetectionSucceeded' && event.data.idempotency !== undefined) remembered.newest = occurredAt
}

export const idempotencyTable = {
  name: 'idempotency_keys',
  columns: ['customer_id', 'key', 'body', 'detection_id', 'revision', 'occurred_at', 'voided', 'replayed'],
  key: ['key'],
  monthOf: ({ occurred_at }) => monthOf((occurred_at as Date).toISOString()),
  eventOf: ({ revision, eventId }) => ({ revision: String(revision), id: eventId === undefined ? null : `${eventId}` }),
} as const satisfies AuditedTable

export interface IdempotencyCheck {
  /** Inside a transaction that sees one state of the database. */
  readonly client: pg.ClientBase
  /** Where the rows stand. */
  readonly place: string
  readonly log: Pick<EventStore, 'readBackward'>
  readonly customerIds: Iterable<string>
  /** Whether rows of anybody else are a fault. */
  readonly strangers: boolean
  /** The customer as the rows should know them. */
  readonly bookOf: (customerId: string, full: boolean) => Promise<CustomerBook>
  readonly say: (customerId: string, month: string, fault: RowFault) => void
}

/** A row as Postgres gives it. */
type Values = Record<string, unknown> & { readonly revision: bigint | string; readonly occurred_at: Date }
/** A call with a key, as the row that it should have. */
interface Keyed extends Record<string, unknown> {
  readonly key: string
  readonly revision: bigint
  readonly occurred_at: Date
}

const atOnce = 1_000

/** Returns how many rows were compared. @throws EventStoreUnavailable and what Postgres throws */
export async function checkIdempotencyKeys(check: IdempotencyCheck): Promise<number> {
  const { client, place, strangers, bookOf, say } = check
  const ids = new Set(check.customerIds)
  const [only] = ids
  const { rows: counted } = await client.query<{ customer_id: string; count: string }>(
    `select customer_id, count(*) from ${place} where $1::uuid is null or customer_id = $1 group by 1`,
    [strangers ? null : only],
  )
  const counts = new Map(counted.map(({ customer_id, count }) => [customer_id, Number(count)]))
  let compared = 0
  for (const id of ids) {
    const { head, remembered } = await bookOf(id, false)
    const count = counts.get(id) ?? 0
    compared += count
    counts.delete(id)
    if (count > 0 || remembered.newest > remembered.forgottenUntil) {
      await checkCustomer(check, id, head.revision, remembered)
    }
  }
  for (const id of counts.keys()) {
    const fault = `${idempotencyTable.name} has rows of a customer whom the log does not know`
    say(id, '', { table: idempotencyTable.name, row: id, fault })
  }
  return compared
}

async function checkCustomer(
  { client, place, log, say }: IdempotencyCheck,
  customerId: string,
  upto: bigint,
  remembered: Remembered,
): Promise<void> {
  const rows = rowsOfCustomer(client, place, customerId)
  const next = async (): Promise<Values | undefined> => (await rows.next()).value ?? undefined
  const compare = (expected: Keyed | undefined, found: Values | undefined) => {
    const one = (values: Record<string, unknown> | undefined) =>
      new Map([[idempotencyTable, rowsOf(idempotencyTable, values === undefined ? [] : [values])]])
    const month = idempotencyTable.monthOf(expected ?? found ?? {})
    for (const fault of rowFaults(one(expected), one(found))) say(customerId, month, fault)
  }

  let row = await next()
  /** Calls without a row of their own: a later call with the same key has taken it. */
  let replaced: Keyed[] = []
  async function checkReplaced(): Promise<void> {
    const { rows: later } = await client.query<{ key: string; revision: string }>(
      `select key, revision from ${place} where customer_id = $1 and key = any($2)`,
      [customerId, replaced.map(({ key }) => key)],
    )
    const newest = new Map(later.map(({ key, revision }) => [key, BigInt(revision)]))
    for (const call of replaced) if ((newest.get(call.key) ?? -1n) < call.revision) compare(call, undefined)
    replaced = []
  }

  for await (const call of keyedCalls(log, customerId, upto, remembered)) {
    while (row !== undefined && BigInt(row.revision) > call.revision) {
      compare(undefined, row)
      row = await next()
    }
    if (row !== undefined && BigInt(row.revision) === call.revision) {
      compare(call, row)
      row = await next()
    } else replaced.push(call)
    if (replaced.length >= atOnce) await checkReplaced()
  }
  if (replaced.length > 0) await checkReplaced()
  for (; row !== undefined; row = await next()) compare(undefined, row)
}

/** The newest first. */
async function* rowsOfCustomer(client: pg.ClientBase, place: string, customerId: string): AsyncGenerator<Values> {
  await client.query(
    `declare idempotency_rows no scroll cursor for
     select ${idempotencyTable.columns.join(', ')} from ${place} where customer_id = $1 order by revision desc`,
    [customerId],
  )
  for (;;) {
    const { rows } = await client.query<Values>(`fetch ${atOnce} from idempotency_rows`)
    yield* rows
    if (rows.length < atOnce) break
  }
  await client.query('close idempotency_rows')
}

/** Calls with a key that are not forgotten, the newest first, each with what became of it. */
async function* keyedCalls(
  log: IdempotencyCheck['log'],
  customerId: string,
  upto: bigint,
  { forgottenUntil, newest }: Remembered,
): AsyncGenerator<Keyed> {
  if (newest <= forgottenUntil) return
  const flags = new Map<string, { voided: boolean; replayed: boolean }>()
  const flagsOf = (detectionId: string) => flags.get(detectionId) ?? { voided: false, replayed: false }
  for await (const stored of log.readBackward(customerStream(customerId), undefined, upto)) {
    const event = readable(stored, () => {})?.event // what cannot be read was named in the pass
    if (event === undefined) continue
    if (event.data.occurredAt <= forgottenUntil) return
    if (event.type === 'DetectionVoided' || event.type === 'DetectionReplayed') {
      const { detectionId } = event.data
      flags.set(detectionId, {
        ...flagsOf(detectionId),
        [event.type === 'DetectionVoided' ? 'voided' : 'replayed']: true,
      })
    }
    if (event.type !== 'DetectionSucceeded') continue
    const { detectionId, idempotency, occurredAt } = event.data
    const became = flagsOf(detectionId)
    flags.delete(detectionId)
    if (idempotency === undefined) continue
    yield {
      customer_id: customerId,
      key: idempotency.key,
      body: idempotency.body,
      detection_id: detectionId,
      revision: stored.revision,
      occurred_at: new Date(occurredAt),
      eventId: stored.id,
      ...became,
    }
  }
}
