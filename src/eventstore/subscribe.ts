import { eventTypeFilter, type ResolvedEvent, START, streamNameFilter } from '@eventstore/db-client'
import type { Connection } from './connection.ts'
import { cancelQuietly, READ_AHEAD, toPositionedEvent, unavailable } from './read.ts'
import type { EventStore, PositionedEvent, Wanted } from './store.ts'

/**
 * A checkpoint of the server runs ahead of the reader and is never used, so few are asked for: one in so many times
 * 32 events looked at.
 */
const CHECKPOINT_INTERVAL = 1_000

const filterOf = (wanted: Wanted) =>
  'types' in wanted
    ? eventTypeFilter({ regex: `^(${wanted.types.join('|')})$`, checkpointInterval: CHECKPOINT_INTERVAL })
    : streamNameFilter({ prefixes: [...wanted.prefixes], checkpointInterval: CHECKPOINT_INTERVAL })

/**
 * Follows $all for ever. The one position that counts is that of the event in hand.
 *
 * Events are taken from the client's buffer as long as it has any, without a promise for each; the buffer fills only
 * as fast as it is emptied, which holds back the server.
 */
export async function* subscribeToEvents(
  connection: Connection,
  { after, signal, ...wanted }: Parameters<EventStore['subscribe']>[0],
): AsyncGenerator<PositionedEvent, void, void> {
  if (signal.aborted) return
  const subscription = connection.client.subscribeToAll(
    {
      fromPosition: after ?? START,
      filter: filterOf(wanted),
    },
    { highWaterMark: READ_AHEAD },
  )
  let failure: Error | undefined
  let wake = (): void => undefined
  const woken = (): void => wake()
  // A subscription never ends by itself: a lost connection is told only by 'error'. This listener stays when the reader
  // has left, because an 'error' nobody listens to ends the process.
  subscription.on('error', (error: Error) => {
    failure ??= error
    wake()
  })
  subscription.on('end', () => {
    failure ??= new Error('The event store ended the subscription')
    wake()
  })
  subscription.on('readable', woken)
  signal.addEventListener('abort', woken)

  try {
    while (!signal.aborted) {
      const resolved: ResolvedEvent | null = subscription.read()
      if (resolved !== null) yield toPositionedEvent(resolved)
      else if (failure !== undefined) throw failure
      else
        await new Promise<void>((resolve) => {
          wake = resolve
        })
    }
  } catch (error) {
    throw unavailable(error)
  } finally {
    signal.removeEventListener('abort', woken)
    cancelQuietly(subscription.unsubscribe())
    subscription.destroy()
  }
}
