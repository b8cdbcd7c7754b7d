import { BACKWARDS, END, FORWARDS, type ResolvedEvent, START, StreamNotFoundError } from '@eventstore/db-client'
import type { Connection } from './connection.ts'
import { type EventStore, EventStoreUnavailable, type PositionedEvent, type StoredEvent } from './store.ts'

type StreamingRead = ReturnType<Connection['client']['readStream']> | ReturnType<Connection['client']['readAll']>

/** Events buffered ahead of the caller: enough to keep the decoder busy, few enough to be small. */
export const READ_AHEAD = 256

/**
 * Reads one stream. Ends silently when there is no such stream, or it was deleted.
 * @throws EventStoreUnavailable also when the server says nothing for `silenceMs`
 */
export async function* readEvents(
  connection: Connection,
  stream: string,
  options: {
    readonly direction: 'forwards' | 'backwards'
    readonly from: bigint | undefined
    readonly maxCount: number | undefined
    readonly silenceMs: number
  },
): AsyncGenerator<StoredEvent, void, void> {
  if (options.maxCount !== undefined && options.maxCount <= 0) return
  const forwards = options.direction === 'forwards'
  const events = connection.client.readStream(
    stream,
    {
      direction: forwards ? FORWARDS : BACKWARDS,
      fromRevision: options.from ?? (forwards ? 0n : END),
      ...(options.maxCount === undefined ? {} : { maxCount: options.maxCount }),
    },
    { highWaterMark: READ_AHEAD },
  )
  const silence = watchSilence(events, options.silenceMs)
  try {
    for await (const resolved of events) {
      silence.heard()
      yield toStoredEvent(resolved)
      silence.listen()
    }
  } catch (error) {
    if (error instanceof StreamNotFoundError) return
    throw unavailable(error)
  } finally {
    silence.stop()
    cancelQuietly(events.cancel())
  }
}

/**
 * Reads $all up to its present end. Filtered here: a filtered read of $all is not known to every server we speak to.
 * @throws EventStoreUnavailable also when the server says nothing for `silenceMs`
 */
export async function* readAllEvents(
  connection: Connection,
  { prefixes, after }: Parameters<EventStore['readAll']>[0],
  silenceMs: number,
): AsyncGenerator<PositionedEvent, void, void> {
  const events = connection.client.readAll(
    { direction: FORWARDS, fromPosition: after ?? START },
    { highWaterMark: READ_AHEAD },
  )
  const silence = watchSilence(events, silenceMs)
  try {
    for await (const resolved of events) {
      silence.heard()
      const stream = resolved.event?.streamId
      if (stream !== undefined && prefixes.some((prefix) => stream.startsWith(prefix))) {
        const event = toPositionedEvent(resolved)
        // The read begins at the position given, with the event that stands there.
        if (after === undefined || event.position.prepare > after.prepare) yield event
      }
      silence.listen()
    }
  } catch (error) {
    throw unavailable(error)
  } finally {
    silence.stop()
    cancelQuietly(events.cancel())
  }
}

/**
 * Ends a read when the server has been silent for `silenceMs` while the caller was waiting: the client's reads have no
 * deadline. One timer for the whole read, which is set again only when it goes off.
 */
function watchSilence(events: StreamingRead, silenceMs: number) {
  let waitingSince: number | undefined = performance.now()
  let timer = setTimeout(check, silenceMs)
  // The call may fail once more after the reader has left; nobody listens then, which would end the process.
  events.on('error', () => undefined)

  function check(): void {
    const silentMs = waitingSince === undefined ? 0 : performance.now() - waitingSince
    if (silentMs >= silenceMs) events.destroy(new Error(`The event store said nothing for ${silenceMs} ms`))
    else timer = setTimeout(check, silenceMs - silentMs)
  }
  return {
    heard() {
      waitingSince = undefined
    },
    listen() {
      waitingSince = performance.now()
    },
    stop() {
      clearTimeout(timer)
    },
  }
}

function toStoredEvent({ event }: ResolvedEvent): StoredEvent {
  if (event === undefined) throw new EventStoreUnavailable('The event store sent an event without a body')
  return {
    stream: event.streamId,
    revision: event.revision,
    id: event.id,
    type: event.type,
    data: event.data,
    metadata: event.metadata,
    created: event.created,
  }
}

/** Written out, and not made of `toStoredEvent`: it runs for every event of a catch-up. */
export function toPositionedEvent({ event }: ResolvedEvent): PositionedEvent {
  if (event?.position === undefined) throw new EventStoreUnavailable('The event store sent an event without a position')
  return {
    stream: event.streamId,
    revision: event.revision,
    id: event.id,
    type: event.type,
    data: event.data,
    metadata: event.metadata,
    created: event.created,
    position: event.position,
  }
}

export function unavailable(error: unknown): EventStoreUnavailable {
  if (error instanceof EventStoreUnavailable) return error
  return new EventStoreUnavailable(error instanceof Error ? error.message : String(error), { cause: error })
}

/** Cancelling a call that never came to be rejects, and there is nothing to cancel then. */
export function cancelQuietly(cancelled: Promise<unknown>): void {
  cancelled.catch(() => undefined)
}
