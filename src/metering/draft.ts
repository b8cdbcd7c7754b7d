/** A transaction on paper: what is saved in it is found again in it, and nothing of it reaches the tables. */
import type { FoldTransaction } from './catch-up.ts'
import { type MeteringRecord, unsettledStates } from './record.ts'
import type { Adjustment } from './tables.ts'

export function draftOn(tx: FoldTransaction): FoldTransaction {
  const records = new Map<string, MeteringRecord>()
  const adjustments = new Map<string, Adjustment>()
  const keyOf = ({ customerId, revision }: Adjustment) => `${customerId} ${revision}`

  return {
    async recordsById(recordIds) {
      const found = await tx.recordsById(recordIds)
      return new Map(
        recordIds.flatMap((id) => {
          const record = records.get(id) ?? found.get(id)
          return record === undefined ? [] : [[id, record]]
        }),
      )
    },
    async recordsOf(customerId, yearMonths) {
      const all = new Map((await tx.recordsOf(customerId, yearMonths)).map((record) => [record.recordId, record]))
      for (const record of records.values()) {
        const { yearMonth, state } = record
        if (record.customerId !== customerId) continue
        if (yearMonths === undefined || yearMonths.includes(yearMonth) || unsettledStates.includes(state)) {
          all.set(record.recordId, record)
        }
      }
      return [...all.values()].toSorted((a, b) => (a.recordId < b.recordId ? -1 : 1))
    },
    async adjustmentsOf(customerId) {
      const all = new Map((await tx.adjustmentsOf(customerId)).map((one) => [keyOf(one), one]))
      for (const one of adjustments.values()) if (one.customerId === customerId) all.set(keyOf(one), one)
      return [...all.values()].toSorted((a, b) => a.revision - b.revision)
    },
    async save(changes) {
      for (const record of changes.records ?? []) records.set(record.recordId, record)
      for (const adjustment of changes.adjustments ?? []) adjustments.set(keyOf(adjustment), adjustment)
    },
  }
}
