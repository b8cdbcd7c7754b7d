/** What may follow what for one metering record (docs/audit.md, "Rules of the metering stream"). Pure. */
import type { MeteringDataOf, MeteringEvent } from '../events/metering.ts'
import { evolveRecord, type MeteringRecord, newRecord } from '../metering/record.ts'

export type RecordEvent = Exclude<MeteringEvent, { type: 'MonthClosed' | 'AdjustmentNoted' }>
type Seal = MeteringDataOf<'RecordSealed'>

export interface AuditedRecord {
  readonly recordId: string
  readonly seal: Seal
  /** As the metering stream left it; which calls it holds is not in that stream. */
  readonly record: MeteringRecord
}

/** What is kept between events. Plain data, so that it can be written down and gone on from. */
export interface RecordMemory {
  readonly books: Map<string, { readonly seal: Seal; record: MeteringRecord }>
  /** Target → what was carried into it before it was sealed. */
  readonly carried: Map<string, Seal['carriedFrom']>
}
export const newRecordMemory = (): RecordMemory => ({ books: new Map(), carried: new Map() })

/** UTC month of a record's id: `…|2026-01-31T13Z`; `…|2026-01|no_hour_left`, `…|2026-01.2|no_hour_left` and so on for what found no hour. */
export function monthOfRecord(recordId: string): string {
  const parts = recordId.split('|')
  return (parts.at(-1) === 'no_hour_left' ? parts.at(-2) : parts.at(-1))?.slice(0, 7) ?? ''
}

/** Customer, licence and dimension: what a carry never crosses. */
const bucketOf = (recordId: string): string => recordId.split('|').slice(0, 3).join('|')

/** The records of one month. */
export function recordRules(customerId: string, month: string, { books, carried }: RecordMemory = newRecordMemory()) {
  function seal(data: Seal): string[] {
    const { recordId, hour, dimension, carriedFrom, quantity, ownQuantity, lateQuantity } = data
    if (books.has(recordId)) return [`record ${recordId} is sealed twice`]
    const [, licence = ''] = recordId.split('|')
    const record = newRecord({ recordId, customerId, hour, licence, dimension })
    books.set(recordId, { seal: data, record: evolveRecord(record, { type: 'RecordSealed', data }) })
    const into = carriedFrom.reduce((sum, from) => sum + from.quantity, 0)
    const checks: [boolean, string][] = [
      [isNamed(data, customerId, licence), 'its id is not that of its customer, dimension and hour'],
      [data.yearMonth === month, `it is of ${data.yearMonth}`],
      [
        quantity === ownQuantity + into,
        `its quantity is ${quantity}, its own calls ${ownQuantity} and ${into} carried`,
      ],
      [lateQuantity <= ownQuantity, `${lateQuantity} of its ${ownQuantity} calls are late`],
      [sameCarries(carriedFrom, carried.get(recordId) ?? []), 'what it says was carried into it was not'],
    ]
    return checks.filter(([holds]) => !holds).map(([, fault]) => `record ${recordId}: ${fault}`)
  }

  function carry({ recordId, toRecordId, quantity }: MeteringDataOf<'RecordCarriedForward'>, source: Seal): string[] {
    carried.set(toRecordId, [...(carried.get(toRecordId) ?? []), { recordId, quantity }])
    const checks: [boolean, string][] = [
      [quantity === source.quantity, `${quantity} of its ${source.quantity} calls are carried forward`],
      [!books.has(toRecordId), `it is carried into ${toRecordId}, which was sealed`],
      [
        bucketOf(toRecordId) === bucketOf(recordId) && monthOfRecord(toRecordId) === month,
        `it is carried into ${toRecordId}, of another licence, dimension or month`,
      ],
    ]
    return checks.filter(([holds]) => !holds).map(([, fault]) => `record ${recordId}: ${fault}`)
  }

  return {
    pass(event: RecordEvent): string[] {
      if (event.type === 'RecordSealed') return seal(event.data)
      const { recordId } = event.data
      const known = books.get(recordId)
      if (known === undefined) return [`record ${recordId} was never sealed`]
      const { state, attempts } = known.record
      const faults: string[] = []
      // Billed twice, or sent although it was settled.
      const isSent = event.type === 'SubmissionAttempted' || event.type === 'RecordAccepted'
      if (state === 'carried_forward') faults.push(`record ${recordId}: its calls were carried forward before`)
      else if (state === 'accepted' && (isSent || event.type === 'RecordCarriedForward')) {
        faults.push(`record ${recordId}: AWS has accepted it before`)
      }
      if (event.type === 'SubmissionAttempted') {
        if (known.seal.submission !== 'due') faults.push(`record ${recordId}: it was sealed not to be sent`)
        if (event.data.attempt !== attempts + 1)
          faults.push(`record ${recordId}: attempt ${event.data.attempt} follows ${attempts}`)
      } else if ('attempt' in event.data && event.data.attempt > attempts) {
        faults.push(`record ${recordId}: an answer to attempt ${event.data.attempt}, which was never made`)
      }
      if (event.type === 'RecordCarriedForward') {
        faults.push(...carry(event.data, known.seal))
        known.record = { ...known.record, state: 'carried_forward', carriedTo: event.data.toRecordId }
      } else {
        known.record = evolveRecord(known.record, event)
      }
      return faults
    },
    of(recordId: string): { readonly seal: Seal } | undefined {
      return books.get(recordId)
    },
    /** In the order of their ids. */
    all: (): AuditedRecord[] =>
      [...books]
        .map(([recordId, { seal, record }]) => ({ recordId, seal, record }))
        .toSorted((a, b) => (a.recordId < b.recordId ? -1 : 1)),
  }
}

function isNamed({ recordId, dimension, hour, cause }: Seal, customerId: string, licence: string): boolean {
  const begin = `${customerId}|${licence}|${dimension}|`
  const end = recordId.slice(begin.length)
  const isEnd =
    cause === 'no_hour_left' ? /^\d{4}-\d\d(\.\d+)?\|no_hour_left$/.test(end) : end === `${hour.slice(0, 13)}Z`
  return recordId.startsWith(begin) && isEnd
}

const sameCarries = (a: Seal['carriedFrom'], b: Seal['carriedFrom']): boolean => {
  const text = (carries: Seal['carriedFrom']) =>
    carries.map(({ recordId, quantity }) => `${recordId} ${quantity}`).toSorted()
  return JSON.stringify(text(a)) === JSON.stringify(text(b))
}
