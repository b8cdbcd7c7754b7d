/**
 * A bundle: one file that holds a customer's month, the anchors around it and a signature; docs/audit.md is its
 * specification. Each line is the RFC 8785 form of one object and ends with a line feed; parts come in this order.
 */
import { z } from 'zod'
import { inclusionSchema, signedSchema } from './anchor.ts'

export const bundleFormat = 'liveness-bundle/1'
export const partNames = ['anchors', 'metering', 'event', 'statement'] as const
export type PartName = (typeof partNames)[number]

const decimal = z.string().regex(/^(0|[1-9]\d*)$/)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
export const yearMonthSchema = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/)

/** A head with its way to the root of the anchor beside it. */
const memberSchema = inclusionSchema.omit({ anchor: true })
/** One anchor, and what it knew of the customer. */
const anchoredPointSchema = z.strictObject({
  anchor: signedSchema,
  customer: memberSchema,
  metering: memberSchema,
})

/** An event as it is stored; the revision is a decimal string. */
const bundledEventSchema = z.strictObject({
  stream: z.string(),
  revision: decimal,
  id: z.string(),
  type: z.string(),
  data: z.record(z.string(), z.unknown()),
  metadata: z.record(z.string(), z.unknown()),
})

export const manifestSchema = z.strictObject({
  format: z.literal(bundleFormat),
  customerId: z.uuid(),
  month: yearMonthSchema,
  createdAt: z.iso.datetime({ precision: 3 }),
  /** In the order of the file. `bytes` and `sha256` are over whole lines, line feeds included. */
  parts: z.array(z.strictObject({ part: z.enum(partNames), lines: z.int().min(0), bytes: z.int().min(0), sha256 })),
  /** SHA-256 of the public key's SPKI DER: which key signed. */
  key: sha256,
})

export const lineSchema = z.discriminatedUnion('part', [
  z.strictObject({
    part: z.literal('anchors'),
    customerId: z.uuid(),
    month: yearMonthSchema,
    /** Absent when the bundle begins with the stream's first event. */
    before: anchoredPointSchema.optional(),
    after: anchoredPointSchema,
  }),
  z.strictObject({ part: z.literal('metering'), event: bundledEventSchema }),
  z.strictObject({ part: z.literal('event'), event: bundledEventSchema }),
  z.strictObject({ part: z.literal('statement'), statement: z.record(z.string(), z.unknown()) }),
  /** The last line. The signature is over the RFC 8785 form of `manifest`. */
  z.strictObject({ part: z.literal('manifest'), manifest: manifestSchema, signature: z.base64() }),
])

export type AnchoredPoint = z.infer<typeof anchoredPointSchema>
export type Member = z.infer<typeof memberSchema>
export type BundledEvent = z.infer<typeof bundledEventSchema>
export type Manifest = z.infer<typeof manifestSchema>
export type BundleLine = z.infer<typeof lineSchema>
export type AnchorsLine = Extract<BundleLine, { part: 'anchors' }>
