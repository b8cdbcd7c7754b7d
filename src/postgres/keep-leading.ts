/**
 * What one process at a time keeps at: the live projections, the relay, the direct feed. Leader by advisory lock; what
 * fails is tried again after a pause, for ever, until `stop`, or until a failure ends it for good.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { asError } from '../as-error.ts'
import { backOffMs } from '../back-off.ts'
import { holdAdvisoryLock } from './leader.ts'

export interface LeadersWork {
  /** For the session that holds the lock. */
  readonly url: string
  /** The lock's key. */
  readonly lock: string
  /** Works until the signal aborts; when it returns before, it is called again at once, when it throws, after a pause. */
  readonly work: (signal: AbortSignal, tell: Progress) => Promise<void>
  /** Goes on beside `work` for as long as this process leads; tells of failures that it gets over. */
  readonly beside?: ((signal: AbortSignal, onTrouble: (error: Error) => void) => Promise<void>) | undefined
  readonly consequenceOf: (failure: Error) => Consequence
  /** A failure after which it is tried again. */
  readonly onTrouble?: ((error: Error, failures: number) => void) | undefined
  /** This process leads no more. */
  readonly onLeft: () => void
}

export interface Progress {
  readonly succeeded: () => void
  /** Of a failure that `work` itself gets over. */
  readonly failed: (error: Error) => void
}

/**
 * `ends`: for good, somebody must look; `moves_on`: another process has gone on from where this one stood, which is no
 * trouble; `stands_aside`: the lock is left to another program for a while.
 */
export type Consequence = 'ends' | 'retries' | 'moves_on' | 'stands_aside'

export interface Leading {
  /** Whether this process is the leader. */
  readonly leading: () => boolean
  /** Failures in a row since something succeeded. */
  readonly failures: () => number
  /** Resolves when nothing is at work any more: with the error that ended it, or null after `stop`. */
  readonly ended: Promise<Error | null>
  stop(): Promise<void>
}

/** How long the lock is left to another program, which asks for it each half second. */
const standAsideMs = 10_000

/** Starts in the background. */
export function keepLeading(options: LeadersWork): Leading {
  const { url, lock, work, beside, consequenceOf, onTrouble, onLeft } = options
  const stopping = new AbortController()
  let leading = false
  let failures = 0
  let fatal: Error | null = null

  const failed = (error: Error) => {
    failures += 1
    onTrouble?.(error, failures)
  }
  const progress: Progress = {
    failed,
    succeeded: () => {
      failures = 0
    },
  }

  /** @param resign gives the lock away, which holdAdvisoryLock would else ask for again at once */
  async function lead(signal: AbortSignal, resign: () => void): Promise<void> {
    leading = true
    const company = beside?.(signal, (error) => onTrouble?.(error, failures))
    while (!signal.aborted) {
      try {
        await work(signal, progress)
        continue
      } catch (thrown) {
        if (signal.aborted) break
        const error = asError(thrown)
        const consequence = consequenceOf(error)
        if (consequence === 'ends') {
          fatal = error
          stopping.abort()
          break
        }
        if (consequence === 'moves_on') failures += 1
        else failed(error)
        if (consequence === 'stands_aside') {
          resign()
          break
        }
      }
      await pause(backOffMs(failures), undefined, { signal }).catch(() => {})
    }
    await company
    leading = false
    onLeft()
  }

  async function run(): Promise<Error | null> {
    const { signal } = stopping
    while (!signal.aborted) {
      const resigned = new AbortController()
      await holdAdvisoryLock(
        url,
        lock,
        AbortSignal.any([signal, resigned.signal]),
        (held) => lead(held, () => resigned.abort()),
        (error) => onTrouble?.(asError(error), failures),
      )
      await pause(standAsideMs, undefined, { signal }).catch(() => {})
    }
    return fatal
  }

  const ended = run().catch(asError)
  return {
    leading: () => leading,
    failures: () => failures,
    ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }
}
