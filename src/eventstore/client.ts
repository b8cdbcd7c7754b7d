import { sendAttempt } from './append.ts'
import { openConnection } from './connection.ts'
import { readAllEvents, readEvents } from './read.ts'
import type { EventStore } from './store.ts'
import { subscribeToEvents } from './subscribe.ts'

/** A healthy server answers a read in milliseconds; after this silence it is taken for unavailable. */
const READ_SILENCE_MS = 5_000

/**
 * The event store behind an esdb:// connection string, through @eventstore/db-client. Nothing is connected before the
 * first call, and a lost connection is made anew by the next. Two stores of one address share one client.
 *
 * @throws Error when the connection string cannot be read
 */
export function connectEventStore(
  connectionString: string,
  { readSilenceMs = READ_SILENCE_MS }: { readonly readSilenceMs?: number } = {},
): EventStore {
  const connection = openConnection(connectionString)
  const silenceMs = readSilenceMs
  return {
    send: (attempt, deadlineMs) => sendAttempt(connection, attempt, deadlineMs),
    readForward: (stream, from, maxCount) =>
      readEvents(connection, stream, { direction: 'forwards', from, maxCount, silenceMs }),
    readBackward: (stream, maxCount, from) =>
      readEvents(connection, stream, { direction: 'backwards', from, maxCount, silenceMs }),
    readAll: (options) => readAllEvents(connection, options, silenceMs),
    subscribe: (options) => subscribeToEvents(connection, options),
    close: () => connection.release(),
  }
}
