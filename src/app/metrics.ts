import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Runner } from '../projections/runner.ts'
import type { System } from './system.ts'

/** The registry behind GET /metrics, with what is known of this process's clock and projections. */
export function createMetrics({ clock }: Pick<System, 'clock'>, runner: Runner | undefined): Registry {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'liveness_clock_offset_seconds',
    help: "How far this clock is ahead of Postgres's.",
    registers,
    collect() {
      this.set((clock.offsetMs() ?? Number.NaN) / 1_000)
    },
  })
  if (runner === undefined) return registry
  new Gauge({
    name: 'liveness_projections_leading',
    help: '1 where this process folds the read models, 0 where it stands by.',
    registers,
    collect() {
      this.set(runner.lag().leading ? 1 : 0)
    },
  })
  new Gauge({
    name: 'liveness_projections_waiting_events',
    help: 'Events received from the log and not yet in the read models.',
    registers,
    collect() {
      this.set(runner.lag().waiting)
    },
  })
  new Gauge({
    name: 'liveness_projections_lag_seconds',
    help: 'Age of the oldest event that is not yet in the read models.',
    registers,
    collect() {
      this.set(runner.lag().ageMs / 1_000)
    },
  })
  new Gauge({
    name: 'liveness_projections_failures',
    help: 'Failures in a row since the last batch was committed.',
    registers,
    collect() {
      this.set(runner.lag().failures)
    },
  })
  return registry
}
