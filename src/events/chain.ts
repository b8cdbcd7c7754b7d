/**
 * The hash chain that makes a stream tamper-evident. The hash of an event is SHA-256 over the RFC 8785 (JSON
 * Canonicalization Scheme) form of its stream, revision, id, type, data and metadata without `hash`; the metadata
 * hold the hash of the event before it. Computed by the writer, verified on the JSON as stored, before upcasting.
 */
import { hash as digest } from 'node:crypto'
import type { NewEvent, StoredEvent } from '../eventstore/store.ts'
import { canonicalText } from './canonical.ts'
import type { Metadata } from './catalogue.ts'

/** The place of the newest event of a stream, and its hash. `revision` −1 and hash '' before the first event. */
export interface Head {
  readonly revision: bigint
  readonly hash: string
}
export const emptyHead: Head = { revision: -1n, hash: '' }

interface Link {
  readonly stream: string
  readonly revision: bigint
  readonly id: string
  readonly type: string
  readonly data: unknown
  readonly metadata: Readonly<Record<string, unknown>>
}

/**
 * Hex SHA-256 of an event's canonical form; `metadata.hash` is left out, the revision is a decimal string.
 * @throws Error when it has none
 */
export function eventHash({ stream, revision, id, type, data, metadata }: Link): string {
  const { hash: _, ...rest } = metadata
  const canonical = canonicalText({ stream, revision: revision.toString(), id, type, data, metadata: rest })
  return digest('sha256', canonical)
}

/** An event before it has its place in the stream. */
export interface Unchained {
  readonly id: string
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
  readonly metadata: Omit<Metadata, 'prevHash' | 'hash'>
}

/** The hash that an event says of itself; '' where it says none. */
export function hashOf(metadata: unknown): string {
  const { hash } = (metadata ?? {}) as { hash?: unknown }
  return typeof hash === 'string' ? hash : ''
}

/** Links events behind a head: gives each its prevHash and hash, and returns the new head. */
export function chain(stream: string, head: Head, events: readonly Unchained[]): { events: NewEvent[]; head: Head } {
  let { revision, hash: prevHash } = head
  const linked = events.map((event) => {
    revision += 1n
    const metadata = { ...event.metadata, prevHash }
    const hash = eventHash({ ...event, stream, revision, metadata })
    prevHash = hash
    return { ...event, metadata: { ...metadata, hash } }
  })
  return { events: linked, head: { revision, hash: prevHash } }
}

/** What is wrong with an event's place in the chain, or null. `before` is the head it should follow. */
export function chainFault(before: Head, event: StoredEvent): string | null {
  const metadata = event.metadata
  if (typeof metadata !== 'object' || metadata === null) return 'its metadata is no JSON object'
  const { prevHash, hash } = metadata as Record<string, unknown>
  if (event.revision !== before.revision + 1n)
    return `expected revision ${before.revision + 1n}, found ${event.revision}`
  if (prevHash !== before.hash) return 'its prevHash is not the hash of the event before it'
  try {
    const is = eventHash({ ...event, metadata: metadata as Record<string, unknown> })
    return hash === is ? null : 'its hash is not that of its content'
  } catch {
    return 'its hash is not that of its content, which has no canonical form'
  }
}
