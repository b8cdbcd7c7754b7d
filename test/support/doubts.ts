import type { Doubt, Doubts } from '../../src/commands/doubts.ts'

/** The doubts table in memory, shared by every instance of a test. */
export function memoryDoubts(): Doubts & { rows: Map<string, Doubt> } {
  const rows = new Map<string, Doubt>()
  return {
    rows,
    async record(doubt) {
      rows.set(doubt.firstEventId, doubt)
    },
    async remove(firstEventId) {
      rows.delete(firstEventId)
    },
    async standing(customerId) {
      return [...rows.values()].filter((row) => customerId === undefined || row.customerId === customerId)
    },
  }
}
