/** Log lines that speak of single events: how one request is followed from the API to the relay and to metering. */
import type { Logger } from 'pino'
import type { StoredEvent } from '../eventstore/store.ts'

/** One line for each, at level debug: there are as many as calls. */
export function logEvents(log: Logger, message: string, events: Iterable<StoredEvent>): void {
  if (!log.isLevelEnabled('debug')) return
  for (const event of events) log.debug(placeOf(event), message)
}

function placeOf({ stream, revision, id, type, metadata }: StoredEvent) {
  const said = typeof metadata === 'object' && metadata !== null && 'correlationId' in metadata ? metadata : null
  return { requestId: said?.correlationId, stream, revision: `${revision}`, eventId: id, type }
}
