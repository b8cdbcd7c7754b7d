/**
 * The relay of the log to Kafka. Leader by advisory lock, fenced by the state's compare-and-set; reconnects for ever;
 * stops only when it is told to, or when the log or the topic is not what it must be. The leader also ticks.
 */
import type pg from 'pg'
import type { Clock } from '../commands/clock.ts'
import { LogMismatch } from '../commands/errors.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { EventStore, Position, PositionedEvent } from '../eventstore/store.ts'
import { keepLeading, type Progress } from '../postgres/keep-leading.ts'
import { inBatches } from '../projections/feed.ts'
import { fedPrefixes } from './feed.ts'
import { postgresRelayStates } from './state.ts'
import { RelayMoved, relayBatch, TopicLost, takeUp } from './step.ts'
import { keepTicking } from './ticks.ts'
import { orAborted, TopicMisconfigured, type TopicSource } from './topic.ts'

export interface RelayOptions {
  readonly pool: pg.Pool
  /** For the session that holds the leader's lock. */
  readonly url: string
  readonly store: EventStore
  readonly topic: TopicSource
  readonly clock: Pick<Clock, 'now'>
  /** Postgres's clock: a tick's time is the earlier of the two. */
  readonly databaseClock: () => Promise<Date>
  /** Somebody must look: the topic was lost. It is being refilled; what stops the relay for good, `ended` says. */
  readonly onAlarm: (error: Error) => void
  /** A failure that is retried. */
  readonly onTrouble?: ((error: Error, failures: number) => void) | undefined
  /** Told of events that Kafka has acknowledged. */
  readonly onRelayed?: ((events: readonly PositionedEvent[]) => void) | undefined
  readonly maxBatch?: number | undefined
  readonly tickEveryMs?: number | undefined
}

export interface RelayLag {
  /** Whether this process is the one that relays. */
  readonly leading: boolean
  /** Events received from the store and not yet acknowledged by Kafka. */
  readonly waiting: number
  /** Milliseconds since the oldest of those was created; 0 when none waits. */
  readonly ageMs: number
  /** Events relayed by this process since it started, ticks included. */
  readonly relayed: number
  /** When the last event relayed here was created. Ticks are events, so a minute ago is normal and ten are not. */
  readonly lastEventAt: Date | null
  readonly position: Position | null
  /** Failures in a row since the last acknowledgement. While above 0, `waiting` may be far too low. */
  readonly failures: number
}

export interface Relay {
  lag(): RelayLag
  /** Resolves when the relay has ended: with the error that stopped it, or null after `stop`. */
  readonly ended: Promise<Error | null>
  stop(): Promise<void>
}

/** Key of the leader's advisory lock. */
const relayLock = 'liveness:relay'

/** The log or the topic is not what it must be. */
const endsRelay = [LogMismatch, UnreadableEvent, TopicMisconfigured]

/** Starts in the background. */
export function startRelay(options: RelayOptions): Relay {
  const {
    pool,
    url,
    store,
    topic: source,
    clock,
    databaseClock,
    onAlarm,
    onTrouble,
    onRelayed,
    maxBatch = 1_000,
    tickEveryMs,
  } = options
  const states = postgresRelayStates(pool, source.name)
  const unacknowledged: Date[] = []
  let relayed = 0
  let lastEventAt: Date | null = null
  let position: Position | null = null

  const onItem = ({ created }: PositionedEvent) => void unacknowledged.push(created)

  /** Relays until the signal aborts, something fails, or the topic is to be filled anew. */
  async function relayOn(signal: AbortSignal, { succeeded, failed }: Progress): Promise<void> {
    const topic = await source.open(signal, failed)
    try {
      const deps = { store, topic, states }
      let state = await orAborted(takeUp(deps), signal)
      unacknowledged.length = 0
      position = state.checkpoint?.position ?? null
      const events = (reading: AbortSignal) =>
        store.subscribe({ prefixes: fedPrefixes, after: state.checkpoint?.position, signal: reading })
      for await (const batch of inBatches(events, { max: maxBatch, signal, onItem })) {
        state = await relayBatch(state, batch, deps)
        succeeded()
        relayed += batch.length
        unacknowledged.splice(0, batch.length)
        lastEventAt = state.checkpoint?.created ?? null
        position = state.checkpoint?.position ?? null
        onRelayed?.(batch)
      }
    } catch (error) {
      if (!(error instanceof TopicLost) || signal.aborted) throw error
      onAlarm(error)
    } finally {
      await topic.close()
    }
  }

  const leader = keepLeading({
    url,
    lock: relayLock,
    work: relayOn,
    beside: (signal, onTrouble) =>
      keepTicking({ store, clock, databaseClock, everyMs: tickEveryMs, signal, onTrouble }),
    consequenceOf(error) {
      if (endsRelay.some((kind) => error instanceof kind)) return 'ends'
      return error instanceof RelayMoved ? 'moves_on' : 'retries'
    },
    onTrouble,
    onLeft: () => {
      unacknowledged.length = 0
    },
  })

  return {
    lag() {
      const oldest = unacknowledged[0]
      const ageMs = oldest === undefined ? 0 : Math.max(0, Date.now() - oldest.getTime())
      const [leading, failures] = [leader.leading(), leader.failures()]
      return { leading, waiting: unacknowledged.length, ageMs, relayed, lastEventAt, position, failures }
    },
    ended: leader.ended,
    stop: leader.stop,
  }
}
