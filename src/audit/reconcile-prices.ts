/** What a month's calls of a customer cost, by AWS's dimension, as the events of the month say. */
import { monthOf } from '../commands/plans.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore } from '../eventstore/store.ts'
import { parseBucketKey } from '../metering/rules.ts'
import { placeOfMonth } from './month-place.ts'

export interface MonthPrices {
  /** Dimension → unit prices of its overage calls, decimal strings in USD. One, unless the terms were changed. */
  readonly units: ReadonlyMap<string, ReadonlySet<string>>
  /** Monthly fees that held in the month, as the log has them: for the Enterprise plan the list price. */
  readonly fees: ReadonlySet<string>
}

/** @throws EventStoreUnavailable, UnreadableEvent */
export async function pricesOf(
  store: Pick<EventStore, 'readForward' | 'readBackward'>,
  customerId: string,
  month: string,
): Promise<MonthPrices> {
  const units = new Map<string, Set<string>>()
  const fees = new Set<string>()
  const place = await placeOfMonth(store, customerId, month)
  if (place === null) return { units, fees }
  for await (const stored of store.readForward(customerStream(customerId), place.from)) {
    if (stored.revision > place.last) break
    const { event } = parseCustomerEvent(stored)
    if (event.type === 'DetectionSucceeded' && event.data.funding === 'overage') {
      const { dimension } = parseBucketKey(event.data.bucketKey)
      units.set(dimension, (units.get(dimension) ?? new Set()).add(event.data.overageUnitPrice))
    } else if ('monthlyFee' in event.data && monthOf(event.data.occurredAt) === month) {
      if (event.type !== 'PlanChangeScheduled') fees.add(event.data.monthlyFee)
    }
  }
  return { units, fees }
}
