/** Reads a month out of the log, and checks on the way that each event follows the one before it. */
import { LogMismatch } from '../commands/errors.ts'
import { monthOf } from '../commands/plans.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import type { MonthSpan } from '../readmodels/months.ts'
import type { LoggedEvent } from './month.ts'

type Log = Pick<EventStore, 'readForward'>

/**
 * The month's own events from `span.from` on, then the later voids of its calls, one by one as they arrive. The read
 * model only says where the month begins and ends; what is told comes from the log.
 *
 * @param hashBefore of the event before `span.from`, where that is known
 * @throws EventStoreUnavailable, UnreadableEvent; LogMismatch where the chain is broken
 */
export async function* monthEvents(
  log: Log,
  customerId: string,
  month: string,
  span: MonthSpan,
  hashBefore?: string,
): AsyncGenerator<LoggedEvent> {
  const stream = customerStream(customerId)
  const count = span.end === null ? undefined : Number(span.end - span.from)
  let revision = span.from
  let hash = hashBefore
  for await (const stored of count === 0 ? [] : log.readForward(stream, span.from, count)) {
    const { logged, prevHash } = toLogged(stored)
    if (stored.revision !== revision || (hash !== undefined && prevHash !== hash)) {
      throw new LogMismatch(`${stream} revision ${stored.revision} does not follow the event before it`)
    }
    // The next month may have begun since the span was asked for.
    if (monthOf(logged.event.data.occurredAt) !== month) break
    yield logged
    revision += 1n
    hash = logged.hash
  }
  if (count !== undefined && revision !== span.end) {
    throw new LogMismatch(`${stream} ends at revision ${revision - 1n}, before the end of ${month}`)
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
