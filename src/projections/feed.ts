/** An endless source, cut into batches: read ahead while the batch before is being written, bounded, in order. */
import { setTimeout as pause } from 'node:timers/promises'

export interface BatchOptions<T> {
  readonly max: number
  /** Yields an empty batch whenever nothing has come for this many milliseconds. */
  readonly idleMs?: number | undefined
  readonly signal: AbortSignal
  /** Told of each item when it arrives, before its batch. */
  readonly onItem?: ((item: T) => void) | undefined
}

/** From this many waiting on, more are probably on the way: a fuller batch costs less per event. */
const backlog = 64
const lingerMs = 50
const gapMs = 2

/**
 * Batches of at most `max` items. A lone item goes at once; a backlog is collected until the batch is full, the source
 * pauses, or 50 ms have passed. Ends when the source ends or the signal aborts; what the source throws is thrown after
 * the items before it.
 */
export async function* inBatches<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  { max, idleMs, signal, onItem }: BatchOptions<T>,
): AsyncGenerator<readonly T[]> {
  const leaving = new AbortController()
  const either = AbortSignal.any([signal, leaving.signal])
  const queue: T[] = []
  let ended: { readonly failure?: unknown } | undefined
  let wakeReader: (() => void) | undefined
  let wakeWriter: (() => void) | undefined

  const read = async () => {
    for await (const item of open(either)) {
      if (either.aborted) return
      queue.push(item)
      onItem?.(item)
      wakeWriter?.()
      if (queue.length >= 2 * max) {
        await new Promise<void>((resolve) => {
          wakeReader = resolve
        })
      }
      if (either.aborted) return
    }
  }
  const reader = read()
    .then(
      () => {
        ended = {}
      },
      (failure: unknown) => {
        ended = { failure }
      },
    )
    .finally(() => wakeWriter?.())
  const wake = () => {
    wakeReader?.()
    wakeWriter?.()
  }
  either.addEventListener('abort', wake)

  try {
    while (!signal.aborted) {
      if (queue.length === 0) {
        if (ended !== undefined) {
          if (ended.failure !== undefined) throw ended.failure
          return
        }
        let timer: NodeJS.Timeout | undefined
        await new Promise<void>((resolve) => {
          wakeWriter = resolve
          if (idleMs !== undefined) timer = setTimeout(resolve, idleMs)
        })
        clearTimeout(timer)
        wakeWriter = undefined
        if (queue.length === 0 && ended === undefined && !signal.aborted) yield []
        continue
      }
      await moreToCome(() => queue.length, max)
      if (signal.aborted) return
      const batch = queue.splice(0, max)
      wakeReader?.()
      wakeReader = undefined
      yield batch
    }
  } finally {
    leaving.abort()
    either.removeEventListener('abort', wake)
    await reader
  }
}

async function moreToCome(waiting: () => number, max: number): Promise<void> {
  if (waiting() < backlog) return
  const until = performance.now() + lingerMs
  for (let seen = -1; seen !== waiting() && waiting() < max && performance.now() < until; ) {
    seen = waiting()
    await pause(gapMs)
  }
}
