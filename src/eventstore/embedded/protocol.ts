import shared from '@eventstore/db-client/generated/shared_pb.js'
import statusPb from '@eventstore/db-client/generated/status_pb.js'
import pb from '@eventstore/db-client/generated/streams_pb.js'
import { Metadata, status } from '@grpc/grpc-js'
import anyPb from 'google-protobuf/google/protobuf/any_pb.js'
import emptyPb from 'google-protobuf/google/protobuf/empty_pb.js'
import { type Expected, MAX_APPEND_BYTES, NO_REVISION, type ProposedEvent } from './model.ts'

/** Between the generated messages of EventStoreDB's protocol and our own words. */

const { ReadResp, BatchAppendResp } = pb

/** A .NET tick is 100 ns; EventStoreDB counts `created` in them from 1970. */
const TICKS_PER_MILLISECOND = 10_000n

/** The ReadResp message that will be sent for this event to every reader for ever. */
export function encodeEvent(
  event: ProposedEvent,
  stream: string,
  revision: bigint,
  position: bigint,
  createdMs: number,
): Buffer {
  const record = new ReadResp.ReadEvent.RecordedEvent()
  record.setId(uuid(event.id))
  record.setStreamIdentifier(streamIdentifier(stream))
  record.setStreamRevision(String(revision))
  record.setPreparePosition(String(position))
  record.setCommitPosition(String(position))
  const metadata = record.getMetadataMap()
  metadata.set('type', event.type)
  metadata.set('content-type', event.contentType)
  metadata.set('created', String(BigInt(createdMs) * TICKS_PER_MILLISECOND))
  record.setCustomMetadata(event.customMetadata)
  record.setData(event.data)
  const read = new ReadResp.ReadEvent()
  read.setEvent(record)
  read.setCommitPosition(String(position))
  return encode(new ReadResp().setEvent(read))
}

/** The body of a stored event. */
export function recordedData(message: Buffer): Uint8Array {
  return ReadResp.deserializeBinary(message).getEvent()?.getEvent()?.getData_asU8() ?? new Uint8Array()
}

/** All that its writer gave an event. */
export function recordedEvent(message: Buffer): {
  id: string
  contentType: string | undefined
  data: Uint8Array
  metadata: Uint8Array
} {
  const recorded = ReadResp.deserializeBinary(message).getEvent()?.getEvent()
  return {
    id: readUuid(recorded?.getId()),
    contentType: recorded?.getMetadataMap().get('content-type'),
    data: recorded?.getData_asU8() ?? new Uint8Array(),
    metadata: recorded?.getCustomMetadata_asU8() ?? new Uint8Array(),
  }
}

/** The id of a stored event. */
export function recordedId(message: Buffer): string {
  return readUuid(ReadResp.deserializeBinary(message).getEvent()?.getEvent()?.getId())
}

export function encodeConfirmation(subscriptionId: string): Buffer {
  return encode(
    new ReadResp().setConfirmation(new ReadResp.SubscriptionConfirmation().setSubscriptionId(subscriptionId)),
  )
}

export function encodeCheckpoint(position: bigint): Buffer {
  const checkpoint = new ReadResp.Checkpoint()
  checkpoint.setCommitPosition(String(position))
  checkpoint.setPreparePosition(String(position))
  return encode(new ReadResp().setCheckpoint(checkpoint))
}

export function encodeStreamNotFound(stream: string): Buffer {
  const notFound = new ReadResp.StreamNotFound()
  notFound.setStreamIdentifier(streamIdentifier(stream))
  return encode(new ReadResp().setStreamNotFound(notFound))
}

export const caughtUpMessage = encode(new ReadResp().setCaughtUp(new ReadResp.CaughtUp()))

/** What a batch append is answered with; the correlation id is the client's. */
export type BatchAnswer =
  | { readonly kind: 'appended'; readonly last: bigint; readonly position: bigint | undefined }
  | { readonly kind: 'wrong_version'; readonly current: bigint; readonly expected: Expected }
  | { readonly kind: 'deleted' }
  | { readonly kind: 'too_large' }
  | { readonly kind: 'bad_request'; readonly message: string }

export function encodeBatchAnswer(
  correlationId: shared.UUID | undefined,
  stream: string,
  answer: BatchAnswer,
): InstanceType<typeof BatchAppendResp> {
  const response = new BatchAppendResp()
  response.setCorrelationId(correlationId)
  response.setStreamIdentifier(streamIdentifier(stream))
  if (answer.kind === 'appended') {
    const success = new BatchAppendResp.Success()
    if (answer.last === NO_REVISION) success.setNoStream(new emptyPb.Empty())
    else success.setCurrentRevision(String(answer.last))
    if (answer.position === undefined) success.setNoPosition(new emptyPb.Empty())
    else {
      const position = new shared.AllStreamPosition()
      position.setCommitPosition(String(answer.position))
      position.setPreparePosition(String(answer.position))
      success.setPosition(position)
    }
    return response.setSuccess(success)
  }
  return response.setError(batchError(stream, answer))
}

function batchError(stream: string, answer: Exclude<BatchAnswer, { kind: 'appended' }>): statusPb.Status {
  switch (answer.kind) {
    case 'wrong_version': {
      const details = new shared.WrongExpectedVersion()
      if (answer.current === NO_REVISION) details.setCurrentNoStream(new emptyPb.Empty())
      else details.setCurrentStreamRevision(String(answer.current))
      if (answer.expected === 'any') details.setExpectedAny(new emptyPb.Empty())
      else if (answer.expected === 'no_stream') details.setExpectedNoStream(new emptyPb.Empty())
      else if (answer.expected === 'stream_exists') details.setExpectedStreamExists(new emptyPb.Empty())
      else details.setExpectedStreamPosition(String(answer.expected))
      return rpcStatus(status.ALREADY_EXISTS, 'WrongExpectedVersion', 'WrongExpectedVersion', details)
    }
    case 'deleted': {
      const details = new shared.StreamDeleted()
      details.setStreamIdentifier(streamIdentifier(stream))
      return rpcStatus(status.FAILED_PRECONDITION, 'StreamDeleted', 'StreamDeleted', details)
    }
    case 'too_large': {
      const details = new shared.MaximumAppendSizeExceeded()
      details.setMaxappendsize(MAX_APPEND_BYTES)
      return rpcStatus(
        status.INVALID_ARGUMENT,
        `Maximum append size of ${MAX_APPEND_BYTES} bytes exceeded`,
        'MaximumAppendSizeExceeded',
        details,
      )
    }
    case 'bad_request': {
      const details = new shared.BadRequest()
      details.setMessage(answer.message)
      return rpcStatus(status.INVALID_ARGUMENT, answer.message, 'BadRequest', details)
    }
  }
}

function rpcStatus(
  code: number,
  message: string,
  typeName: string,
  details: { serializeBinary(): Uint8Array },
): statusPb.Status {
  const packed = new anyPb.Any()
  packed.pack(details.serializeBinary(), `event_store.client.${typeName}`)
  const result = new statusPb.Status()
  result.setCode(code)
  result.setMessage(message)
  return result.setDetails(packed)
}

/** An error that ends a call, in the shape grpc-js sends. */
export interface CallError {
  readonly code: status
  readonly details: string
  readonly metadata?: Metadata
}

/** Thrown through a handler to end its call with this error. */
export class Refused extends Error {
  readonly call: CallError
  constructor(call: CallError) {
    super(call.details)
    this.call = call
  }
}

/** EventStoreDB names the kind of an error, and its particulars, in trailing metadata. */
export function exception(
  code: status,
  details: string,
  kind: string,
  particulars: Readonly<Record<string, string>>,
): CallError {
  const metadata = new Metadata()
  metadata.set('exception', kind)
  // gRPC metadata are ASCII. The client only shows these values, so another sign in a stream's name may be lost.
  for (const [key, value] of Object.entries(particulars)) metadata.set(key, value.replace(/[^\x20-\x7e]/g, '?'))
  return { code, details, metadata }
}

export function streamDeleted(stream: string): CallError {
  return exception(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, 'stream-deleted', {
    'stream-name': stream,
  })
}

export function appendTooLarge(): CallError {
  return exception(
    status.INVALID_ARGUMENT,
    `Maximum append size of ${MAX_APPEND_BYTES} bytes exceeded.`,
    'maximum-append-size-exceeded',
    { 'maximum-append-size': String(MAX_APPEND_BYTES) },
  )
}

const EXPECTED_NUMBERS = { no_stream: -1n, any: -2n, stream_exists: -4n } as const

export function wrongExpectedVersion(stream: string, expected: Expected, current: bigint): CallError {
  const number = typeof expected === 'bigint' ? expected : EXPECTED_NUMBERS[expected]
  return exception(
    status.FAILED_PRECONDITION,
    `Wrong expected version of stream '${stream}': expected ${number}, is ${current}.`,
    'wrong-expected-version',
    {
      'stream-name': stream,
      'expected-version': String(number),
      ...(current === NO_REVISION ? {} : { 'actual-version': String(current) }),
    },
  )
}

export function proposedEvent(message: InstanceType<typeof pb.BatchAppendReq.ProposedMessage>): ProposedEvent {
  const metadata = message.getMetadataMap()
  return {
    id: readUuid(message.getId()),
    type: metadata.get('type') ?? '',
    contentType: metadata.get('content-type') ?? 'application/octet-stream',
    data: message.getData_asU8(),
    customMetadata: message.getCustomMetadata_asU8(),
  }
}

/** Bytes of an event as EventStoreDB counts them against the limit. */
export function eventBytes(event: ProposedEvent): number {
  return event.data.length + event.customMetadata.length + event.type.length * 2
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
/** A name must fit into an entry of Postgres's index, which is some 2,700 bytes. */
const MAX_STREAM_NAME_BYTES = 2_048

/** What would make Postgres refuse a whole group of appends is refused here, alone. Undefined: nothing is wrong. */
export function problemWith(stream: string, events: readonly ProposedEvent[]): string | undefined {
  if (stream === '' || stream === '$all') return `'${stream}' is not the name of a stream to write to`
  if (stream.includes('\0')) return 'A stream name must not contain NUL'
  if (Buffer.byteLength(stream) > MAX_STREAM_NAME_BYTES) return 'The stream name is too long'
  for (const event of events) {
    if (!UUID.test(event.id)) return `'${event.id}' is not a UUID`
    if (event.type === '' || event.type.includes('\0')) return 'An event needs a type, and it must not contain NUL'
  }
  return undefined
}

export function streamName(identifier: shared.StreamIdentifier | undefined): string {
  return Buffer.from(identifier?.getStreamName_asU8() ?? []).toString('utf8')
}

function streamIdentifier(stream: string): shared.StreamIdentifier {
  const identifier = new shared.StreamIdentifier()
  identifier.setStreamName(Buffer.from(stream, 'utf8'))
  return identifier
}

function uuid(text: string): shared.UUID {
  const id = new shared.UUID()
  id.setString(text)
  return id
}

/** Ids arrive as text or as two signed 64-bit halves; kept in lower case, as Postgres returns them. */
export function readUuid(id: shared.UUID | undefined): string {
  const halves = id?.getStructured()
  if (halves === undefined) return (id?.getString() ?? '').toLowerCase()
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(halves.getMostSignificantBits())), 0)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, BigInt(halves.getLeastSignificantBits())), 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function encode(message: { serializeBinary(): Uint8Array }): Buffer {
  const bytes = message.serializeBinary()
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
