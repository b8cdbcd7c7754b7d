/**
 * Merkle trees and inclusion proofs of RFC 9162 (Certificate Transparency 2.0), sections 2.1.1 and 2.1.3, over SHA-256.
 * Pure. Leaves and inner nodes are hashed under different prefixes, so that neither can be passed off as the other.
 */
import { createHash } from 'node:crypto'

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/** Hash of a leaf: SHA-256(0x00 ‖ bytes). */
export const leafHash = (bytes: Uint8Array): Buffer => sha256(leafPrefix, bytes)
const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => sha256(nodePrefix, left, right)

/** The largest power of two below `size` (at least 2): where RFC 9162 splits a tree. */
function split(size: number): number {
  let k = 1
  while (k * 2 < size) k *= 2
  return k
}

/** Root of the tree over leaf hashes, in their order; of no leaves: SHA-256 of nothing. */
export function merkleRoot(leaves: readonly Uint8Array[]): Buffer {
  if (leaves.length === 0) return sha256()
  // Level by level: pairs from the left, a lone last node moves up as it is. That is RFC 9162's tree, without recursion
  // over copies of a list that may hold every customer.
  let level: readonly Uint8Array[] = leaves
  while (level.length > 1) {
    const above: Uint8Array[] = []
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i] as Uint8Array, level[i + 1]]
      above.push(right === undefined ? left : nodeHash(left, right))
    }
    level = above
  }
  return Buffer.from(level[0] as Uint8Array)
}

/**
 * The siblings on the way from leaf `index` to the root, nearest first.
 * @throws RangeError when there is no such leaf
 */
export function inclusionProof(leaves: readonly Uint8Array[], index: number): Buffer[] {
  if (!(index >= 0 && index < leaves.length)) throw new RangeError(`no leaf ${index} among ${leaves.length}`)
  if (leaves.length === 1) return []
  const k = split(leaves.length)
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)]
  return index < k
    ? [...inclusionProof(left, index), merkleRoot(right)]
    : [...inclusionProof(right, index - k), merkleRoot(left)]
}

/** The root that a leaf's proof leads to, or null when the proof does not fit the tree's size (RFC 9162, 2.1.3.2). */
export function rootFromProof(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
): Buffer | null {
  if (!(Number.isInteger(index) && index >= 0 && index < size)) return null
  let [position, last] = [index, size - 1]
  let hash: Buffer = Buffer.from(leaf)
  for (const sibling of proof) {
    if (last === 0) return null
    if (position % 2 === 1 || position === last) {
      hash = nodeHash(sibling, hash)
      // A node without a right neighbour moved up as it was: skip the levels it did so on.
      while (position % 2 === 0 && position !== 0) [position, last] = [position / 2, Math.floor(last / 2)]
    } else {
      hash = nodeHash(hash, sibling)
    }
    ;[position, last] = [Math.floor(position / 2), Math.floor(last / 2)]
  }
  return last === 0 ? hash : null
}
