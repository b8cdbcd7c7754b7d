/** The two passes: over the whole log, with the read models met on the way, and over one customer's streams. */
import type pg from 'pg'
import { hashOf } from '../events/chain.ts'
import type { EventStore, Position, PositionedEvent } from '../eventstore/store.ts'
import { comparePositions } from '../projections/generations.ts'
import { auditedPrefixes } from './heads.ts'
import { bothStreams } from './verify-again.ts'
import { compareAtCheckpoint, compareAtRevision, compareMetering } from './verify-compare.ts'
import type { LogMemory, logCheck } from './verify-log.ts'
import type { Findings, Say, TablesCompared, VerifyReport } from './verify-report.ts'
import type { LastEvent, VerifyState } from './verify-resume.ts'
import { isMetered, type LiveReadModels, liveReadModels, openSnapshot, type Snapshot } from './verify-snapshot.ts'
import { checkFurther, checkStreams } from './verify-streams.ts'

export interface PassOptions {
  readonly store: Pick<EventStore, 'readAll' | 'readForward' | 'readBackward'>
  readonly pool: pg.Pool
  /** Only this UTC month's books and rows; chains and anchors concern all of them. */
  readonly month?: string | undefined
  /** Where an earlier pass over the whole log was interrupted. */
  readonly from?: VerifyState | undefined
  readonly signal: AbortSignal
  /** Whether each stream is read by itself as well; default yes. It doubles the reading. */
  readonly streams?: boolean | undefined
  /** Told of each event: how many were read, and about which share of the whole that is, where it is known. */
  readonly onEvent?: ((events: number, share: number | null) => void) | undefined
  /** Keeps the place; called now and then, and when the signal is aborted. */
  readonly keep?: ((state: VerifyState) => Promise<void>) | undefined
  /** Milliseconds between two; default one minute. */
  readonly keepEveryMs?: number | undefined
}

export interface Work {
  readonly memory: LogMemory
  readonly findings: Findings
  readonly say: Say
  readonly check: ReturnType<typeof logCheck>
}

type Compared = Pick<VerifyReport, 'readModels' | 'metering'>

/** The signal was aborted; the place is kept where that was asked for. */
export class Interrupted extends Error {
  override name = 'Interrupted'
}

/** @throws Interrupted */
function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new Interrupted('The verification was interrupted.')
}

/**
 * The product may go on meanwhile: read models are compared in a snapshot that is taken when the pass has come to
 * where they stood, and by the time it has come to where the snapshot stands. So it is held while that is read which
 * was appended since the pass began, and never while the whole log is.
 */
export async function passWholeLog(options: PassOptions, work: Work): Promise<Compared> {
  const { store, pool, month, from, signal, streams = true, onEvent, keep, keepEveryMs = 60_000 } = options
  const { memory, findings, say, check } = work
  const compare = { store, memory, month, say }
  let position = from?.position
  let last: LastEvent | null = from?.last ?? null
  let readModels = from?.readModels
  let metAt = from?.metAt ?? 0
  let live: LiveReadModels | null = readModels === undefined ? await liveReadModels(pool) : null
  let snapshot: Snapshot | undefined
  let keptAt = performance.now()

  async function keepPlace(): Promise<void> {
    keptAt = performance.now()
    if (position === undefined) return
    await keep?.({
      memory,
      findings,
      position,
      last,
      readModels: live === null ? (readModels ?? null) : undefined,
      metAt,
    })
  }

  async function openAtReadModels(): Promise<void> {
    snapshot = await openSnapshot(pool)
    live = await liveReadModels(snapshot.client)
  }

  async function meet(): Promise<void> {
    if (snapshot === undefined || live === null) return
    readModels = await compareAtCheckpoint(compare, snapshot.client, live, last)
    metAt = memory.customerEvents
    live = null
    await snapshot.close()
    snapshot = undefined
  }

  async function readOn(): Promise<void> {
    for await (const event of store.readAll({ prefixes: auditedPrefixes, after: position })) {
      if (signal.aborted) await keepPlace()
      throwIfInterrupted(signal)
      while (live !== null && comparePositions(event.position, live.checkpoint.position) > 0) {
        if (snapshot === undefined) await openAtReadModels()
        else await meet()
      }
      const looking = check.pass(event)
      if (looking !== undefined) await looking
      position = event.position
      if (event.stream.startsWith('customer-')) last = lastOf(event)
      onEvent?.(memory.events, shareOf(position, live?.checkpoint.position) * (streams ? 0.5 : 1))
      if (performance.now() - keptAt > keepEveryMs) await keepPlace()
    }
  }

  async function readStreams(): Promise<void> {
    await keepPlace()
    const all = memory.events
    let read = 0
    const further = await checkStreams(memory.heads, {
      store,
      say,
      said: findings.differences,
      onEvent: () => {
        throwIfInterrupted(signal)
        read += 1
        onEvent?.(all + read, 0.5 + read / (2 * all))
      },
    })
    // What was appended meanwhile is in the log by now.
    await readOn()
    checkFurther(further, memory.heads, say)
  }

  try {
    await readOn()
    if (live !== null && snapshot === undefined) await openAtReadModels()
    // What a snapshot has folded is in the log by now.
    if (live !== null) await readOn()
    await meet()
    await snapshot?.close()
    snapshot = await openSnapshot(pool)
    const metered = await isMetered(snapshot.client)
    await readOn()
    const metering = metered ? await compareMetering(compare, snapshot.client) : null
    const compared = { readModels: withLag(readModels ?? null, memory.customerEvents - metAt), metering }
    await snapshot.close()
    snapshot = undefined
    if (streams) await readStreams()
    return compared
  } finally {
    await snapshot?.close()
  }
}

/** Of the reading up to a place near the log's end; 0 where none is known. */
const shareOf = ({ commit }: Position, towards: Position | undefined): number =>
  towards === undefined ? 0 : Math.min(1, Number((commit * 1_000n) / (towards.commit + 1n)) / 1_000)

const withLag = (compared: TablesCompared | null, eventsBehind: number): TablesCompared | null =>
  compared === null ? null : { ...compared, eventsBehind }

const lastOf = ({ position, stream, revision, id, metadata }: PositionedEvent): LastEvent => ({
  position,
  stream,
  revision,
  id,
  hash: hashOf(metadata),
})

/**
 * The snapshot comes first: the log that is read behind it has everything that it has folded. It is held for as long as
 * the two streams take.
 */
export async function passCustomer(options: PassOptions, customerId: string, work: Work): Promise<Compared> {
  const { store, pool, month, signal, onEvent } = options
  const { memory, say, check } = work
  const compare = { store, memory, customerId, month, say }
  const snapshot = await openSnapshot(pool)
  try {
    const live = await liveReadModels(snapshot.client)
    const metered = await isMetered(snapshot.client)
    for await (const event of bothStreams(store, customerId)) {
      throwIfInterrupted(signal)
      await check.pass(event)
      onEvent?.(memory.events, null)
    }
    return {
      readModels: live === null ? null : await compareAtRevision(compare, customerId, snapshot.client, live),
      metering: metered ? await compareMetering(compare, snapshot.client) : null,
    }
  } finally {
    await snapshot.close()
  }
}
