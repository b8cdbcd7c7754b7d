/**
 * The one runner of all projections. Leader by advisory lock, fenced by the checkpoint's compare-and-set; reconnects
 * for ever; stops only when it is told to, when the log is not the one it folded (LogMismatch), or when the log has an
 * event that this program cannot read (UnreadableEvent). Where a newer program made the read models it gives the lock
 * away, and asks for it again later.
 */
import type pg from 'pg'
import { LogMismatch } from '../commands/errors.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { EventStore, Position, PositionedEvent } from '../eventstore/store.ts'
import { keepLeading, type Progress } from '../postgres/keep-leading.ts'
import { allProjections, projectedPrefixes } from './all.ts'
import { CheckpointMoved, compareVersions, dropGenerations, ensureReadModels, liveGeneration } from './generations.ts'
import { project } from './project.ts'
import type { Projection } from './projection.ts'
import { rebuild } from './rebuild.ts'

export interface RunnerOptions {
  readonly pool: pg.Pool
  /** For the session that holds the leader's lock. */
  readonly url: string
  readonly store: EventStore
  /** The role has stopped for good: somebody must look. */
  readonly onAlarm: (error: Error) => void
  /** A failure that is retried. */
  readonly onTrouble?: ((error: Error, failures: number) => void) | undefined
  readonly projections?: readonly Projection[] | undefined
  readonly prefixes?: readonly string[] | undefined
  readonly maxBatch?: number | undefined
}

export interface Lag {
  /** Whether this process is the one that projects. */
  readonly leading: boolean
  /** Events received from the store and not yet committed. */
  readonly waiting: number
  /** Milliseconds since the oldest of those was created; 0 when none waits. */
  readonly ageMs: number
  /** Events folded by this process since it started. */
  readonly folded: number
  /** When the last event folded here was created. */
  readonly lastEventAt: Date | null
  readonly position: Position | null
  /** Failures in a row since the last commit. While above 0, `waiting` may be far too low. */
  readonly failures: number
}

export interface Runner {
  lag(): Lag
  /** Resolves when the runner has ended: with the error that stopped it, or null after `stop`. */
  readonly ended: Promise<Error | null>
  stop(): Promise<void>
}

/** Key of the leader's advisory lock. */
const runnerLock = 'liveness:projections'

/** Starts in the background. Versions raised since the live generation was made are rebuilt first, beside it. */
export function startProjections(options: RunnerOptions): Runner {
  const { pool, url, store, onAlarm, onTrouble } = options
  const { projections = allProjections, prefixes = projectedPrefixes, maxBatch } = options
  const uncommitted: Date[] = []
  let folded = 0
  let lastEventAt: Date | null = null
  let position: Position | null = null

  const onReceived = ({ created }: PositionedEvent) => void uncommitted.push(created)

  async function projectLive(signal: AbortSignal, { succeeded }: Progress): Promise<void> {
    await ensureReadModels(pool, projections)
    await dropGenerations(pool, 'retired').catch(() => {})
    const live = await liveGeneration(pool)
    switch (compareVersions(live.versions, projections)) {
      case 'older':
        await rebuild({ pool, url, store, signal, projections, prefixes })
        return
      case 'newer':
        throw new NewerGeneration(
          'the live read models were made by a newer program: this one leaves them alone until `liveness projections rebuild` goes back to its own',
        )
    }
    uncommitted.length = 0
    position = live.checkpoint?.position ?? null
    for await (const progress of project(live, { pool, store, projections, prefixes, signal, maxBatch, onReceived })) {
      succeeded()
      folded += progress.events
      uncommitted.splice(0, progress.events)
      lastEventAt = progress.last?.created ?? lastEventAt
      position = progress.generation.checkpoint?.position ?? null
    }
  }

  const leader = keepLeading({
    url,
    lock: runnerLock,
    work: projectLive,
    consequenceOf(error) {
      if (error instanceof LogMismatch || error instanceof UnreadableEvent) return 'ends'
      if (error instanceof NewerGeneration) return 'stands_aside'
      // Another generation went live, or another runner took over.
      return error instanceof CheckpointMoved ? 'moves_on' : 'retries'
    },
    onTrouble,
    onLeft: () => {
      uncommitted.length = 0
    },
  })
  leader.ended.then((error) => {
    if (error !== null) onAlarm(error)
  })

  return {
    lag() {
      const oldest = uncommitted[0]
      const ageMs = oldest === undefined ? 0 : Math.max(0, Date.now() - oldest.getTime())
      const [leading, failures] = [leader.leading(), leader.failures()]
      return { leading, waiting: uncommitted.length, ageMs, folded, lastEventAt, position, failures }
    },
    ended: leader.ended,
    stop: leader.stop,
  }
}

/** Two versions of the program run side by side (an upgrade in progress): the older one must not rebuild backwards. */
export class NewerGeneration extends Error {
  override name = 'NewerGeneration'
}
