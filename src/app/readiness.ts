/** Whether each thing that a process's roles need is there, in words for operators. Answered within two seconds. */
import type { Role } from '../config.ts'
import type { Readiness } from '../http/dependencies.ts'
import type { Inference } from '../inference/inference.ts'
import type { Runner } from '../projections/runner.ts'
import { readModelsLag } from '../readmodels/lag.ts'
import type { KafkaSettings } from '../relay/kafka-settings.ts'
import { clockFault, createKafkaHealth, probeMs, type ServerFault } from './health.ts'
import type { MeteringRoles } from './metering.ts'
import { createProbe } from './probe.ts'
import type { System } from './system.ts'

/** Projections that lag so far show yesterday's figures to customers, and new keys are unknown until they catch up. */
const readModelsMayLagMs = 30_000

export interface ReadinessParts {
  readonly roles: readonly Role[]
  readonly system: Pick<System, 'pool' | 'store' | 'clock'>
  readonly servers: () => Promise<ServerFault>
  /** Null where no Kafka is set. */
  readonly kafka: KafkaSettings | null
  readonly runner: Runner | undefined
  readonly metering: Pick<MeteringRoles, 'relay' | 'feed'>
  /** Undefined without the role api. */
  readonly inference: Pick<Inference, 'set' | 'queueDepth'> | undefined
  /** Why roles of this process have stopped for good. */
  readonly stopped: () => readonly string[]
}

/** Many may ask at the same time: each server is asked once for all of them. */
export function createReadiness(parts: ReadinessParts): () => Promise<Readiness> {
  const { roles, system, servers, kafka, runner, metering, inference, stopped } = parts
  const { clock, pool, store } = system
  const readsModels = roles.includes('api') || roles.includes('projections')
  const usesKafka = roles.includes('relay') || roles.includes('metering')
  const lagOf = createProbe(readModelsLag(pool, store), probeMs)
  const kafkaFault = kafka !== null && usesKafka ? createKafkaHealth(kafka) : async () => null

  return async () => {
    const [serverFault, lagMs, fault] = await Promise.all([servers(), readsModels ? lagOf() : 0, kafkaFault()])
    const fed = metering.feed?.lag()
    const folded = runner?.lag()
    const reasons = [
      serverFault,
      clockFault(clock),
      ...stopped(),
      // Where a server is away, that is the reason, and how far the read models are is not known.
      serverFault === null ? lagFault(lagMs) : null,
      fault,
      ...(fed?.stopped ?? []).map(({ partition, reason }) => `metering stopped at partition ${partition}: ${reason}`),
    ].filter((reason) => typeof reason === 'string')
    return {
      ready: reasons.length === 0,
      reasons,
      roles,
      modelSet: inference?.set ?? null,
      inferenceQueueDepth: inference?.queueDepth() ?? null,
      clockOffsetMs: clock.offsetMs(),
      readModelsLagMs: readsModels ? (lagMs ?? null) : null,
      lag: {
        ...(folded === undefined
          ? {}
          : { read_models: folded.leading && folded.failures === 0 ? folded.waiting : null }),
        ...(fed === undefined ? {} : { metering: fed.active && fed.failures === 0 ? fed.waiting : null }),
      },
    }
  }
}

function lagFault(lagMs: number | undefined): string | null {
  if (lagMs === undefined) return 'how far the read models are behind the log cannot be told'
  return lagMs <= readModelsMayLagMs ? null : `the read models are ${Math.round(lagMs / 1_000)} s behind the log`
}
