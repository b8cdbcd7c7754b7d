/** Gives the HTTP side what it asks for. */

import type { Logger } from 'pino'
import type { SecretsKeys } from '../accounts/seal.ts'
import { passesByItself } from '../commands/transient.ts'
import type { Config } from '../config.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import { EventStoreUnavailable } from '../eventstore/store.ts'
import type { Dependencies } from '../http/dependencies.ts'
import type { Watched } from '../http/operations.ts'
import type { Inference } from '../inference/inference.ts'
import { findApiKey } from '../readmodels/api-keys.ts'
import { NotFreshYet } from '../readmodels/freshness.ts'
import { findIdempotencyKey } from '../readmodels/idempotency-keys.ts'
import { usageOf } from '../readmodels/usage.ts'
import { version } from '../version.ts'
import { publicUrlOf } from './console.ts'
import { observed } from './inference-metrics.ts'
import type { System } from './system.ts'

/** A key may send five seconds' worth of its rate at once: clients work in bursts. */
const burstSeconds = 5

export interface HttpParts {
  readonly config: Config
  readonly system: System
  readonly inference: Inference
  readonly watched: Watched
  readonly secretsKeys: SecretsKeys
  readonly log: Logger
  readonly console: Dependencies['console']
  readonly marketplace: Dependencies['marketplace']
}

export function httpDependencies(parts: HttpParts): Dependencies {
  const { config, system, inference, watched, secretsKeys, log } = parts
  const { pool, store, ledgers, clock, freshness } = system
  return {
    version,
    ledgers,
    inference: observed(inference, watched.metrics),
    keys: { find: (keyHash) => findApiKey(pool, keyHash) },
    idempotencyKeys: { find: (customerId, keyHmacs) => findIdempotencyKey(pool, customerId, keyHmacs) },
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
    ...watched,
    isUnavailable: passesByItself,
    clock,
    logger: log,
    limits: { perSecond: config.RATE_LIMIT, burst: config.RATE_LIMIT * burstSeconds },
    trustProxy: config.TRUST_PROXY,
    publicUrl: publicUrlOf(config),
    secretsKeys,
    console: parts.console,
    marketplace: parts.marketplace,
  }
}
