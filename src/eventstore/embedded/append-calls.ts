import { randomUUID } from 'node:crypto'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import pb from '@eventstore/db-client/generated/streams_pb.js'
import { type ServerReadableStream, status } from '@grpc/grpc-js'
import { type AppendResult, type Expected, MAX_APPEND_BYTES, NO_REVISION, type ProposedEvent } from './model.ts'
import {
  appendTooLarge,
  eventBytes,
  problemWith,
  proposedEvent,
  Refused,
  streamDeleted,
  streamName,
  wrongExpectedVersion,
} from './protocol.ts'
import type { Writer } from './writer.ts'

/** The calls that write one thing: a single append, a deletion, a tombstone. */

type WithExpected =
  | InstanceType<typeof pb.AppendReq.Options>
  | InstanceType<typeof pb.DeleteReq.Options>
  | InstanceType<typeof pb.TombstoneReq.Options>

export async function handleAppend(
  writer: Writer,
  call: ServerReadableStream<pb.AppendReq, pb.AppendResp>,
): Promise<pb.AppendResp> {
  let options: InstanceType<typeof pb.AppendReq.Options> | undefined
  const events: ProposedEvent[] = []
  let bytes = 0
  for await (const request of call as AsyncIterable<pb.AppendReq>) {
    options ??= request.getOptions()
    const message = request.getProposedMessage()
    if (message === undefined) continue
    const event = proposedEvent(message)
    events.push(event)
    bytes += eventBytes(event)
    if (bytes > MAX_APPEND_BYTES) throw new Refused(appendTooLarge())
  }
  if (options === undefined) throw invalid('An append begins with its options')
  const stream = streamName(options.getStreamIdentifier())
  const problem = problemWith(stream, events)
  if (problem !== undefined) throw invalid(problem)
  const expected = readExpected(options)
  const result = await writer.append({ stream, expected, events, bytes })
  if (result.kind === 'deleted') throw new Refused(streamDeleted(stream))
  if (result.kind === 'wrong_version') return wrongVersion(expected, result.current)
  return appended(result)
}

function appended({ last, position }: Extract<AppendResult, { kind: 'appended' }>): pb.AppendResp {
  const success = new pb.AppendResp.Success()
  if (last === NO_REVISION) success.setNoStream(new shared.Empty())
  else success.setCurrentRevision(String(last))
  if (position === undefined) success.setNoPosition(new shared.Empty())
  else {
    const message = new pb.AppendResp.Position()
    message.setCommitPosition(String(position))
    message.setPreparePosition(String(position))
    success.setPosition(message)
  }
  return new pb.AppendResp().setSuccess(success)
}

function wrongVersion(expected: Expected, current: bigint): pb.AppendResp {
  const wrong = new pb.AppendResp.WrongExpectedVersion()
  if (current === NO_REVISION) wrong.setCurrentNoStream(new shared.Empty())
  else wrong.setCurrentRevision(String(current))
  if (expected === 'any') wrong.setExpectedAny(new shared.Empty())
  else if (expected === 'no_stream') wrong.setExpectedNoStream(new shared.Empty())
  else if (expected === 'stream_exists') wrong.setExpectedStreamExists(new shared.Empty())
  else wrong.setExpectedRevision(String(expected))
  return new pb.AppendResp().setWrongExpectedVersion(wrong)
}

/** Hides the stream's events; their numbers are not used again, and a later append brings the stream back. */
export async function handleDelete(writer: Writer, request: pb.DeleteReq): Promise<pb.DeleteResp> {
  const response = new pb.DeleteResp()
  const position = await remove(writer, request.getOptions(), 'soft')
  if (position === undefined) return response.setNoPosition(new shared.Empty())
  const message = new pb.DeleteResp.Position()
  message.setCommitPosition(String(position))
  message.setPreparePosition(String(position))
  return response.setPosition(message)
}

/** Ends the stream for ever with a tombstone event. */
export async function handleTombstone(writer: Writer, request: pb.TombstoneReq): Promise<pb.TombstoneResp> {
  const response = new pb.TombstoneResp()
  const position = await remove(writer, request.getOptions(), 'hard')
  if (position === undefined) return response.setNoPosition(new shared.Empty())
  const message = new pb.TombstoneResp.Position()
  message.setCommitPosition(String(position))
  message.setPreparePosition(String(position))
  return response.setPosition(message)
}

async function remove(
  writer: Writer,
  options: InstanceType<typeof pb.DeleteReq.Options> | InstanceType<typeof pb.TombstoneReq.Options> | undefined,
  deletion: 'soft' | 'hard',
): Promise<bigint | undefined> {
  if (options === undefined) throw invalid('A deletion needs options')
  const stream = streamName(options.getStreamIdentifier())
  const problem = problemWith(stream, [])
  if (problem !== undefined) throw invalid(problem)
  const expected = readExpected(options)
  const result = await writer.append({
    stream,
    expected,
    events: deletion === 'soft' ? [] : [tombstone()],
    bytes: 0,
    deletion,
  })
  if (result.kind === 'deleted') throw new Refused(streamDeleted(stream))
  if (result.kind === 'wrong_version') throw new Refused(wrongExpectedVersion(stream, expected, result.current))
  return result.position
}

function tombstone(): ProposedEvent {
  return {
    id: randomUUID(),
    type: '$streamDeleted',
    contentType: 'application/octet-stream',
    data: new Uint8Array(),
    customMetadata: new Uint8Array(),
  }
}

function readExpected(options: WithExpected): Expected {
  if (options.hasRevision()) return BigInt(options.getRevision())
  if (options.hasNoStream()) return 'no_stream'
  if (options.hasStreamExists()) return 'stream_exists'
  return 'any'
}

function invalid(details: string): Refused {
  return new Refused({ code: status.INVALID_ARGUMENT, details })
}
