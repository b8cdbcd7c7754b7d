import type shared from '@eventstore/db-client/generated/shared_pb.js'
import type pb from '@eventstore/db-client/generated/streams_pb.js'
import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import { type Expected, MAX_APPEND_BYTES, type ProposedEvent } from './model.ts'
import {
  type BatchAnswer,
  encodeBatchAnswer,
  eventBytes,
  problemWith,
  proposedEvent,
  readUuid,
  streamName,
} from './protocol.ts'
import type { Writer } from './writer.ts'

type BatchCall = ServerDuplexStream<pb.BatchAppendReq, pb.BatchAppendResp>
type Options = InstanceType<typeof pb.BatchAppendReq.Options>

/** An append that came in part; a large one is sent in several messages. */
interface PartialAppend {
  readonly stream: string
  readonly expected: Expected
  readonly events: ProposedEvent[]
  bytes: number
}

/** Appends of one call that have begun and are not complete; a client sends them one after the other. */
const MAX_PARTIAL_APPENDS = 64

/**
 * Many appends over one call, each answered after its commit. A commit whose outcome is unknown ends the call with
 * UNAVAILABLE, so that the client knows at once that all its unanswered appends are in doubt.
 */
export function handleBatchAppend(writer: Writer, call: BatchCall): void {
  const partial = new Map<string, PartialAppend>()
  const unanswered = new Set<Promise<void>>()
  let over = false

  call.on('cancelled', () => {
    over = true
  })
  call.on('data', (request: pb.BatchAppendReq) => {
    if (over) return
    accept(request)
    const room = writer.hasRoom()
    if (room === undefined) return
    call.pause()
    void room.then(() => call.resume())
  })
  call.on('end', async () => {
    await Promise.all(unanswered)
    if (!over) call.end()
  })

  function accept(request: pb.BatchAppendReq): void {
    const correlationId = request.getCorrelationId()
    const key = readUuid(correlationId)
    const append = partial.get(key) ?? begin(request.getOptions())
    if (append === undefined) return // the rest of an append that was refused already
    partial.set(key, append)
    for (const message of request.getProposedMessagesList()) {
      const event = proposedEvent(message)
      append.events.push(event)
      append.bytes += eventBytes(event)
    }
    const refusal = refusalOf(append)
    if (refusal === undefined && !request.getIsFinal()) return
    partial.delete(key)
    if (refusal !== undefined) {
      answer(correlationId, append.stream, refusal)
      return
    }
    const ending = send(correlationId, append).finally(() => unanswered.delete(ending))
    unanswered.add(ending)
  }

  function begin(options: Options | undefined): PartialAppend | undefined {
    if (options === undefined) return undefined
    const stream = streamName(options.getStreamIdentifier())
    return { stream, expected: readExpected(options), events: [], bytes: 0 }
  }

  function refusalOf(append: PartialAppend): BatchAnswer | undefined {
    if (append.bytes > MAX_APPEND_BYTES) return { kind: 'too_large' }
    const problem = problemWith(append.stream, append.events)
    if (problem !== undefined) return { kind: 'bad_request', message: problem }
    if (partial.size > MAX_PARTIAL_APPENDS) return { kind: 'bad_request', message: 'Too many unfinished appends' }
    return undefined
  }

  async function send(correlationId: shared.UUID | undefined, append: PartialAppend): Promise<void> {
    try {
      const result = await writer.append(append)
      const { expected } = append
      answer(correlationId, append.stream, result.kind === 'wrong_version' ? { ...result, expected } : result)
    } catch (error) {
      if (over) return
      over = true
      call.emit('error', { code: status.UNAVAILABLE, details: error instanceof Error ? error.message : String(error) })
    }
  }

  function answer(correlationId: shared.UUID | undefined, stream: string, what: BatchAnswer): void {
    if (!over) call.write(encodeBatchAnswer(correlationId, stream, what))
  }
}

function readExpected(options: Options): Expected {
  if (options.hasStreamPosition()) return BigInt(options.getStreamPosition())
  if (options.hasNoStream()) return 'no_stream'
  if (options.hasStreamExists()) return 'stream_exists'
  return 'any'
}
