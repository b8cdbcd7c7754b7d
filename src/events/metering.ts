/**
 * Every event of the `metering-{uuid}` streams, the `watermark` stream's Tick and the `licence-{id}` stream's
 * reservation. The same rules as in catalogue.ts: strings, booleans and integers only, parsed on every write and read.
 *
 * A metering stream is the record of what was sealed, sent and answered, and the submitter's fence: every append names
 * its exact expected revision. Postgres only folds it.
 */
import { z } from 'zod'
import type { StoredEvent } from '../eventstore/store.ts'
import { type Metadata, metadataSchema } from './catalogue.ts'
import { UnreadableEvent } from './parse.ts'

const uuid = z.uuid()
const instant = z.iso.datetime({ precision: 3 })
const yearMonth = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/)
const count = z.int().min(0)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)

/** Whom AWS bills, as BatchMeterUsage names them; `none` for customers without AWS Marketplace. */
export const identitySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({ kind: z.literal('licence'), awsAccountId: z.string(), licenceArn: z.string() }),
  z.strictObject({
    kind: z.literal('product'),
    productCode: z.string(),
    /** One of the two, never both: AWS refuses both. */
    customerIdentifier: z.string().optional(),
    awsAccountId: z.string().optional(),
  }),
])

const every = { customerId: uuid, occurredAt: instant }
const ofRecord = { ...every, recordId: z.string().min(1) }
const ofAttempt = { ...ofRecord, attempt: z.int().min(1) }

export const meteringEventData = {
  /** Fixes a record for ever. From here on nothing about it changes but what became of it. */
  RecordSealed: z.strictObject({
    ...ofRecord,
    yearMonth,
    /** Start of the UTC hour. */
    hour: instant,
    /** What AWS is told: the later of the hour's start and the licence's start, in whole seconds. */
    timestamp: instant,
    identity: identitySchema,
    dimension: z.string().min(1).max(255),
    /** What is sent: own + carried. AWS takes an int32. */
    quantity: z.int().min(0).max(2_147_483_647),
    /** Overage events of this key up to throughRevision, voids subtracted. */
    ownQuantity: count,
    /** The part of ownQuantity that belonged to an earlier hour, which was sealed already. */
    lateQuantity: count,
    carriedFrom: z.array(z.strictObject({ recordId: z.string(), quantity: count })),
    /** The last revision of the customer's stream that was folded when this was sealed. */
    throughRevision: z.int().min(-1),
    /** Chained SHA-256 over the hashes of the events that make up ownQuantity; 64 zeros for none. */
    digest: sha256,
    region: z.string().min(1),
    /** Whether it may be sent; decided once, here. `off`: METERING_SUBMIT was off. */
    submission: z.enum(['due', 'off', 'no_identity', 'no_hour_left']),
    /** No attempt after this instant can be accepted. */
    deadline: instant,
    cause: z.enum(['hour_over', 'subscription_ended', 'licence_replaced', 'heartbeat', 'no_hour_left']),
  }),
  /** Appended before a byte leaves. */
  SubmissionAttempted: z.strictObject({ ...ofAttempt, callId: uuid }),
  /**
   * An answer that does not end the record: the same bytes may be sent again. `batch_refused`: the whole call was
   * refused because of another record. No answer at all leaves no event.
   */
  SubmissionAnswered: z.strictObject({
    ...ofAttempt,
    answer: z.enum(['unprocessed', 'throttled', 'server_error', 'not_subscribed', 'batch_refused']),
    detail: z.string(),
  }),
  RecordAccepted: z.strictObject({ ...ofAttempt, meteringRecordId: z.string().min(1) }),
  /** AWS said no to this record alone: DuplicateRecord, or the exception of a call that held nothing else. */
  RecordRefused: z.strictObject({ ...ofAttempt, code: z.string().min(1), message: z.string() }),
  /** An operator lets a refused record be sent again. */
  RecordRetried: z.strictObject({ ...ofRecord, reason: z.string().min(1) }),
  RecordCarriedForward: z.strictObject({ ...ofRecord, quantity: count, toRecordId: z.string().min(1) }),
  RecordUnbillable: z.strictObject({
    ...ofRecord,
    reason: z.enum(['deadline_missed', 'not_subscribed', 'no_hour_left']),
  }),
  RecordWrittenOff: z.strictObject({ ...ofRecord, reason: z.string().min(1) }),
  /** A call was voided after the record that holds it was sealed: AWS cannot be told, the books can. */
  AdjustmentNoted: z.strictObject({
    ...ofRecord,
    yearMonth,
    detectionId: uuid,
    /** Revision of the DetectionVoided in the customer's stream. */
    revision: count,
    quantity: z.literal(-1),
  }),
  MonthClosed: z.strictObject({
    ...every,
    yearMonth,
    /** Detections of the month that were not voided. */
    creditCalls: count,
    overageCalls: count,
    /** Overage by dimension and the state of its records, in the order of their text. */
    overage: z.array(
      z.strictObject({ dimension: z.string(), state: z.string(), records: count, quantity: count, carried: count }),
    ),
    /** Sum of AdjustmentNoted of the month, as a number of calls given back. */
    adjusted: count,
    /** Revision of the customer's stream up to which this holds. */
    throughRevision: z.int().min(-1),
    digest: sha256,
  }),
} as const

export type MeteringEventType = keyof typeof meteringEventData
export type MeteringDataOf<T extends MeteringEventType> = z.infer<(typeof meteringEventData)[T]>
export type MeteringEvent = {
  [T in MeteringEventType]: { readonly type: T; readonly data: MeteringDataOf<T> }
}[MeteringEventType]
export type Identity = z.infer<typeof identitySchema>

export const meteringStream = (customerId: string): string => `metering-${customerId}`

/** "Everything that occurred up to `occurredAt` stands before this place in the log", give or take METERING_GRACE. */
export const tickData = z.strictObject({ occurredAt: instant })
export type Tick = z.infer<typeof tickData>
export const watermarkStream = 'watermark'

/** Who holds a licence (or a legacy product's account): one event at NO_STREAM, so that none registers twice. */
export const licenceReservedData = z.strictObject({ ...every, identity: identitySchema })
/** `id`: what licenceIdentity of the licence says, made safe for a stream's name. */
export const licenceStream = (id: string): string => `licence-${encodeURIComponent(id)}`

/** Schema version of all of these, as metadata have it; a changed shape gets an upcaster as in upcast.ts. */
export const meteringSchemaVersion = '1'

interface Parsed<T> {
  readonly data: T
  readonly metadata: Metadata
}

/** Metadata and data of a stored event. @throws UnreadableEvent naming stream, revision and id */
export function parseData<T>(stored: StoredEvent, schema: z.ZodType<T>): Parsed<T> {
  try {
    const metadata = metadataSchema.parse(stored.metadata)
    if (metadata.schema !== meteringSchemaVersion) throw new Error(`unknown schema version ${metadata.schema}`)
    return { data: schema.parse(stored.data), metadata }
  } catch (cause) {
    const where = `${stored.stream} revision ${stored.revision} (${stored.type}, ${stored.id})`
    throw new UnreadableEvent(`cannot read ${where}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
}

/** @throws UnreadableEvent */
export function parseMeteringEvent(stored: StoredEvent): { event: MeteringEvent; metadata: Metadata } {
  const { type } = stored
  if (!Object.hasOwn(meteringEventData, type)) {
    throw new UnreadableEvent(`cannot read ${stored.stream} revision ${stored.revision}: unknown event type ${type}`)
  }
  const { data, metadata } = parseData<unknown>(stored, meteringEventData[type as MeteringEventType])
  return { event: { type, data } as MeteringEvent, metadata }
}
