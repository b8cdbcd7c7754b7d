/**
 * Which detections carried an idempotency key lately. The key table (a read model) knows everything up to a revision;
 * a ledger's tail knows everything after another. A command is decided only when the two meet.
 */
import type { CustomerEvent } from '../events/catalogue.ts'
import type { Replayable } from './customer.ts'

/** How long a key is remembered, in milliseconds of event time. Source: docs/design.md. */
export const rememberedMs = 24 * 60 * 60 * 1_000

/** The HMACs under which a request's key and body are known. */
export interface IdempotencyKey {
  readonly key: string
  readonly body: string
}

export interface KeyHit extends Replayable {
  readonly body: string
  readonly occurredAt: string
  readonly voided: boolean
}

/** What the key table answered: the newest detection with the key, and the stream revision up to which it knows. */
export interface KeyLookup {
  readonly hit: KeyHit | null
  readonly throughRevision: bigint
}

/** Table and tail do not meet: the table is behind what the tail still holds. Look up again. */
export const tablesBehind = Symbol('the key table is behind the ledger')

type Entry =
  | { readonly revision: bigint; readonly kind: 'key'; readonly key: string; readonly hit: KeyHit }
  | { readonly revision: bigint; readonly kind: 'voided' | 'replayed'; readonly detectionId: string }

/** The idempotency facts of a stream's newest events, bounded: complete for every revision above `floor`. */
export class IdempotencyTail {
  private entries: Entry[] = []
  private floor: bigint
  private readonly limit: number

  constructor(floor: bigint, limit = 4_096) {
    this.floor = floor
    this.limit = limit
  }

  /** Notes an event at its revision. Call in order, for committed events only. */
  add(revision: bigint, event: CustomerEvent): void {
    const entry = entryOf(revision, event)
    if (entry !== null) this.entries.push(entry)
    if (this.entries.length > this.limit) {
      const dropped = this.entries.splice(0, this.limit / 2)
      this.floor = dropped.at(-1)?.revision ?? this.floor
    }
  }

  /**
   * The detection to replay for a key, by whichever of its names, from table and tail together; null when there is none.
   * `pending` are events decided but not yet committed, at the revisions they will have.
   */
  find(
    wanted: readonly IdempotencyKey[],
    lookup: KeyLookup,
    now: string,
    pending: readonly (readonly [bigint, CustomerEvent])[] = [],
  ): KeyHit | null | typeof tablesBehind {
    if (lookup.throughRevision < this.floor) return tablesBehind
    const newer = pending.flatMap(([revision, event]) => entryOf(revision, event) ?? [])
    let hit = lookup.hit
    for (const entry of [...this.entries, ...newer]) {
      if (entry.revision <= lookup.throughRevision) continue
      if (entry.kind === 'key') {
        if (wanted.some(({ key }) => key === entry.key)) hit = entry.hit
      } else if (entry.detectionId === hit?.detectionId) {
        hit = { ...hit, [entry.kind]: true }
      }
    }
    const forgotten = hit !== null && Date.parse(now) - Date.parse(hit.occurredAt) >= rememberedMs
    return hit === null || hit.voided || forgotten ? null : hit
  }
}

function entryOf(revision: bigint, event: CustomerEvent): Entry | null {
  switch (event.type) {
    case 'DetectionSucceeded': {
      const { idempotency, detectionId, occurredAt } = event.data
      if (idempotency === undefined) return null
      const { key, body } = idempotency
      return {
        revision,
        kind: 'key',
        key,
        hit: { detectionId, revision, body, occurredAt, voided: false, replayed: false },
      }
    }
    case 'DetectionVoided':
      return { revision, kind: 'voided', detectionId: event.data.detectionId }
    case 'DetectionReplayed':
      return { revision, kind: 'replayed', detectionId: event.data.detectionId }
    default:
      return null
  }
}
