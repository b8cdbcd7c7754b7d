/** What an operator may decide about a record. Pure: events, or a sentence that says why not. */
import type { MeteringEvent } from '../events/metering.ts'
import { isWaiting } from './answers.ts'
import type { CustomerBooks } from './books.ts'
import { isPastDeadline } from './give-up.ts'

interface Order {
  readonly recordId: string
  readonly reason: string
  /** ISO 8601. */
  readonly now: string
}
export type Ruling = { readonly events: readonly MeteringEvent[] } | { readonly refusal: string }

/** Lets a record that AWS refused be sent again, after its cause was mended. */
export function decideRetry({ records }: CustomerBooks, { recordId, reason, now }: Order): Ruling {
  const record = records.find((one) => one.recordId === recordId)
  if (record?.sealed == null) return unknownRecord(recordId)
  if (record.state !== 'refused') {
    return { refusal: `The record is ${words(record.state)}: only a refused one can be sent again.` }
  }
  if (isPastDeadline(record, now)) {
    return { refusal: `AWS takes it no more since ${record.sealed.deadline}: it can only be written off.` }
  }
  return {
    events: [{ type: 'RecordRetried', data: { customerId: record.customerId, occurredAt: now, recordId, reason } }],
  }
}

/** Ends a record that will not be billed, or of which only AWS's own records could tell. */
export function decideWriteOff({ records }: CustomerBooks, { recordId, reason, now }: Order): Ruling {
  const record = records.find((one) => one.recordId === recordId)
  if (record?.sealed == null) return unknownRecord(recordId)
  if (isWaiting(record) && !isPastDeadline(record, now)) {
    return { refusal: `It is still being sent, until ${record.sealed.deadline}.` }
  }
  if (record.state !== 'refused' && record.state !== 'unknown' && record.state !== 'unbillable') {
    return { refusal: `The record is ${words(record.state)}: there is nothing to write off.` }
  }
  return {
    events: [{ type: 'RecordWrittenOff', data: { customerId: record.customerId, occurredAt: now, recordId, reason } }],
  }
}

/** Settles a record in doubt that AWS has taken, as CloudTrail shows: its answer was lost. */
export function decideAccept(
  { records }: CustomerBooks,
  { recordId, meteringRecordId, now }: Omit<Order, 'reason'> & { readonly meteringRecordId: string },
): Ruling {
  const record = records.find((one) => one.recordId === recordId)
  if (record?.sealed == null) return unknownRecord(recordId)
  if (record.state !== 'unknown') {
    return { refusal: `The record is ${words(record.state)}: only one in doubt can be settled so.` }
  }
  const { customerId, attempts: attempt } = record
  const data = { customerId, occurredAt: now, recordId, attempt, meteringRecordId }
  return { events: [{ type: 'RecordAccepted', data }] }
}

const words = (state: string): string => state.replace('_', ' ')
const unknownRecord = (recordId: string): Ruling => ({
  refusal: `No sealed record of an open month is called ${recordId}. \`liveness metering list\` shows them; quote its name in a shell.`,
})
