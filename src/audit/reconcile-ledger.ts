/** Our side of a reconciliation: every record of the metering streams, with what was sent and answered. */
import { parseMeteringEvent } from '../events/metering.ts'
import type { EventStore } from '../eventstore/store.ts'
import type { MeteringRecord } from '../metering/record.ts'
import { monthOfRecord, newRecordMemory, recordRules } from './metering-records.ts'

export interface LedgerRecord {
  readonly record: MeteringRecord
  readonly sealed: NonNullable<MeteringRecord['sealed']>
  /** When each attempt was begun, ISO 8601; the first one first. */
  readonly attemptedAt: readonly string[]
}

/**
 * Records that are sealed, of one UTC month or of all. What follows what in these streams is `audit verify`'s question.
 * @throws EventStoreUnavailable, UnreadableEvent
 */
export async function readLedger(
  store: Pick<EventStore, 'readAll'>,
  month: string | undefined,
): Promise<LedgerRecord[]> {
  const books = newRecordMemory().books
  const attempts = new Map<string, string[]>()
  for await (const stored of store.readAll({ prefixes: ['metering-'] })) {
    const { event } = parseMeteringEvent(stored)
    if (event.type === 'MonthClosed' || event.type === 'AdjustmentNoted') continue
    const { recordId, customerId, occurredAt } = event.data
    const ofMonth = monthOfRecord(recordId)
    if (month !== undefined && ofMonth !== month) continue
    recordRules(customerId, ofMonth, { books, carried: new Map() }).pass(event)
    if (event.type === 'SubmissionAttempted') attempts.set(recordId, [...(attempts.get(recordId) ?? []), occurredAt])
  }
  return [...books.values()].flatMap(({ record }) =>
    record.sealed === null ? [] : [{ record, sealed: record.sealed, attemptedAt: attempts.get(record.recordId) ?? [] }],
  )
}
