import { ServerFeaturesService } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js'
import features from '@eventstore/db-client/generated/serverfeatures_pb.js'
import { StreamsService } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import type pb from '@eventstore/db-client/generated/streams_pb.js'
import {
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import type { Pool } from 'pg'
import { handleAppend, handleDelete, handleTombstone } from './append-calls.ts'
import { handleBatchAppend } from './batch-append.ts'
import { type Log, LogUnavailable } from './model.ts'
import { type CallError, Refused } from './protocol.ts'
import { handleRead, type ReadCall } from './read-calls.ts'
import type { Writer } from './writer.ts'

/** What clients are told the server is. They ask for methods, not for the version. */
const SERVER_VERSION = '23.10.0-embedded'

/** Longer than any message a client sends (it cuts its batches at 3 MiB), so that the size limit is what answers. */
const MAX_MESSAGE_BYTES = 17 * 1024 * 1024

/** A client that does not answer a ping within 20 seconds is gone, and its subscriptions end. */
const KEEPALIVE_MS = 10_000

/** Reads hand over messages that were encoded when they were written. */
const streamsDefinition = {
  ...StreamsService,
  read: { ...StreamsService.read, responseSerialize: (message: Buffer) => message },
}

interface Source {
  readonly pool: Pool
  readonly writer: Writer
}

/** The gRPC server: EventStoreDB's Streams service, and the list of methods that clients ask for first. */
export function createService(source: Source, log: Log): Server {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_MS,
  })
  const { writer } = source

  function callError(error: unknown): CallError {
    if (error instanceof Refused) return error.call
    if (error instanceof LogUnavailable) return { code: status.UNAVAILABLE, details: error.message }
    log.error(`A call failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    return { code: status.INTERNAL, details: 'Internal error' }
  }

  function unary<Request, Response>(handle: (request: Request) => Promise<Response>) {
    return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => {
      handle(call.request).then(
        (response) => callback(null, response),
        (error) => callback(callError(error)),
      )
    }
  }

  server.addService(streamsDefinition, {
    read: (call: ReadCall) => {
      handleRead(source, call).then(
        () => call.end(),
        (error) => call.emit('error', callError(error)),
      )
    },
    append: (call: ServerReadableStream<pb.AppendReq, pb.AppendResp>, callback: sendUnaryData<pb.AppendResp>) => {
      handleAppend(writer, call).then(
        (response) => callback(null, response),
        (error) => callback(callError(error)),
      )
    },
    batchAppend: (call: ServerDuplexStream<pb.BatchAppendReq, pb.BatchAppendResp>) => handleBatchAppend(writer, call),
    delete: unary<pb.DeleteReq, pb.DeleteResp>((request) => handleDelete(writer, request)),
    tombstone: unary<pb.TombstoneReq, pb.TombstoneResp>((request) => handleTombstone(writer, request)),
  })
  server.addService(ServerFeaturesService, {
    getSupportedMethods: unary(async () => supportedMethods()),
  })
  return server
}

function supportedMethods(): features.SupportedMethods {
  const supported = new features.SupportedMethods()
  supported.setEventStoreServerVersion(SERVER_VERSION)
  for (const { path } of Object.values(StreamsService)) {
    const [, service = '', method = ''] = path.split('/')
    const entry = new features.SupportedMethod()
    entry.setServiceName(service.toLowerCase())
    entry.setMethodName(method.toLowerCase())
    supported.addMethods(entry)
  }
  return supported
}
