/** Holds a log against an anchor that was kept outside of it: what a chain alone cannot see. Pure. */
import type { StoredEvent } from '../eventstore/store.ts'
import type { Anchor } from './anchor.ts'
import type { Finding } from './replay.ts'

/**
 * Give it every event of a pass over the log (whose chains `passEvent` checks); then `missing` names what the anchor
 * knew and the log no longer holds.
 */
export function heldAgainst(anchor: Anchor) {
  const anchored = anchor.heads.map(
    ([stream, revision, hash]) => [stream, { revision: BigInt(revision), hash }] as const,
  )
  const unmet = new Map(anchored.filter(([, { revision }]) => revision >= 0n))
  /** Stream → revision of the last event that went by. */
  const seen = new Map<string, bigint>()
  return {
    pass({ stream, revision, id, metadata }: StoredEvent): Finding | null {
      const head = unmet.get(stream)
      if (head === undefined) return null
      seen.set(stream, revision)
      if (revision !== head.revision) return null
      unmet.delete(stream)
      const { hash } = (metadata ?? {}) as { hash?: unknown }
      if (hash === head.hash) return null
      return { stream, revision, id, fault: `it is not the event that was anchored at ${anchor.through}` }
    },
    missing(): Finding[] {
      return [...unmet].map(([stream, { revision }]) => {
        const last = seen.get(stream)
        const end = last === undefined ? 'the stream is gone' : `the stream ends at revision ${last}`
        return {
          stream,
          revision,
          id: '',
          fault: `${end}: this event was anchored at ${anchor.through} (a cut-off tail)`,
        }
      })
    },
  }
}
