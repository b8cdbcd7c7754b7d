/**
 * Ticks: the feed's leader writes the time into the log, once a minute. Whoever reads a tick has read everything that
 * was appended before it, which is what makes a watermark true; no clock of the reader's has a part in it.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { asError } from '../as-error.ts'
import { defaultPatience, type Patience, sendUntilKnown } from '../commands/attempt.ts'
import type { Clock } from '../commands/clock.ts'
import { chain, emptyHead, type Head } from '../events/chain.ts'
import { meteringSchemaVersion, parseData, type Tick, tickData, watermarkStream } from '../events/metering.ts'
import type { EventStore } from '../eventstore/store.ts'

export interface TickOptions {
  readonly store: EventStore
  readonly clock: Pick<Clock, 'now'>
  /** Postgres's clock, asked for each tick. */
  readonly databaseClock: () => Promise<Date>
  readonly patience?: Patience | undefined
  /** Aborts when whoever ticks leads no more: a leader that was frozen has lost its lock before it hears the time. */
  readonly signal?: AbortSignal | undefined
}

/** A tick could not be appended, or it is not known whether it was. It is harmless either way. */
export class TickFailed extends Error {
  override name = 'TickFailed'
}

/**
 * Appends one tick behind the last. Its time is the earlier of the two clocks, and is read before the append: a time
 * too early only delays what it completes.
 *
 * @returns its time, or null when it would not be later than the last tick's, or another leader's came first
 * @throws TickFailed, ClockOutOfService, EventStoreUnavailable, UnreadableEvent, the signal's reason and what the database's
 *   clock throws
 */
export async function appendTick({
  store,
  clock,
  databaseClock,
  patience,
  signal,
}: TickOptions): Promise<string | null> {
  const database = await databaseClock()
  const at = new Date(Math.min(Date.parse(clock.now()), database.getTime())).toISOString()
  const last = await lastTick(store)
  if (last.through !== null && at <= last.through) return null
  signal?.throwIfAborted()

  const id = randomUUID()
  const data: Tick = { occurredAt: at }
  const metadata = { correlationId: id, causationId: id, actor: 'system', schema: meteringSchemaVersion }
  const { events } = chain(watermarkStream, last.head, [{ id, type: 'Tick', data, metadata }])
  const expectedRevision = last.head.revision < 0n ? 'no_stream' : last.head.revision
  const attempt = { stream: watermarkStream, expectedRevision, events } as const
  const outcome = await sendUntilKnown(store, attempt, patience ?? defaultPatience)
  if (outcome.kind === 'appended') return at
  if (outcome.kind === 'conflict') return null
  throw new TickFailed(`the tick of ${at} ended as ${outcome.kind}: ${outcome.cause.message}`, { cause: outcome.cause })
}

async function lastTick(store: EventStore): Promise<{ head: Head; through: string | null }> {
  for await (const stored of store.readBackward(watermarkStream, 1)) {
    const { data, metadata } = parseData(stored, tickData)
    return { head: { revision: stored.revision, hash: metadata.hash }, through: data.occurredAt }
  }
  return { head: emptyHead, through: null }
}

/** A leader's duty: a tick at once and then each `everyMs`, until the signal aborts. Never rejects. */
export async function keepTicking({
  everyMs = 60_000,
  signal,
  onTrouble,
  ...options
}: TickOptions & {
  readonly everyMs?: number | undefined
  readonly signal: AbortSignal
  readonly onTrouble: (error: Error) => void
}): Promise<void> {
  while (!signal.aborted) {
    try {
      await appendTick({ ...options, signal })
    } catch (thrown) {
      if (!signal.aborted) onTrouble(asError(thrown))
    }
    await pause(everyMs, undefined, { signal }).catch(() => {})
  }
}
