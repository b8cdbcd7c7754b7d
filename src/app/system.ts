/** What every part of the program stands on: database, log, clock, ledgers and the read models' freshness. */
import type pg from 'pg'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { defaultPatience } from '../commands/attempt.ts'
import { type ClockGuard, startClockGuard } from '../commands/clock.ts'
import { postgresDoubts } from '../commands/doubts.ts'
import { createLedgers, type Ledgers } from '../commands/ledgers.ts'
import { connectEventStore } from '../eventstore/client.ts'
import type { EventStore } from '../eventstore/store.ts'
import { refuseUnfinishedMove } from '../move/marker.ts'
import { connect, databaseTime } from '../postgres/pool.ts'
import { createFreshness, type Freshness } from '../readmodels/freshness.ts'
import { loadSnapshot } from '../readmodels/snapshots.ts'
import { observedStore } from './append-metrics.ts'

export interface System {
  readonly databaseUrl: string
  readonly pool: pg.Pool
  readonly store: EventStore
  readonly clock: ClockGuard
  /** Postgres's clock, asked anew each time. */
  readonly databaseClock: () => Promise<Date>
  readonly ledgers: Ledgers
  readonly freshness: Freshness
  /** Puts what is known of appends into a registry. */
  readonly registerAppends: (registry: Registry) => void
  /** Waits for the ledgers, then closes the connections. */
  close(): Promise<void>
}

/** Clocks to use instead of this machine's and Postgres's; tests pass a month's end with them. */
export interface Clocks {
  /** Milliseconds since the epoch. */
  readonly systemClock?: (() => number) | undefined
  /** What tells that it was set: commands/clock.ts. */
  readonly steadyClock?: (() => number) | undefined
  readonly databaseClock?: (() => Promise<Date>) | undefined
}

export interface SystemOptions extends Clocks {
  readonly databaseUrl: string
  readonly eventStoreUrl: string
  readonly log: Logger
}

/** @throws MoveUnfinished and what the first look at Postgres's clock throws */
export async function openSystem(options: SystemOptions): Promise<System> {
  const { databaseUrl, eventStoreUrl, log, systemClock, steadyClock } = options
  const pool = connect(databaseUrl, {
    max: 20,
    onIdleError: (error) => log.warn({ err: error }, 'a connection to Postgres broke'),
  })
  const { databaseClock = () => databaseTime(pool) } = options
  let clock: ClockGuard
  try {
    await refuseUnfinishedMove(pool)
    clock = await startClockGuard({
      database: databaseClock,
      onAlarm: (message) => log.error({ alarm: 'clock' }, message),
      system: systemClock,
      steady: steadyClock,
    })
  } catch (error) {
    await pool.end()
    throw error
  }
  const { store, register: registerAppends } = observedStore(connectEventStore(eventStoreUrl))
  const ledgers = createLedgers({
    store,
    loadSnapshot: loadSnapshot(pool),
    doubts: postgresDoubts(pool),
    clock,
    patience: defaultPatience,
  })
  const freshness = createFreshness({ pool, url: databaseUrl })
  return {
    databaseUrl,
    pool,
    store,
    clock,
    databaseClock,
    ledgers,
    freshness,
    registerAppends,
    async close() {
      await ledgers.drained()
      clock.stop()
      await freshness.close()
      await store.close()
      await pool.end()
    },
  }
}
