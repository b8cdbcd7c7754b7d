/** What can be told of seals by folding the customer's stream again. Pure. */
import type { CustomerBooks } from './books.ts'

/**
 * The customer's stream is folded less far here than it was when something was sealed: these rows are being built anew.
 * Records that look complete may not be, so nothing may be sealed.
 */
export const isBehindSeals = ({ meter, records }: Pick<CustomerBooks, 'meter' | 'records'>): boolean =>
  records.some(({ sealed }) => sealed !== null && BigInt(sealed.throughRevision) > meter.head.revision)

/** Seals that say something else than the calls they were made of. One sentence each. */
export function sealFaults({ meter, records }: Pick<CustomerBooks, 'meter' | 'records'>): string[] {
  return records.flatMap(({ recordId, sealed, calls }) => {
    if (sealed === null || BigInt(sealed.throughRevision) > meter.head.revision) return []
    if (sealed.ownQuantity === calls.quantity && sealed.digest === calls.digest) return []
    return [
      `${recordId} was sealed with ${sealed.ownQuantity} calls and digest ${sealed.digest}, the customer's stream up to revision ${sealed.throughRevision} gives ${calls.quantity} and ${calls.digest}`,
    ]
  })
}
