/**
 * The one process at a time that seals, sends and closes. Two at once would do no harm: every event is appended at its
 * stream's exact revision, and AWS bills the same bytes once.
 */
import type pg from 'pg'
import type { Doubts } from '../commands/doubts.ts'
import type { EventStore } from '../eventstore/store.ts'
import type { BatchMeterUsage } from '../marketplace/batch-meter-usage.ts'
import { holdAdvisoryLock } from '../postgres/leader.ts'
import { type Alarms, ageOfWatermark, quietly, tellAges } from './alarms.ts'
import { followEndings } from './endings.ts'
import { decideForIn } from './metering-log.ts'
import { createRounds } from './rounds.ts'
import type { MeteringRules } from './rules.ts'
import { type MeteringStatus, meteringStatus } from './status.ts'
import { createSubmitter } from './submit.ts'
import type { MeteringTables } from './tables.ts'

export interface MeteringOptions extends Alarms {
  readonly pool: pg.Pool
  readonly url: string
  readonly tables: MeteringTables
  readonly store: EventStore
  readonly rules: MeteringRules
  readonly batchMeterUsage: BatchMeterUsage
  readonly doubts: Pick<Doubts, 'standing'>
  /** ISO 8601. */
  readonly now: () => string
}

export interface Metering {
  /** What the tables say, whoever leads. */
  status(): Promise<MeteringStatus>
  leading(): boolean
  /** Resolves when nothing is at work any more: after `stop`. */
  readonly ended: Promise<void>
  /** Begins nothing new and waits for what has begun, at most a call to AWS and the writing down of its answer. */
  stop(): Promise<void>
}

/** Milliseconds between two rounds. */
const roundEveryMs = 1_000
const watchEveryMs = 5_000
const closeEveryMs = 60_000

export function startMetering(options: MeteringOptions): Metering {
  const { pool, url, now, onWarn } = options
  const stopping = new AbortController()
  let leading = false
  const ended = holdAdvisoryLock(
    url,
    'liveness:metering',
    stopping.signal,
    async (lost) => {
      leading = true
      await lead(options, lost).finally(() => {
        leading = false
      })
    },
    (error) => onWarn('metering_leader', 'the session of the leader broke', { err: error }),
  )
  return {
    status: () => meteringStatus(pool, now()),
    leading: () => leading,
    ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }
}

async function lead(options: MeteringOptions, lost: AbortSignal): Promise<void> {
  const { tables, store } = options
  // Not the clock that bills: that one throws while it is out of service, and this must be told of all the same.
  const alarms = quietly(options, () => new Date().toISOString())
  const onTrouble: OnTrouble = (subject, error) => {
    const message = error instanceof Error ? error.message : String(error)
    alarms.onWarn('metering_trouble', `${subject}: ${message}`, { subject, err: error })
  }
  const decideFor = decideForIn({ tables, store, actor: 'system', onAlarm: alarms.onAlarm })
  const endings = followEndings({
    store,
    tables,
    signal: lost,
    onTrouble: (error) => onTrouble('following ends of licences', error),
  })
  const deps = { ...options, decideFor, endings, alarms, onTrouble }
  const rounds = createRounds(deps)
  const submitter = createSubmitter(deps)
  const watch = createWatch(options, alarms)
  // Side by side: a long round of seals keeps nothing that is sealed already from being sent.
  await Promise.all([
    repeat(roundEveryMs, lost, () => rounds.seal(lost), onTrouble),
    repeat(roundEveryMs, lost, () => submitter.step(lost), onTrouble),
    repeat(closeEveryMs, lost, () => rounds.close(lost), onTrouble),
    repeat(watchEveryMs, lost, watch, onTrouble),
    endings.ended,
  ])
}

/** While no watermark is judged, nothing is sealed, and nothing else says so. */
function createWatch({ tables, now }: MeteringOptions, { onAlarm, onWarn }: Alarms): () => Promise<void> {
  let startedAt: string | undefined
  const tell = tellAges(now, (age, fields) => {
    const message = 'No watermark is judged: hours that are over are not sealed'
    if (age === 'old') onWarn('metering_watermark', message, fields)
    else onAlarm('metering_watermark', message, fields)
  })
  return async () => {
    const [oldest = ''] = (await tables.partitions()).map(({ judgedThrough }) => judgedThrough).toSorted()
    const at = now()
    // A new leader's first look must not take the time before it for a standstill of the relay.
    startedAt ??= at
    const [, since = startedAt] = [oldest, startedAt].toSorted()
    tell(ageOfWatermark(since, at), { judgedThrough: oldest === '' ? null : oldest })
  }
}

type OnTrouble = (subject: string, error: unknown) => void

async function repeat(everyMs: number, signal: AbortSignal, round: () => Promise<void>, onTrouble: OnTrouble) {
  while (!signal.aborted) {
    await round().catch((error: unknown) => onTrouble('a round of metering', error))
    await pause(everyMs, signal)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
