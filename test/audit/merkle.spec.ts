import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inclusionProof, leafHash, merkleRoot, rootFromProof } from '../../src/audit/merkle.ts'

const leaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(
  (hex) => leafHash(Buffer.from(hex, 'hex')),
)

test('roots are those of the published Certificate Transparency test tree', () => {
  const roots = [0, 1, 2, 3, 8].map((size) => merkleRoot(leaves.slice(0, size)).toString('hex'))
  expect(roots).toEqual([
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ])
})

const tree = fc
  .array(fc.uint8Array({ maxLength: 4 }).map(leafHash), { minLength: 1, maxLength: 70 })
  .chain((all) => fc.record({ all: fc.constant(all), index: fc.nat({ max: all.length - 1 }) }))

test('every leaf of every tree has a proof that leads to the root', () => {
  fc.assert(
    fc.property(tree, ({ all, index }) => {
      const proof = inclusionProof(all, index)
      expect(rootFromProof(all[index] ?? Buffer.alloc(0), index, all.length, proof)).toEqual(merkleRoot(all))
    }),
  )
})

test('a proof with a changed leaf, sibling, place, size or length does not lead to the root', () => {
  fc.assert(
    fc.property(tree, fc.nat(), fc.nat(), ({ all, index }, which, other) => {
      const root = merkleRoot(all)
      const leaf = all[index] ?? Buffer.alloc(0)
      const proof = inclusionProof(all, index)
      const altered = Buffer.from(leaf)
      altered[which % 32] = (altered[which % 32] ?? 0) ^ 1
      expect(rootFromProof(altered, index, all.length, proof)).not.toEqual(root)
      expect(rootFromProof(leaf, index, all.length, [...proof, altered])).not.toEqual(root)
      if (proof.length > 0) {
        expect(rootFromProof(leaf, index, all.length, proof.slice(1))).not.toEqual(root)
        const sibling = Buffer.from(proof[other % proof.length] ?? leaf)
        sibling[which % 32] = (sibling[which % 32] ?? 0) ^ 1
        expect(rootFromProof(leaf, index, all.length, proof.with(other % proof.length, sibling))).not.toEqual(root)
      }
      expect(rootFromProof(leaf, all.length, all.length, proof)).toBeNull()
    }),
  )
})
