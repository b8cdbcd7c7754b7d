/** A leader's duty: one anchor for each UTC day into ANCHOR_DIR. */
import { createPublicKey } from 'node:crypto'
import { isAbsolute, relative } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { passesByItself } from '../commands/transient.ts'
import { holdAdvisoryLock } from '../postgres/leader.ts'
import { TickFailed } from '../relay/ticks.ts'
import type { PublicKeys } from './anchor.ts'
import { keepAnchor, listAnchors, newestAnchor } from './anchor-files.ts'
import { type AnchorSource, takeAnchor } from './take-anchor.ts'

/** An anchor that is missing for so long, in milliseconds, wants a person, though every failure may pass by itself. */
const overdueMs = 3_600_000

export interface DailyAnchorOptions extends AnchorSource {
  /** Folder of the anchors: ANCHOR_DIR, or `anchors` of DATA_DIR. */
  readonly dir: string
  readonly dataDir: string
  /** Those that signed before a rotation: the new anchor goes on from their newest. */
  readonly olderKeys?: PublicKeys | undefined
  readonly databaseUrl: string
  readonly clock: { now(): string }
  readonly log: Logger
  /** This machine's clock, in milliseconds since the epoch: says whether an anchor is overdue while `clock` says nothing. */
  readonly system?: () => number
  /** Milliseconds between looks; default one minute. */
  readonly everyMs?: number
}

/** Starts in the background, in whichever process leads; `stop` resolves when nothing of it is at work any more. */
export function startDailyAnchor(options: DailyAnchorOptions): { stop(): Promise<void> } {
  const { databaseUrl, log, everyMs = 60_000 } = options
  const stopping = new AbortController()
  warnIfBeside(options)
  const look = createLook(options)
  const work = holdAdvisoryLock(
    databaseUrl,
    'liveness:anchor',
    stopping.signal,
    async (lost) => {
      while (!lost.aborted) {
        await look()
        await pause(everyMs, undefined, { signal: lost }).catch(() => {})
      }
    },
    (error) => log.warn({ err: error }, 'the session of the leader that anchors broke'),
  )
  return {
    async stop() {
      stopping.abort()
      await work
    },
  }
}

/**
 * A look whether the day has its anchor, which makes it if not, and logs how that ended. What passes by itself is a
 * warning, and an alarm only from an hour on after the first look that missed an anchor; anything else is an alarm at
 * once. Never rejects.
 */
export function createLook(options: Omit<DailyAnchorOptions, 'databaseUrl' | 'dataDir'>): () => Promise<void> {
  const { dir, log, system = Date.now } = options
  let missingSince: number | null = null

  async function missingMs(): Promise<number> {
    const now = system()
    if (await hasAnchorOf(dir, new Date(now).toISOString())) missingSince = null
    else missingSince ??= now
    return now - (missingSince ?? now)
  }

  return async () => {
    try {
      const path = await anchorOfToday(options)
      missingSince = null
      if (path !== null) log.info({ path }, 'the log of the day is anchored')
    } catch (error) {
      const alarm = (fault: unknown) =>
        log.error({ err: fault, alarm: 'anchor' }, `the log could not be anchored: ${messageOf(fault)}`)
      if (!(error instanceof TickFailed || passesByItself(error))) return alarm(error)
      const missing = await missingMs().catch(alarm)
      if (missing === undefined) return
      if (missing >= overdueMs) return alarm(error)
      log.warn({ err: error }, `today's anchor could not be seen to, which is tried again: ${messageOf(error)}`)
    }
  }
}

const hasAnchorOf = async (dir: string, time: string): Promise<boolean> =>
  (await listAnchors(dir)).some(({ through }) => through.startsWith(time.slice(0, 10)))

/**
 * Anchors the log unless the folder has an anchor of this UTC day; returns the new file's path, or null.
 * @throws LogMismatch, EventStoreUnavailable and what the tick, the clock and the file system throw
 */
export async function anchorOfToday(
  options: Omit<DailyAnchorOptions, 'databaseUrl' | 'dataDir'>,
): Promise<string | null> {
  const { dir, clock, log, signingKey, olderKeys = [] } = options
  if (await hasAnchorOf(dir, clock.now())) return null
  const earlier = await newestAnchor(dir, [createPublicKey(signingKey), ...olderKeys], (error) =>
    log.warn({ alarm: 'anchor' }, error.message),
  )
  return keepAnchor(dir, await takeAnchor(options, { earlier, fresh: true }))
}

function warnIfBeside({ dir, dataDir, log }: DailyAnchorOptions): void {
  const inside = relative(dataDir, dir)
  if (inside.startsWith('..') || isAbsolute(inside)) return
  log.warn(
    { dir },
    'Audit anchors are written into the data directory. Whoever can change the log can change them too: they are worth ' +
      'little until ANCHOR_DIR is elsewhere, or copies are kept there.',
  )
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
