/** What MonthClosed sums up, recomputed from the records. Pure. */
import { createHash } from 'node:crypto'
import { canonicalBytes } from '../events/canonical.ts'
import type { MeteringDataOf } from '../events/metering.ts'
import type { AuditedRecord } from './metering-records.ts'

type Line = MeteringDataOf<'MonthClosed'>['overage'][number]

/** By dimension and state, in the order of "dimension state"; keys in the order of the schema, so that text compares. */
export function closedLines(records: readonly AuditedRecord[]): Line[] {
  const lines = new Map<string, Line>()
  for (const { seal, record } of records) {
    const { state } = record
    const { dimension, ownQuantity, quantity } = seal
    const key = `${dimension} ${state}`
    const line = lines.get(key) ?? { dimension, state, records: 0, quantity: 0, carried: 0 }
    line.records += 1
    line.quantity += ownQuantity
    line.carried += quantity - ownQuantity
    lines.set(key, line)
  }
  return [...lines].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line)
}

/** SHA-256 over the canonical form of what was sealed, records in the order of their ids. */
export function sealsDigest(records: readonly AuditedRecord[]): string {
  const sealed = records.map(({ recordId, seal: { quantity, ownQuantity, digest } }) => ({
    recordId,
    quantity,
    ownQuantity,
    digest,
  }))
  return createHash('sha256').update(canonicalBytes(sealed)).digest('hex')
}
