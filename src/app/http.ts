/** Gives the HTTP side what it asks for. */
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import { EventStoreUnavailable } from '../eventstore/store.ts'
import type { Dependencies } from '../http/dependencies.ts'
import type { Inference } from '../inference/inference.ts'
import { isUnavailable } from '../postgres/pool.ts'
import type { Runner } from '../projections/runner.ts'
import { findApiKey } from '../readmodels/api-keys.ts'
import { NotFreshYet } from '../readmodels/freshness.ts'
import { findIdempotencyKey } from '../readmodels/idempotency-keys.ts'
import { usageOf } from '../readmodels/usage.ts'
import { version } from '../version.ts'
import { publicUrlOf } from './console.ts'
import { createHealth } from './health.ts'
import type { MeteringRoles } from './metering.ts'
import { createMeteringMetrics } from './metering-metrics.ts'
import { createMetrics } from './metrics.ts'
import type { System } from './system.ts'

/** A key may send five seconds' worth of its rate at once: clients work in bursts. */
const burstSeconds = 5

export interface HttpParts {
  readonly config: Config
  readonly roles: readonly string[]
  readonly system: System
  readonly inference: Inference
  readonly runner: Runner | undefined
  readonly hmacKey: Buffer
  readonly log: Logger
  readonly metering: MeteringRoles
  readonly console: Dependencies['console']
  readonly marketplace: Dependencies['marketplace']
  /** Whether a role of this process has stopped for good. */
  readonly outOfService: () => boolean
}

export function httpDependencies(parts: HttpParts): Dependencies {
  const { config, roles, system, inference, runner, metering, hmacKey, log, outOfService } = parts
  const { pool, store, ledgers, clock, freshness } = system
  const health = createHealth(system)
  const metrics = createMetrics(system, runner)
  createMeteringMetrics(metrics, system, metering)
  return {
    version,
    ledgers,
    inference,
    keys: { find: (keyHash) => findApiKey(pool, keyHash) },
    idempotencyKeys: { find: (customerId, keyHmac) => findIdempotencyKey(pool, customerId, keyHmac) },
    usage: {
      async atRevision(customerId, revision, yearMonth) {
        await freshness.waitFor(customerId, revision)
        const usage = await usageOf(pool, customerId, yearMonth)
        if (usage === null) throw new NotFreshYet(`no usage of customer-${customerId} in ${yearMonth}`)
        return { ...usage, yearMonth: usage.month, hardCapEnabled: usage.hardCap }
      },
    },
    async eventAt(customerId, revision) {
      const stream = customerStream(customerId)
      for await (const stored of store.readForward(stream, revision, 1)) {
        if (stored.revision === revision) return parseCustomerEvent(stored).event
      }
      throw new EventStoreUnavailable(`${stream} has no event at revision ${revision}`)
    },
    health,
    async ready() {
      const inTime = (() => {
        try {
          return clock.now() !== ''
        } catch {
          return false
        }
      })()
      const lag = runner?.lag()
      const fed = metering.feed?.lag()
      return {
        ready: !outOfService() && inTime && (fed?.stopped ?? []).length === 0 && (await health()) === null,
        roles,
        modelSet: inference.set,
        clockOffsetMs: clock.offsetMs(),
        lag: {
          ...(lag === undefined ? {} : { read_models: lag.leading && lag.failures === 0 ? lag.waiting : null }),
          ...(fed === undefined ? {} : { metering: fed.active && fed.failures === 0 ? fed.waiting : null }),
        },
      }
    },
    isUnavailable: (error) => isUnavailable(error) || error instanceof NotFreshYet,
    clock,
    logger: log,
    limits: { perSecond: config.RATE_LIMIT, burst: config.RATE_LIMIT * burstSeconds },
    trustProxy: config.TRUST_PROXY,
    publicUrl: publicUrlOf(config),
    hmacKey,
    metrics,
    console: parts.console,
    marketplace: parts.marketplace,
  }
}
