/** Reads a month out of the log, and checks on the way that each event follows the one before it. */
import { LogMismatch } from '../commands/errors.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import type { MonthSpan } from '../readmodels/months.ts'
import type { LoggedEvent } from './month.ts'

type Log = Pick<EventStore, 'readForward'>

/**
 * The month's own events, then the later voids of its calls, one by one as they arrive. The read model only says where
 * the month begins and ends; what is told comes from the log.
 * @throws EventStoreUnavailable, UnreadableEvent; LogMismatch where the chain is broken
 */
export async function* monthEvents(log: Log, customerId: string, span: MonthSpan): AsyncGenerator<LoggedEvent> {
  const stream = customerStream(customerId)
  const count = span.end === null ? undefined : Number(span.end - span.from)
  let revision = span.from
  let hash: string | undefined
  for await (const stored of log.readForward(stream, span.from, count)) {
    const { logged, prevHash } = toLogged(stored)
    if (stored.revision !== revision || (hash !== undefined && prevHash !== hash)) {
      throw new LogMismatch(`${stream} revision ${stored.revision} does not follow the event before it`)
    }
    yield logged
    revision += 1n
    hash = logged.hash
  }
  for (const late of span.lateVoids) {
    for await (const stored of log.readForward(stream, late, 1)) yield toLogged(stored).logged
  }
}

function toLogged(stored: StoredEvent): { logged: LoggedEvent; prevHash: string } {
  const { event, metadata } = parseCustomerEvent(stored)
  const { actor, hash, prevHash } = metadata
  return { logged: { revision: stored.revision, eventId: stored.id, actor, hash, event }, prevHash }
}
