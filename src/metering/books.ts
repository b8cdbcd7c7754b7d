/** What the deciders of metering see of a customer, and how the leader's steps reach them. */
import type { MeteringEvent } from '../events/metering.ts'
import type { MeteringRecord } from './record.ts'
import type { Adjustment, CustomerMeter } from './tables.ts'

/** Both streams of one customer, folded, as they stand under the customer's lock. */
export interface CustomerBooks {
  readonly meter: CustomerMeter
  readonly records: readonly MeteringRecord[]
  readonly adjustments: readonly Adjustment[]
}

/** Which books are decided on. */
export interface BooksWanted {
  /** These records alone, of the hundreds that a customer has in a month. */
  readonly recordIds?: readonly string[] | undefined
  /**
   * How many events of the customer's stream may be folded beyond those that the feed has brought, to its end in the
   * event store; without it none, and where there are more nothing is decided. A customer whom the feed has not brought
   * yet counts as one of whom nothing is folded.
   */
  readonly ahead?: ((books: CustomerBooks) => number) | undefined
}

/** For what cannot wait for the feed. */
export const howeverMany = Number.POSITIVE_INFINITY

/**
 * Decides on the head of the customer's metering stream and commits what was decided; `decide` may run again, on newer
 * books, when somebody else was faster. Returns what is in the log now; null when the customer is not known here.
 */
export type DecideFor = (
  customerId: string,
  decide: (books: CustomerBooks) => readonly MeteringEvent[],
  wanted?: BooksWanted,
) => Promise<readonly MeteringEvent[] | null>

/** How many customers' streams are written at once: each waits for the event store and for Postgres. */
const atOnce = 4

/** Works through the customers; one that fails keeps none of the others waiting. */
export async function forEachCustomer(
  customerIds: Iterable<string>,
  signal: AbortSignal,
  onTrouble: (customerId: string, error: unknown) => void,
  work: (customerId: string) => Promise<void>,
): Promise<void> {
  const waiting = [...customerIds]
  const workNext = async () => {
    for (let id = waiting.shift(); id !== undefined && !signal.aborted; id = waiting.shift()) {
      try {
        await work(id)
      } catch (error) {
        onTrouble(id, error)
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, workNext))
}
