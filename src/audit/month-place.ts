/** Where a month stands in a customer's stream, found in the log itself. */
import { monthOf } from '../commands/plans.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'

type Log = Pick<EventStore, 'readForward' | 'readBackward'>

export interface MonthPlace {
  /** Revision of the month's first event, and when it occurred. */
  readonly from: bigint
  readonly startsAt: string
  /** Revision of the month's last event until now. */
  readonly last: bigint
}

/**
 * Null when the month has no events. Time never runs backwards along a stream, so halving finds the month in a few
 * reads however long the stream is.
 * @throws EventStoreUnavailable, UnreadableEvent
 */
export async function placeOfMonth(log: Log, customerId: string, month: string): Promise<MonthPlace | null> {
  const stream = customerStream(customerId)
  let end = -1n
  for await (const { revision } of log.readBackward(stream, 1)) end = revision
  const at = async (revision: bigint): Promise<string> => {
    for await (const stored of log.readForward(stream, revision, 1)) return occurredAt(stored)
    return '' // gone since: no month begins there
  }
  /** The first revision whose month `reached` holds for; one past the end when there is none. */
  const first = async (reached: (monthThere: string) => boolean): Promise<bigint> => {
    let [low, high] = [0n, end + 1n]
    while (low < high) {
      const middle = (low + high) / 2n
      if (reached(monthOf(await at(middle)))) high = middle
      else low = middle + 1n
    }
    return low
  }
  const from = await first((monthThere) => monthThere >= month)
  const next = await first((monthThere) => monthThere > month)
  return from === next ? null : { from, startsAt: await at(from), last: next - 1n }
}

const occurredAt = (stored: StoredEvent): string => parseCustomerEvent(stored).event.data.occurredAt
