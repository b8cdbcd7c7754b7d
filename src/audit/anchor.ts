/**
 * An anchor: one signed Merkle root over the heads of all streams at a tick's place in the log. Kept outside, it finds
 * what a hash chain alone cannot: a tail that was cut off, or a log that was replaced by another consistent one.
 * The format is described in docs/audit.md, so that others can verify it.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { z } from 'zod'
import { canonicalBytes } from '../events/canonical.ts'
import { inclusionProof, leafHash, merkleRoot, rootFromProof } from './merkle.ts'

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const decimal = z.string().regex(/^\d+$/)
const stream = z.string().min(1)
const headSchema = z.union([z.tuple([stream, decimal, sha256]), z.tuple([stream, z.literal('-1'), z.literal('')])])

/** [stream, revision of its last event in decimal, that event's hash]; '-1' and '' for a stream without events */
export type AnchoredHead = z.infer<typeof headSchema>

/** What is signed. */
const statementSchema = z.strictObject({
  format: z.literal('liveness-anchor/1'),
  /** The tick's time: everything that occurred up to it is covered. ISO 8601 UTC. */
  through: z.iso.datetime({ precision: 3 }),
  /** Place of the tick in $all. */
  position: z.strictObject({ commit: decimal, prepare: decimal }),
  /** How many heads the tree holds. */
  streams: z.int().min(1),
  root: sha256,
  /** SHA-256 of the public key's SPKI DER: which key signed. */
  key: sha256,
})
export const signedSchema = z.strictObject({ ...statementSchema.shape, signature: z.base64() })
/** The file: what is signed, the signature, and the leaves in the order of the tree. */
export const anchorSchema = z.strictObject({ ...signedSchema.shape, heads: z.array(headSchema) })

export type AnchorStatement = z.infer<typeof statementSchema>
export type SignedAnchor = z.infer<typeof signedSchema>
export type Anchor = z.infer<typeof anchorSchema>

/** SHA-256 of a public key's SPKI DER form, hex. */
export const keyId = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')

/** A leaf: the RFC 8785 form of the head's triple. */
const headLeaf = (head: AnchoredHead): Buffer => leafHash(canonicalBytes(head))

/** Signs the heads, which must be in the order of their streams' names (by code units), each stream once. */
export function signAnchor(
  at: Pick<AnchorStatement, 'through' | 'position'>,
  heads: readonly AnchoredHead[],
  privateKey: KeyObject,
): Anchor {
  const statement: AnchorStatement = {
    format: 'liveness-anchor/1',
    ...at,
    streams: heads.length,
    root: merkleRoot(heads.map(headLeaf)).toString('hex'),
    key: keyId(createPublicKey(privateKey)),
  }
  return {
    ...statement,
    signature: sign(null, canonicalBytes(statement), privateKey).toString('base64'),
    heads: [...heads],
  }
}

/** Keys whose signatures count: after a rotation of AUDIT_SIGNING_KEY those before it too, for what they signed. */
export type PublicKeys = readonly KeyObject[]

/** What is wrong with the signature over a value that names its key, or null. */
export function signatureFault(signed: { readonly key: string }, signature: string, keys: PublicKeys): string | null {
  const publicKey = keys.find((key) => keyId(key) === signed.key)
  if (publicKey === undefined) return 'it is signed with another key'
  return verify(null, canonicalBytes(signed), publicKey, Buffer.from(signature, 'base64'))
    ? null
    : 'its signature is wrong'
}

/** What is wrong with the signature of an anchor's statement, or null. */
export const anchorSignatureFault = ({ signature, ...statement }: SignedAnchor, keys: PublicKeys): string | null =>
  signatureFault(statement, signature, keys)

/** What is wrong with an anchor in itself, or null: signature, order of its streams, and root. */
export function anchorFault({ heads, ...signed }: Anchor, keys: PublicKeys): string | null {
  const fault = anchorSignatureFault(signed, keys)
  if (fault !== null) return fault
  if (heads.length !== signed.streams) return `it names ${heads.length} streams where ${signed.streams} are signed`
  const inOrder = heads.every(([stream], i) => i === 0 || (heads[i - 1]?.[0] ?? '') < stream)
  if (!inOrder) return 'its streams are not in order, or one is there twice'
  return merkleRoot(heads.map(headLeaf)).toString('hex') === signed.root ? null : 'its heads do not make its root'
}

/** One stream's head with its proof: enough, together with the signed statement, to show that it was anchored. */
export const inclusionSchema = z.strictObject({
  head: headSchema,
  index: z.int().min(0),
  /** Sibling hashes, hex, nearest first (RFC 9162, 2.1.3). */
  proof: z.array(sha256),
  anchor: signedSchema,
})
export type Inclusion = z.infer<typeof inclusionSchema>

/** Proves heads of one anchor by their place in it. */
export function prover({ heads }: Pick<Anchor, 'heads'>): (index: number) => Omit<Inclusion, 'anchor'> {
  const leaves = heads.map(headLeaf)
  return (index) => {
    const proof = inclusionProof(leaves, index).map((sibling) => sibling.toString('hex'))
    return { head: heads[index] as AnchoredHead, index, proof }
  }
}

/** What is wrong with an inclusion, or null. */
export function inclusionFault({ head, index, proof, anchor }: Inclusion, keys: PublicKeys): string | null {
  const fault = anchorSignatureFault(anchor, keys)
  if (fault !== null) return `the anchor of ${anchor.through}: ${fault}`
  const siblings = proof.map((hex) => Buffer.from(hex, 'hex'))
  const root = rootFromProof(headLeaf(head), index, anchor.streams, siblings)
  return root?.toString('hex') === anchor.root
    ? null
    : `the proof does not lead to the root of the anchor of ${anchor.through}`
}
