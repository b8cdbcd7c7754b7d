/**
 * `liveness migrate`: the embedded stack's content into other servers. The log is copied first, then the tables that
 * are no read model; the folds are made anew, and everything is verified before either side is marked.
 *
 * It may end anywhere. The target refuses every start from its first row on until the move has ended, and the source
 * from the moment it is marked, which comes first: at no time can both be started.
 */
import type { KeyObject } from 'node:crypto'
import type pg from 'pg'
import { keepAnchor, newestAnchor } from '../audit/anchor-files.ts'
import { takeAnchor } from '../audit/take-anchor.ts'
import { verify } from '../audit/verify.ts'
import { kinds, type VerifyReport } from '../audit/verify-report.ts'
import type { EventStore } from '../eventstore/store.ts'
import { migrate } from '../postgres/migrate.ts'
import { databaseTime } from '../postgres/pool.ts'
import { ensureReadModels } from '../projections/generations.ts'
import { appendTick } from '../relay/ticks.ts'
import { copyLog } from './copy-log.ts'
import { copyTables, firstFilled, OtherTables, tablesToMove } from './copy-tables.ts'
import { foldMetering, foldReadModels } from './fold-target.ts'
import { type MovedTo, markMoved, movedIn } from './marker.ts'
import { countEvents, sourceEvents } from './source-log.ts'

export type Stage = 'tables' | 'log' | 'compare' | 'read models' | 'metering' | 'verify' | 'mark'

export interface MoveOptions {
  readonly source: {
    readonly dataDir: string
    /** The application's database. */
    readonly pool: pg.Pool
    /** The database in which the embedded event store keeps the log. */
    readonly logPool: pg.Pool
    readonly store: EventStore
  }
  readonly target: {
    readonly url: string
    readonly pool: pg.Pool
    readonly store: EventStore
    readonly address: Pick<MovedTo, 'eventStore' | 'database'>
  }
  /** Refuses a SECRETS_KEY that the source was not used with. */
  readonly checkSecrets: (pool: pg.Pool) => Promise<void>
  readonly signingKey: KeyObject
  /** Those that verify the anchors that are there. */
  readonly publicKeys: readonly KeyObject[]
  /** Where the anchors are that bind the log, and where the new one goes. */
  readonly anchorDir: string
  /** METERING_GRACE in milliseconds. */
  readonly graceMs: number
  readonly signal: AbortSignal
  readonly onStage?: ((stage: Stage) => void) | undefined
  /** Events done of those there are, in the stages `log` and `compare`. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  readonly onWarning: (message: string) => void
}

export interface Moved {
  readonly events: number
  /** Of these, the ones appended by this run. */
  readonly appended: number
  readonly tables: readonly string[]
  readonly rows: number
  readonly report: VerifyReport
  /** Of the first anchor taken of the target's log. */
  readonly anchor: string
}

/** The target does not agree with the log that was copied; nothing was marked. */
class NotTheSame extends Error {
  override name = 'NotTheSame'
}

/** @throws OtherLog, OtherTables, CannotMove, NotTheSame, ConfigError: sentences for the operator */
export async function move(options: MoveOptions): Promise<Moved> {
  const { source, target, signal, onStage = () => {}, onProgress = () => {} } = options
  onStage('tables')
  await options.checkSecrets(source.pool)
  const tables = await tablesToMove(source.pool)
  await claimTarget(options, tables)

  onStage('log')
  // The new log's first anchor is made at this tick, and no event more than the old log's stands in the new one.
  await appendTick({ store: source.store, clock: isoClock, databaseClock: () => databaseTime(source.pool) })
  const total = (await countEvents(source.logPool)) ?? 0
  const copy = () =>
    copyLog({
      source: sourceEvents(source.logPool),
      target: target.store,
      signal,
      onProgress: (done) => onProgress(done, total),
    })
  const { events, appended } = await copy()
  onStage('compare')
  // Read back from the target, every one of them.
  if ((await copy()).appended > 0) throw new NotTheSame('The target has lost events that it acknowledged.')
  const rows = await copyTables(source.pool, target.pool, tables)

  const { pool, url, store } = target
  onStage('read models')
  await foldReadModels({ pool, url, store, signal })
  onStage('metering')
  await foldMetering(
    { pool, url, store, signal },
    { graceMs: options.graceMs, onAlarm: (_, m) => options.onWarning(m) },
  )
  onStage('verify')
  const report = await verified(options)
  const { signingKey, anchorDir } = options
  const tick = async () => {
    throw new NotTheSame('The target has no tick, and the source has one.')
  }
  const anchor = await takeAnchor({ store, signingKey, tick }, { earlier: null, fresh: false })
  const path = await keepAnchor(anchorDir, anchor)

  onStage('mark')
  await markMoved(source.dataDir, { at: new Date().toISOString(), ...target.address })
  await pool.query('update moved_in set finished_at = clock_timestamp()')
  return { events, appended, tables, rows, report, anchor: path }
}

const isoClock = { now: () => new Date().toISOString() }

/** From here on nothing starts on the target. @throws OtherTables when it is not empty and not this source's */
async function claimTarget({ source, target }: MoveOptions, tables: readonly string[]): Promise<void> {
  await migrate(target.url)
  const { rows } = await source.pool.query<{ id: string }>(
    'select system_identifier::text as id from pg_control_system()',
  )
  const id = rows[0]?.id ?? ''
  const into = await movedIn(target.pool)
  if (into !== null && into.source !== id) {
    throw new OtherTables(
      "The target's database holds what was moved from another data directory. Give it an empty one.",
    )
  }
  if (into === null) {
    const filled = await firstFilled(target.pool, tables)
    if (filled !== null) {
      throw new OtherTables(`The target's database is in use: its table ${filled} holds rows. Give it an empty one.`)
    }
    await target.pool.query('insert into moved_in (source) values ($1)', [id])
  }
  await ensureReadModels(target.pool)
}

async function verified({ target, publicKeys, anchorDir, signal, onWarning }: MoveOptions): Promise<VerifyReport> {
  const newest = await newestAnchor(anchorDir, publicKeys, ({ message }) => onWarning(message))
  const anchors = newest === null ? [] : [newest]
  const report = await verify({ store: target.store, pool: target.pool, anchors, signal })
  const found = kinds.reduce((sum, kind) => sum + report.counts[kind], 0)
  if (found === 0) return report
  const [first] = report.differences
  throw new NotTheSame(
    `${found} differences in the target, the first: ${first?.kind} ${first?.stream ?? first?.customerId ?? ''} ` +
      `${first?.fault}. Nothing was marked; \`liveness audit verify\` on the source says whether they were there before.`,
  )
}
