/** What operators ask of a process of any role: is it ready, and its figures. With OPERATIONS_PORT it has a port for that. */
import type { Logger } from 'pino'
import { Gauge } from 'prom-client'
import type { Config, Role } from '../config.ts'
import type { Watched } from '../http/operations.ts'
import { buildOperationsServer } from '../http/operations-server.ts'
import type { Inference } from '../inference/inference.ts'
import type { Runner } from '../projections/runner.ts'
import type { KafkaSettings } from '../relay/kafka-settings.ts'
import { createHealth, createServersHealth } from './health.ts'
import { listen } from './listen.ts'
import type { MeteringRoles } from './metering.ts'
import { createMeteringMetrics } from './metering-metrics.ts'
import { createMetrics } from './metrics.ts'
import { createReadiness } from './readiness.ts'
import type { System } from './system.ts'

export interface OperatedParts {
  readonly roles: readonly Role[]
  readonly system: System
  readonly runner: Runner | undefined
  readonly metering: MeteringRoles
  /** Undefined without the role api. */
  readonly inference: Inference | undefined
  /** Null where no Kafka is set. */
  readonly kafka: KafkaSettings | null
  /** Why a role of this process has stopped for good; undefined while none has. */
  readonly stopped: () => readonly string[]
  /** As createLogger made it: it counts the alarms. */
  readonly log: Logger
}

export function watchOver(parts: OperatedParts): Watched {
  const { roles, system, runner, metering, inference, kafka, stopped, log } = parts
  const servers = createServersHealth(system)
  const metrics = createMetrics({ system, roles, runner, log })
  createMeteringMetrics(metrics, system, metering)

  const ready = createReadiness({ roles, system, servers, kafka, runner, metering, inference, stopped })
  new Gauge({
    name: 'liveness_ready',
    help: '1 where GET /ready says so, 0 where not.',
    registers: [metrics],
    async collect() {
      this.set((await ready()).ready ? 1 : 0)
    },
  })
  return { health: createHealth(servers, system.clock), ready, metrics }
}

export interface OperationsListener {
  readonly url: string
  close(): Promise<void>
}

/** @throws ConfigError when it cannot listen there */
export async function listenForOperators(config: Config, watched: Watched, port: number): Promise<OperationsListener> {
  const app = await buildOperationsServer(watched)
  return {
    url: await listen(app, { host: config.HOST, port }, 'OPERATIONS_PORT'),
    close: () => app.close(),
  }
}
