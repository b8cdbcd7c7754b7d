/**
 * Bugs that are planted by hand, to see that the simulation finds them. Each is made around the product's code, where a
 * process reaches the world, so that nothing of the product has to be broken for it.
 */
import type { BatchMeterUsage } from '../../src/marketplace/batch-meter-usage.ts'
import { hourOf } from '../../src/metering/rules.ts'
import type { MeteringTables } from '../../src/metering/tables.ts'
import { customerOf, type Fed, partitionCount } from '../../src/relay/feed.ts'

export type Plant =
  /** The consumer folds whatever comes, whether it is the next revision or was folded before. */
  | 'no_head_check'
  /** An hour counts as complete when the clock says so. */
  | 'seal_before_the_watermark'
  /** A record that is sent again is stamped anew. */
  | 'retry_decides_again'

/** The consumer's tables: customers stand wherever the batch begins. */
export function withoutHeadCheck(tables: MeteringTables, fed: readonly Fed[]): MeteringTables {
  const heads = new Map<string, { readonly revision: bigint; readonly hash: string }>()
  for (const { item } of fed) {
    if (item.kind !== 'event' || heads.has(item.customerId)) continue
    const { prevHash } = item.event.metadata as { readonly prevHash: string }
    heads.set(customerOf(item.event.stream) ?? '', { revision: item.event.revision - 1n, hash: prevHash })
  }
  return {
    ...tables,
    transaction: (work) =>
      tables.transaction((tx) =>
        work({
          ...tx,
          async lockCustomers(ids) {
            const locked = await tx.lockCustomers(ids)
            return new Map([...locked].map(([id, meter]) => [id, { ...meter, head: heads.get(id) ?? meter.head }]))
          },
        }),
      ),
  }
}

/** The leader's tables: everything is judged up to now. */
export const judgedByTheClock = (tables: MeteringTables, now: () => string): MeteringTables => ({
  ...tables,
  partitions: async () => (await tables.partitions()).map((row) => ({ ...row, judgedThrough: now() })),
  customersToSeal: () => tables.meteredCustomers(Array.from({ length: partitionCount }, (_, i) => i)),
})

/** The call to AWS: what was sent before bears the hour that runs now. */
export function stampedAnew(call: BatchMeterUsage, now: () => string): BatchMeterUsage {
  const sent = new Set<string>()
  return (region, usages) =>
    call(
      region,
      usages.map((usage) => {
        const isRetry = sent.has(usage.recordId)
        sent.add(usage.recordId)
        return isRetry ? { ...usage, timestamp: hourOf(now()) } : usage
      }),
    )
}
