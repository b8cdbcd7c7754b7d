/** Takes an anchor of the log as it stands at its newest tick. */
import type { KeyObject } from 'node:crypto'
import { LogMismatch } from '../commands/errors.ts'
import { parseData, tickData, watermarkStream } from '../events/metering.ts'
import type { EventStore } from '../eventstore/store.ts'
import { type Anchor, signAnchor } from './anchor.ts'
import { auditedPrefixes, type Heads, newestTick, passEvent, sortedHeads } from './heads.ts'

export interface AnchorSource {
  readonly store: EventStore
  readonly signingKey: KeyObject
  /** Appends a tick; another's may have come first, which is as good. */
  readonly tick: () => Promise<unknown>
}

/**
 * Signs the heads of all streams at the newest tick. Reads the log from `earlier` on (which the caller has verified),
 * else from its start, and checks every chain on the way.
 *
 * @param fresh append a tick first, so that everything written until now is covered
 * @throws LogMismatch where a chain is broken or the log ends before `earlier`: that is no log to sign;
 *   EventStoreUnavailable
 */
export async function takeAnchor(
  { store, signingKey, tick }: AnchorSource,
  { earlier, fresh }: { readonly earlier: Anchor | null; readonly fresh: boolean },
): Promise<Anchor> {
  let newest = fresh ? null : await newestTick(store, watermarkStream)
  if (newest === null) {
    await tick()
    newest = await newestTick(store, watermarkStream)
  }
  if (newest === null) throw new LogMismatch('a tick was appended to the watermark stream, which holds none')
  const through = parseData(newest, tickData).data.occurredAt

  const heads = headsOf(earlier)
  const anchored = heads.get(watermarkStream)
  if (anchored !== undefined && anchored.revision >= newest.revision) {
    const { hash } = newest.metadata as { hash?: unknown }
    if (anchored.revision === newest.revision && anchored.hash === hash && earlier !== null) return earlier
    throw new LogMismatch(`the log is not the one that was anchored at ${earlier?.through}: its last tick is another`)
  }
  for await (const event of store.readAll({ prefixes: auditedPrefixes, after: positionOf(earlier) })) {
    const broken = passEvent(heads, event)
    if (broken !== null) {
      throw new LogMismatch(`${broken.stream} revision ${broken.revision} (${broken.id}): ${broken.fault}`)
    }
    if (event.stream !== watermarkStream || event.revision !== newest.revision) continue
    const { commit, prepare } = event.position
    const position = { commit: commit.toString(), prepare: prepare.toString() }
    return signAnchor({ through, position }, sortedHeads(heads), signingKey)
  }
  throw new LogMismatch(`the log ends before its newest tick of ${through}`)
}

function headsOf(anchor: Anchor | null): Heads {
  return new Map(anchor?.heads.map(([stream, revision, hash]) => [stream, { revision: BigInt(revision), hash }]))
}

function positionOf(anchor: Anchor | null) {
  if (anchor === null) return undefined
  const { commit, prepare } = anchor.position
  return { commit: BigInt(commit), prepare: BigInt(prepare) }
}
