/** A leader's duty: one anchor for each UTC day into ANCHOR_DIR. */
import { createPublicKey } from 'node:crypto'
import { isAbsolute, relative } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { holdAdvisoryLock } from '../postgres/leader.ts'
import type { PublicKeys } from './anchor.ts'
import { keepAnchor, listAnchors, newestAnchor } from './anchor-files.ts'
import { type AnchorSource, takeAnchor } from './take-anchor.ts'

export interface DailyAnchorOptions extends AnchorSource {
  /** Folder of the anchors: ANCHOR_DIR, or `anchors` of DATA_DIR. */
  readonly dir: string
  readonly dataDir: string
  /** Those that signed before a rotation: the new anchor goes on from their newest. */
  readonly olderKeys?: PublicKeys | undefined
  readonly databaseUrl: string
  readonly clock: { now(): string }
  readonly log: Logger
  /** Milliseconds between looks; default one minute. */
  readonly everyMs?: number
}

/** Starts in the background, in whichever process leads; `stop` resolves when nothing of it is at work any more. */
export function startDailyAnchor(options: DailyAnchorOptions): { stop(): Promise<void> } {
  const { databaseUrl, log, everyMs = 60_000 } = options
  const stopping = new AbortController()
  warnIfBeside(options)
  const work = holdAdvisoryLock(
    databaseUrl,
    'liveness:anchor',
    stopping.signal,
    async (lost) => {
      while (!lost.aborted) {
        try {
          const path = await anchorOfToday(options)
          if (path !== null) log.info({ path }, 'the log of the day is anchored')
        } catch (error) {
          log.error({ err: error, alarm: 'anchor' }, `the log could not be anchored: ${messageOf(error)}`)
        }
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
 * Anchors the log unless the folder has an anchor of this UTC day; returns the new file's path, or null.
 * @throws LogMismatch, EventStoreUnavailable and what the tick, the clock and the file system throw
 */
export async function anchorOfToday(
  options: Omit<DailyAnchorOptions, 'databaseUrl' | 'dataDir'>,
): Promise<string | null> {
  const { dir, clock, log, signingKey, olderKeys = [] } = options
  const today = clock.now().slice(0, 10)
  const files = await listAnchors(dir)
  if (files.some(({ through }) => through.startsWith(today))) return null
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
