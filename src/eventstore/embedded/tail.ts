import type { StoredRow } from './model.ts'

/** What the tail keeps at most; a subscriber that is further behind reads from the table until it has caught up. */
const MAX_ROWS = 8_192
const MAX_BYTES = 32 * 1024 * 1024

/**
 * The last events of the log, in memory, shared by all live subscribers. Positions in it have no gap, so whether a
 * subscriber may go on from here is one comparison.
 */
export interface Tail {
  /** Position of the last event that is known to be in the log. */
  readonly head: bigint
  /** The events after `position`, up to `limit`; undefined when the tail no longer reaches back that far. */
  after(position: bigint, limit: number): readonly StoredRow[] | undefined
  /** Adds committed events; their positions follow the head. */
  publish(rows: readonly StoredRow[]): void
  /** Forgets everything: the log ends at `head`, and what was written up to there is only in the table. */
  reset(head: bigint): void
  /** Calls `wake` after each change, until the returned function is called. */
  onChange(wake: () => void): () => void
}

export function createTail(): Tail {
  let rows: StoredRow[] = []
  let bytes = 0
  let head = 0n
  const wakes = new Set<() => void>()

  function changed(): void {
    for (const wake of wakes) wake()
  }

  return {
    get head() {
      return head
    },
    after(position, limit) {
      const behind = Number(head - position)
      if (behind > rows.length) return undefined
      if (behind <= 0) return []
      const start = rows.length - behind
      return rows.slice(start, start + limit)
    },
    publish(added) {
      for (const row of added) {
        if (row.position !== head + 1n) throw new Error(`Position ${row.position} does not follow ${head}`)
        rows.push(row)
        bytes += row.message.length
        head = row.position
      }
      if (rows.length > MAX_ROWS || bytes > MAX_BYTES) {
        // Half goes at once, so that the copy is paid for once in thousands of events.
        let kept = rows.length
        let keptBytes = 0
        while (kept > rows.length - MAX_ROWS / 2 && kept > 0) {
          keptBytes += rows[kept - 1]?.message.length ?? 0
          if (keptBytes > MAX_BYTES / 2) break
          kept -= 1
        }
        rows = rows.slice(kept)
        bytes = rows.reduce((sum, row) => sum + row.message.length, 0)
      }
      changed()
    },
    reset(newHead) {
      rows = []
      bytes = 0
      head = newHead
      changed()
    },
    onChange(wake) {
      wakes.add(wake)
      return () => wakes.delete(wake)
    },
  }
}
