/**
 * Every event of the `customer-{uuid}` streams: one zod schema per type, current version only (upcast.ts lifts older
 * ones). Data hold strings, booleans and integers and nothing else, and keys are ASCII, so that a verifier in any
 * language computes the same canonical bytes. Parsed on every write and on every read: the schema is what stands
 * between a damaged body and a bill.
 */
import { z } from 'zod'

export const planNames = ['free', 'starter', 'standard', 'professional', 'business', 'enterprise'] as const
export const slots = ['primary', 'secondary'] as const

const uuid = z.uuid()
/** An instant as ISO 8601, UTC, millisecond precision: the one spelling, so that instants compare as strings. */
const instant = z.iso.datetime({ precision: 3 })
const yearMonth = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/)
const count = z.int().min(0)
const limit = z.int().min(1)
/** US dollars as a decimal string; never a float. */
const money = z.string().regex(/^\d+(\.\d+)?$/)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const plan = z.enum(planNames)
const slot = z.enum(slots)
const funding = z.enum(['credit', 'overage'])
const rectangle = z.strictObject({ x: count, y: count, width: count, height: count })

/** What AWS Marketplace knows the customer by. `none`: no marketplace; their overage is counted and never submitted. */
const licenceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({
    kind: z.literal('licence'),
    awsAccountId: z.string().regex(/^\d+$/),
    licenceArn: z.string().startsWith('arn:aws'),
    termStart: instant.optional(),
    termEnd: instant.optional(),
  }),
  z.strictObject({
    kind: z.literal('product'),
    productCode: z.string().min(1),
    customerIdentifier: z.string().min(1).optional(),
    awsAccountId: z.string().regex(/^\d+$/).optional(),
    termStart: instant.optional(),
    termEnd: instant.optional(),
  }),
])

const terms = {
  plan,
  monthlyLimit: limit,
  monthlyFee: money,
  overageUnitPrice: money,
}

const keySchema = z.strictObject({
  keyId: uuid,
  keyHash: sha256,
  prefix: z.string().length(8),
  issuedAt: instant,
  expiresAt: instant.optional(),
})
const keysSchema = z.strictObject({ primary: keySchema.optional(), secondary: keySchema.optional() })

const scheduledSchema = z.strictObject({
  ...terms,
  effectiveMonth: yearMonth,
  origin: z.enum(['operator', 'marketplace']),
})

const movingSchema = z.strictObject({ licence: licenceSchema, effectiveAt: instant, reason: z.string() })

const endedSchema = z.strictObject({ licence: licenceSchema, paidUntil: instant, reason: z.string() })

/** The verdict as stored: the answer's `data` object in integers, so that answer and log cannot disagree. */
const verdictSchema = z.strictObject({
  isFakeFace: z.boolean(),
  likelihoodMillionths: z.int().min(0).max(1_000_000),
  isValidFace: z.boolean(),
  brightnessHundredths: z.int().min(0).max(25_500),
  face: rectangle,
  faces: z.array(rectangle).min(1).max(64),
  msg: z.string(),
  latencyMs: count,
})

const every = { customerId: uuid, occurredAt: instant }

/** Event type → schema of its data. The names are for ever; a changed shape is a new version with an upcaster. */
export const customerEventData = {
  CustomerRegistered: z.strictObject({ ...every, ...terms, hardCap: z.boolean(), licence: licenceSchema }),
  ApiKeyIssued: z.strictObject({ ...every, slot, ...keySchema.omit({ issuedAt: true }).shape }),
  ApiKeyRegenerated: z.strictObject({
    ...every,
    slot,
    replacedKeyId: uuid,
    ...keySchema.omit({ issuedAt: true }).shape,
  }),
  ApiKeyDeactivated: z.strictObject({ ...every, slot, keyId: uuid, reason: z.string() }),
  HardCapEnabled: z.strictObject(every),
  HardCapDisabled: z.strictObject(every),
  PlanChanged: z.strictObject({ ...every, from: plan, ...terms, reason: z.string() }),
  MonthlyLimitChanged: z.strictObject({ ...every, from: limit, ...terms, reason: z.string() }),
  PlanChangeScheduled: z.strictObject({ ...every, ...scheduledSchema.shape }),
  ScheduledPlanChangeCancelled: z.strictObject({ ...every, plan, effectiveMonth: yearMonth }),
  LicenceChanged: z.strictObject({ ...every, licence: licenceSchema, reason: z.string() }),
  /** The licence takes over at the start of an hour: its calls are told to AWS by another kind of identity. */
  LicenceChangeScheduled: z.strictObject({ ...every, ...movingSchema.shape }),
  SubscriptionEnded: z.strictObject({ ...every, ...endedSchema.shape }),
  SubscriptionResumed: z.strictObject({ ...every, licence: licenceSchema }),
  CustomerDeactivated: z.strictObject({ ...every, reason: z.string() }),
  /** The opener. Carries everything the fold needs, so that a cold ledger reads backwards no further than this. */
  MonthlyCreditsGranted: z.strictObject({
    ...every,
    yearMonth,
    ...terms,
    hardCap: z.boolean(),
    keys: keysSchema,
    licence: licenceSchema,
    scheduled: scheduledSchema.optional(),
    ended: endedSchema.optional(),
    deactivated: z.boolean(),
  }),
  DetectionSucceeded: z.strictObject({
    ...every,
    detectionId: uuid,
    yearMonth,
    sequence: z.int().min(1),
    funding,
    plan,
    overageUnitPrice: money,
    bucketKey: z.string(),
    keyId: uuid,
    verdict: verdictSchema,
    modelSet: z.string(),
    modelVersion: z.string(),
    idempotency: z.strictObject({ key: sha256, body: sha256 }).optional(),
  }),
  DetectionReplayed: z.strictObject({ ...every, detectionId: uuid }),
  DetectionVoided: z.strictObject({
    ...every,
    detectionId: uuid,
    /** Revision of the voided DetectionSucceeded in this stream. */
    revision: count,
    yearMonth,
    funding,
    bucketKey: z.string(),
  }),
  /** Occupies the revision that an attempt in doubt aimed at, so that the attempt can never land. */
  AttemptFenced: z.strictObject({ ...every, firstEventId: uuid }),
} as const

export type CustomerEventType = keyof typeof customerEventData
export type DataOf<T extends CustomerEventType> = z.infer<(typeof customerEventData)[T]>
/** The discriminated union of all customer events. */
export type CustomerEvent = {
  [T in CustomerEventType]: { readonly type: T; readonly data: DataOf<T> }
}[CustomerEventType]

export type PlanName = (typeof planNames)[number]
export type Slot = (typeof slots)[number]
export type Licence = z.infer<typeof licenceSchema>
export type Verdict = z.infer<typeof verdictSchema>
export type Funding = z.infer<typeof funding>

/** Metadata of every event of ours. Strings only: KurrentDB's newer append APIs take nothing else. */
export const metadataSchema = z.strictObject({
  correlationId: z.string().min(1),
  causationId: z.string().min(1),
  /** `key:{keyId}`, `console:{userId}`, `operator`, `marketplace` or `system`; never an e-mail address. */
  actor: z.string().min(1),
  /** Version of the data's schema, a decimal integer. */
  schema: z.string().regex(/^[1-9]\d*$/),
  prevHash: z.union([sha256, z.literal('')]),
  hash: sha256,
})
export type Metadata = z.infer<typeof metadataSchema>

/** The current schema version of each type. Raise one together with an upcaster and a golden file. */
export const currentVersion: Readonly<Record<CustomerEventType, number>> = {
  CustomerRegistered: 1,
  ApiKeyIssued: 1,
  ApiKeyRegenerated: 1,
  ApiKeyDeactivated: 1,
  HardCapEnabled: 1,
  HardCapDisabled: 1,
  PlanChanged: 1,
  MonthlyLimitChanged: 1,
  PlanChangeScheduled: 1,
  ScheduledPlanChangeCancelled: 1,
  LicenceChanged: 1,
  LicenceChangeScheduled: 1,
  SubscriptionEnded: 1,
  SubscriptionResumed: 1,
  CustomerDeactivated: 1,
  MonthlyCreditsGranted: 1,
  DetectionSucceeded: 1,
  DetectionReplayed: 1,
  DetectionVoided: 1,
  AttemptFenced: 1,
}

export function isCustomerEventType(type: string): type is CustomerEventType {
  return Object.hasOwn(customerEventData, type)
}

export const customerStream = (customerId: string): string => `customer-${customerId}`
