/**
 * Each stream read by itself. The store finds the events of a stream by an index of its own, and it is the streams that
 * decide what is billed: they must hold what the log holds, in the same order.
 */
import type { EventStore } from '../eventstore/store.ts'
import { type Heads, passEvent } from './heads.ts'
import { placeOf } from './verify-anchors.ts'
import type { Say } from './verify-report.ts'

export interface StreamsOptions {
  readonly store: Pick<EventStore, 'readForward'>
  readonly say: Say
  /** Throws to end it. */
  readonly onEvent: () => void
}

/** @param heads of the whole log; what was appended since is left out. @throws EventStoreUnavailable */
export async function checkStreams(heads: Heads, { store, say, onEvent }: StreamsOptions): Promise<void> {
  for (const [stream, { revision: end, hash }] of heads) {
    const read: Heads = new Map()
    for await (const stored of store.readForward(stream, 0n)) {
      if (stored.revision > end) break
      onEvent()
      const broken = passEvent(read, stored)
      if (broken !== null) {
        const where = { ...placeOf(stream), revision: `${stored.revision}`, id: stored.id }
        say('chain', where, `in its stream: ${broken.fault}`)
      }
    }
    const last = read.get(stream)
    if (last?.revision === end && last.hash === hash) continue
    const is = last === undefined ? 'it is empty' : `it ends at revision ${last.revision}`
    say(
      'chain',
      { ...placeOf(stream), revision: `${end}` },
      `read by itself, the stream is not what the log holds: ${is}`,
    )
  }
}
