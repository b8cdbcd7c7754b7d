/** Holds a pass over the log against anchors that were kept elsewhere. Pure. */
import { emptyHead, hashOf } from '../events/chain.ts'
import { watermarkStream } from '../events/metering.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import type { Anchor } from './anchor.ts'
import type { Heads } from './heads.ts'
import type { Say } from './verify-report.ts'

/**
 * Needs no memory of its own: which of the anchored heads have gone by follows from the heads of the log, so a pass may
 * be interrupted and gone on with.
 *
 * @param concerns the streams that the pass will see
 */
export function anchorCheck(anchors: readonly Anchor[], concerns: (stream: string) => boolean, say: Say) {
  const heads = new Map<string, { revision: bigint; hash: string; through: string }[]>()
  for (const { through, heads: anchored } of anchors) {
    for (const [stream, revision, hash] of anchored) {
      if (!concerns(stream)) continue
      const known = heads.get(stream) ?? []
      known.push({ revision: BigInt(revision), hash, through })
      heads.set(stream, known)
    }
  }
  /** At an anchor's tick each stream must stand where it was anchored: the log's order is part of it. */
  function compareAt({ heads: anchored, through }: Anchor, now: Heads): void {
    const known = new Map(anchored.map(([stream, revision]) => [stream, BigInt(revision)]))
    const differs = (stream: string, was: bigint, is: bigint) => {
      const where = { ...placeOf(stream), revision: `${was > is ? was : is}` }
      const fault = `at the tick of ${through} the anchor has its stream at revision ${was}, the log at ${is}`
      say('anchor', where, `${fault}: events were moved, removed or added`)
    }
    for (const [stream, was] of known) {
      const { revision: is } = now.get(stream) ?? emptyHead
      if (concerns(stream) && is !== was) differs(stream, was, is)
    }
    for (const [stream, { revision: is }] of now) if (!known.has(stream)) differs(stream, -1n, is)
  }

  return {
    /** @param now the heads of the log behind the event */
    pass({ stream, revision, id, metadata }: StoredEvent, now: Heads): void {
      if (stream === watermarkStream) for (const anchor of anchors) if (isAt(anchor, revision)) compareAt(anchor, now)
      const anchored = heads.get(stream)
      if (anchored === undefined) return
      for (const head of anchored) {
        if (head.revision !== revision || head.hash === hashOf(metadata)) continue
        const where = { ...placeOf(stream), revision: `${revision}`, id }
        say('anchor', where, `it is not the event that was anchored at ${head.through}: the log was rewritten`)
      }
    },
    /** @param ends the heads of the whole log */
    end(ends: Heads): void {
      for (const [stream, anchored] of heads) {
        const end = ends.get(stream)
        for (const { revision, through } of anchored) {
          // An anchored stream that was empty then is there without an event.
          if ((end ?? emptyHead).revision >= revision) continue
          const is = end === undefined ? 'the stream is gone' : `the stream ends at revision ${end.revision}`
          const where = { ...placeOf(stream), revision: `${revision}` }
          say('anchor', where, `${is}; this event was anchored at ${through}: the tail was cut off`)
        }
      }
    },
  }
}

/** Whether the revision of the watermark stream is the tick that the anchor was taken at. */
const isAt = ({ heads }: Anchor, revision: bigint): boolean =>
  heads.some(([stream, anchored]) => stream === watermarkStream && anchored === `${revision}`)

/** A stream, and the customer whose it is. */
export function placeOf(stream: string): { stream: string; customerId?: string } {
  const [, customerId] = /^(?:customer|metering)-(.+)$/.exec(stream) ?? []
  return customerId === undefined ? { stream } : { stream, customerId }
}
