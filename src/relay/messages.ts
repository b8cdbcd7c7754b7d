/**
 * Wire format of the topic `liveness.billing.v1`: one message per item. The key is the customer's id; watermarks have
 * none. What identifies an event stands in the headers; the value is JSON with the event's data and metadata as stored,
 * so that the hash of the received event can still be verified. Integers are decimal strings: JSON has none of 64 bits.
 */
import { z } from 'zod'
import { customerOf, type FeedItem, partitionOf } from './feed.ts'

/** A message to send; its partition is always explicit, for kafkajs would choose anew at each retry. */
export interface OutgoingMessage {
  readonly partition: number
  readonly key: string | null
  readonly value: string
  readonly headers: Record<string, string>
}

/** A message as kafkajs hands it over. */
export interface ReceivedMessage {
  readonly partition: number
  readonly offset: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>> | undefined
}

/** A message of the topic that is none of ours. It stops its partition: skipping it would bill from a hole. */
export class UnreadableMessage extends Error {
  override name = 'UnreadableMessage'
  readonly partition: number
  readonly offset: string

  constructor({ partition, offset }: { partition: number; offset: string }, cause: unknown) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause instanceof Error ? cause.message : cause
    super(`cannot read the message at partition ${partition} offset ${offset}: ${why}`, { cause })
    this.partition = partition
    this.offset = offset
  }
}

/** `type` header of a watermark. No event has it: a type is one word of letters. */
const watermarkType = '$watermark'

export function messageOf(item: FeedItem): OutgoingMessage {
  const { partition } = item
  if (item.kind === 'watermark') {
    const { through, count, position } = item
    return {
      partition,
      key: null,
      headers: { type: watermarkType, commit: `${position.commit}`, prepare: `${position.prepare}` },
      value: JSON.stringify({ through, count: `${count}` }),
    }
  }
  const { stream, revision, id, type, data, metadata, created, position } = item.event
  return {
    partition,
    key: item.customerId,
    headers: {
      stream,
      revision: `${revision}`,
      eventId: id,
      type,
      schema: schemaOf(metadata),
      commit: `${position.commit}`,
      prepare: `${position.prepare}`,
    },
    value: JSON.stringify({ data, metadata, created: created.toISOString() }),
  }
}

/** For whoever looks at the topic with Kafka's own tools; the metadata inside the value are what counts. */
function schemaOf(metadata: unknown): string {
  return typeof metadata === 'object' && metadata !== null && 'schema' in metadata ? String(metadata.schema) : ''
}

const natural = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt)
const instant = z.iso.datetime({ precision: 3 })
const eventHeaders = z.object({
  stream: z.string(),
  revision: natural,
  eventId: z.uuid(),
  type: z.string().min(1),
  commit: natural,
  prepare: natural,
})
const eventValue = z.strictObject({
  data: z.unknown(),
  metadata: z.unknown(),
  created: instant.transform((created) => new Date(created)),
})
const watermarkHeaders = z.strictObject({ type: z.literal(watermarkType), commit: natural, prepare: natural })
const watermarkValue = z.strictObject({ through: instant, count: natural })

/** The item that a message carries. @throws UnreadableMessage naming partition and offset */
export function parseMessage(message: ReceivedMessage): FeedItem {
  try {
    const headers = Object.fromEntries(
      Object.entries(message.headers ?? {}).map(([name, value]) => [name, value?.toString()]),
    )
    const value: unknown = JSON.parse(message.value?.toString() ?? '')
    return headers.type === watermarkType
      ? parseWatermark(message, headers, value)
      : parseEvent(message, headers, value)
  } catch (cause) {
    throw new UnreadableMessage(message, cause)
  }
}

function parseEvent({ key, partition }: ReceivedMessage, header: unknown, value: unknown): FeedItem {
  const { stream, revision, eventId, type, commit, prepare } = eventHeaders.parse(header)
  const { data, metadata, created } = eventValue.parse(value)
  const customerId = customerOf(stream)
  if (customerId === null || key?.toString() !== customerId) {
    throw new Error(`its key ${key?.toString() ?? 'null'} is not the customer of ${stream}`)
  }
  if (partitionOf(customerId) !== partition)
    throw new Error(`${stream} belongs to partition ${partitionOf(customerId)}`)
  const event = { stream, revision, id: eventId, type, data, metadata, created, position: { commit, prepare } }
  return { kind: 'event', partition, customerId, event }
}

function parseWatermark({ partition }: ReceivedMessage, header: unknown, value: unknown): FeedItem {
  const { commit, prepare } = watermarkHeaders.parse(header)
  const { through, count } = watermarkValue.parse(value)
  return { kind: 'watermark', partition, through, position: { commit, prepare }, count }
}
