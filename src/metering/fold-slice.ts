/** Folds a slice of a partition, however often that takes, without losing the partition meanwhile. */
import { setTimeout as pause } from 'node:timers/promises'
import { asError } from '../as-error.ts'
import { backOffMs } from '../back-off.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { Fed } from '../relay/feed.ts'
import { type Consume, endsFeed } from './feed.ts'

export interface SliceOptions {
  readonly consume: Consume
  /** Says that this member lives; rejects when the partition is about to be given away. */
  readonly heartbeat: () => Promise<void>
  readonly signal: AbortSignal
  /** A failure that is retried. */
  readonly onTrouble: (error: Error) => void
}

export interface FoldedSlice {
  /** How many items were folded, from the first on. */
  readonly folded: number
  /** Why the next one never will be; null when all were folded. */
  readonly halt: Error | null
}

/** A bug may be one of the moment; what fails so often in a row lies in the item. */
const maxBugs = 3
const heartbeatMs = 1_000

/**
 * Failures of the servers are retried for ever. When an item itself cannot be folded, those before it are folded one by
 * one, so that the one is known.
 * @throws what ends the feed (endsFeed), what `heartbeat` throws, and the signal's reason
 */
export async function foldSlice(
  partition: number,
  fed: readonly Fed[],
  { consume, heartbeat, signal, onTrouble }: SliceOptions,
): Promise<FoldedSlice> {
  let size = fed.length
  let folded = 0
  let failures = 0
  let bugs = 0
  while (folded < fed.length) {
    const part = fed.slice(folded, folded + size)
    try {
      await beating(consume(partition, part), heartbeat)
      folded += part.length
      failures = 0
      bugs = 0
      continue
    } catch (thrown) {
      const error = asError(thrown)
      signal.throwIfAborted()
      if (endsFeed(error)) throw error
      const unreadable = error instanceof UnreadableEvent
      if (unreadable || isBug(error)) {
        if (part.length > 1) {
          size = 1
          continue
        }
        bugs += 1
        if (unreadable || bugs >= maxBugs) return { folded, halt: error }
      }
      onTrouble(error)
    }
    failures += 1
    await pause(backOffMs(failures), undefined, { signal })
    await heartbeat()
  }
  return { folded, halt: null }
}

/** Reading a whole log can take longer than a member may be silent. That it is over is told after the work. */
async function beating<T>(work: Promise<T>, heartbeat: () => Promise<void>): Promise<T> {
  const timer = setInterval(() => void heartbeat().catch(() => {}), heartbeatMs)
  try {
    return await work
  } finally {
    clearInterval(timer)
  }
}

/** Errors that the same input brings again. */
const isBug = (error: Error): boolean =>
  [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind)
