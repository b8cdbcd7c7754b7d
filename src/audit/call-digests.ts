/** What a later void must say of a call, of every call of a bundle: sixteen bytes each, however many there are. Pure. */
import { createHash } from 'node:crypto'
import type { DataOf } from '../events/catalogue.ts'

type Named = Pick<DataOf<'DetectionSucceeded'>, 'detectionId' | 'yearMonth' | 'funding' | 'bucketKey'>

const digestBytes = 16
const perBlock = 65_536

/** @param first revision of the first event that may be a call */
export function callDigests(first: number) {
  const blocks: (Buffer | undefined)[] = []
  const placeOf = (revision: number) => ({
    block: Math.floor((revision - first) / perBlock),
    at: ((revision - first) % perBlock) * digestBytes,
  })
  return {
    add(revision: number, call: Named): void {
      const { block, at } = placeOf(revision)
      // A revision that cannot stand there: the chain names it, and it must not cost a block of memory.
      if (!(block >= 0 && block <= blocks.length)) return
      blocks[block] ??= Buffer.alloc(perBlock * digestBytes)
      digestOf(call).copy(blocks[block], at, 0, digestBytes)
    },
    /** Whether this call stands at the revision. */
    has(revision: number, call: Named): boolean {
      const { block, at } = placeOf(revision)
      const there = blocks[block]?.subarray(at, at + digestBytes)
      return there?.equals(digestOf(call).subarray(0, digestBytes)) === true
    },
  }
}

const digestOf = ({ detectionId, yearMonth, funding, bucketKey }: Named): Buffer =>
  createHash('sha256')
    .update(JSON.stringify([detectionId, yearMonth, funding, bucketKey]))
    .digest()
