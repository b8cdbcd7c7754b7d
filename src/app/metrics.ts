import type { Logger } from 'pino'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { alarmNames } from '../alarms.ts'
import { countDoubts } from '../commands/doubts.ts'
import type { Role } from '../config.ts'
import { alarmsOf } from '../http/logging.ts'
import type { Runner } from '../projections/runner.ts'
import { version } from '../version.ts'
import type { System } from './system.ts'

export interface MeasuredParts {
  readonly system: Pick<System, 'clock' | 'pool' | 'registerAppends'>
  readonly roles: readonly Role[]
  readonly runner: Runner | undefined
  readonly log: Logger
}

/** The registry behind GET /metrics, with what every process knows, and what is known of its projections. */
export function createMetrics({ system, roles, runner, log }: MeasuredParts): Registry {
  const { clock, pool, registerAppends } = system
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  registerAppends(registry)
  new Gauge({
    name: 'liveness_info',
    help: 'Always 1: the version of this process and its roles.',
    labelNames: ['version', 'roles'],
    registers,
  }).set({ version, roles: roles.join(',') }, 1)
  new Counter({
    name: 'liveness_alarms_total',
    help: 'Alarms in the log of this process since it started, by name. docs/runbook.md says what to do.',
    labelNames: ['alarm'],
    registers,
    collect() {
      this.reset()
      const alarms = alarmsOf(log)
      for (const alarm of new Set([...alarmNames, ...alarms.keys()])) this.inc({ alarm }, alarms.get(alarm) ?? 0)
    },
  })
  gauge('liveness_clock_offset_seconds', "How far this clock is ahead of Postgres's.", () => {
    return (clock.offsetMs() ?? Number.NaN) / 1_000
  })
  gauge('liveness_attempts_in_doubt', 'Appends whose outcome nobody knows yet, of all processes.', async () => {
    return (await countDoubts(pool)).standing
  })
  gauge('liveness_attempts_in_doubt_oldest_seconds', 'Age of the oldest attempt in doubt; 0 without one.', async () => {
    return (await countDoubts(pool)).oldestSeconds
  })
  if (runner === undefined) return registry
  gauge('liveness_projections_leading', '1 where this process folds the read models, 0 where it stands by.', () =>
    runner.lag().leading ? 1 : 0,
  )
  gauge('liveness_projections_waiting_events', 'Events received from the log and not yet in the read models.', () => {
    return runner.lag().waiting
  })
  gauge('liveness_projections_lag_seconds', 'Age of the oldest event that is not yet in the read models.', () => {
    return runner.lag().ageMs / 1_000
  })
  gauge('liveness_projections_failures', 'Failures in a row since the last batch was committed.', () => {
    return runner.lag().failures
  })
  return registry

  function gauge(name: string, help: string, value: () => number | Promise<number>): void {
    addGauge(registry, name, help, value)
  }
}

/** A scrape must not fail because Postgres is down: the gauge says NaN then. */
export function addGauge(registry: Registry, name: string, help: string, value: () => number | Promise<number>): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    async collect() {
      this.set(
        await Promise.resolve()
          .then(value)
          .catch(() => Number.NaN),
      )
    },
  })
}
