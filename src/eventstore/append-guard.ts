import type { Duplex } from 'node:stream'
import type { EventStoreDBClient } from '@eventstore/db-client'

/** The part of the client's inside that the guard takes hold of; version 6.2.1, src/Client/index.ts. */
interface Inside {
  GRPCStreamCreator: (
    stub: unknown,
    name: string,
    create: (stub: unknown) => Duplex | Promise<Duplex>,
    cache?: unknown,
  ) => () => Promise<Duplex>
}

/**
 * Keeps the client's batch appends from ending the process (read in @eventstore/db-client 6.2.1,
 * streams/appendToStream/batchAppend.ts and utils/backpressuredWrite.ts; the package itself stays as it is).
 *
 * Appends in flight stand in one map per process. An error of any connection rejects and forgets them all.
 * 1. An answer that still arrives, over another connection, finds nothing and throws a TypeError inside a 'data'
 *    handler, where nobody catches it. The guard lets such answers fall: their appends have ended as unknown.
 * 2. Messages that wait for 'drain' are rejected inside an async function nobody awaits, when the connection breaks.
 *    The guard reports every write as taken at once, so that nothing waits there: the call's own buffer holds it, and
 *    goes with the connection. What is in flight is bounded by the callers.
 */
export function guardAppends(client: EventStoreDBClient): void {
  const inside = client as unknown as Inside
  const createStream = inside.GRPCStreamCreator
  if (typeof createStream !== 'function') throw new Error('This version of @eventstore/db-client cannot be guarded')
  inside.GRPCStreamCreator = (stub, name, create, cache) =>
    name === 'appendToStream'
      ? createStream(stub, name, async (grpcClient) => guardStream(await create(grpcClient)), cache)
      : createStream(stub, name, create, cache)
}

/** `create` has just attached the client's handler; no answer can have come yet. */
function guardStream(stream: Duplex): Duplex {
  for (const deliver of stream.listeners('data')) {
    stream.off('data', deliver as () => void)
    stream.on('data', (answer: unknown) => {
      try {
        deliver.call(stream, answer)
      } catch {
        // Nobody waits for this answer any more, or it cannot be read: its append ends, or has ended, as unknown.
      }
    })
  }
  const write = stream.write.bind(stream) as (message: unknown) => boolean
  stream.write = (message: unknown) => {
    write(message)
    return true
  }
  return stream
}
