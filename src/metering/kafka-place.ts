/** Where reading a partition goes on. The offset in Postgres is the truth; the one in Kafka is never asked for. */
import type { MeteringTables } from './tables.ts'

/** What a partition holds: from `low` up to, and without, `high`. */
export interface Extent {
  readonly low: bigint
  readonly high: bigint
}

/**
 * - `topic`: it was deleted and made anew, or cut off. It is read from its start, and what is known is skipped.
 * - `messages`: some were deleted before they were read. The streams' heads tell which events are missing.
 */
export type Loss = 'topic' | 'messages'

export interface Place {
  readonly offset: bigint
  readonly lost: Loss | null
}

/** @param next the offset to read next, as committed with the rows; null before the first message */
export function placeOf(next: bigint | null, { low, high }: Extent): Place {
  const wanted = next ?? 0n
  if (wanted > high) return { offset: low, lost: 'topic' }
  if (wanted < low) return { offset: low, lost: 'messages' }
  return { offset: wanted, lost: null }
}

export interface Placement extends Place {
  readonly partition: number
  /** The offset to read next as it was found in Postgres. */
  readonly found: bigint | null
  readonly extent: Extent
}

/**
 * The places of partitions. Where the topic was made anew, Postgres's offset is moved back first: nothing below it would
 * be folded.
 */
export async function placementsOf(
  tables: MeteringTables,
  partitions: readonly number[],
  extents: ReadonlyMap<number, Extent>,
): Promise<Placement[]> {
  const rows = new Map((await tables.partitions()).map((row) => [row.partition, row]))
  const placements: Placement[] = []
  for (const partition of partitions) {
    const row = rows.get(partition)
    const extent = extents.get(partition)
    if (row === undefined || extent === undefined) throw new Error(`partition ${partition} is not there`)
    const found = row.nextOffset
    const place = placeOf(found, extent)
    if (place.lost === 'topic') await moveBack(tables, partition, found, place.offset)
    placements.push({ ...place, partition, found, extent })
  }
  return placements
}

/** Unless another member has done so already. */
async function moveBack(tables: MeteringTables, partition: number, from: bigint | null, to: bigint): Promise<void> {
  await tables.transaction(async (tx) => {
    const row = await tx.lockPartition(partition)
    if (row.nextOffset === from) await tx.save({ partition: { ...row, nextOffset: to } })
  })
}

export function sentenceOf({ partition, found, lost, extent: { low, high } }: Placement): string {
  return lost === 'topic'
    ? `partition ${partition} ends at ${high} and was read up to ${found}: the topic was made anew, and is read from its start`
    : `partition ${partition} begins at ${low} and was read up to ${found ?? 0n}: messages were deleted unread`
}
