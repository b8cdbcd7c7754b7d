/** The daily anchor of the log, for the process that has the role metering. */
import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { startDailyAnchor } from '../audit/daily-anchor.ts'
import type { Config } from '../config.ts'
import { appendTick } from '../relay/ticks.ts'
import type { System } from './system.ts'

/** Where anchors are written, and looked for. */
export const anchorDirOf = ({ ANCHOR_DIR, DATA_DIR }: Pick<Config, 'ANCHOR_DIR' | 'DATA_DIR'>): string =>
  ANCHOR_DIR ?? join(DATA_DIR, 'anchors')

export function startAnchors(config: Config, system: System, signingKey: KeyObject, log: Logger) {
  const { store, clock, databaseClock, databaseUrl } = system
  return startDailyAnchor({
    store,
    signingKey,
    olderKeys: config.AUDIT_OLDER_PUBLIC_KEYS,
    clock,
    databaseUrl,
    log,
    tick: () => appendTick({ store, clock, databaseClock }),
    dir: anchorDirOf(config),
    dataDir: config.DATA_DIR,
  })
}
