/** What the HTTP side asks of the rest of the program, and no more. `app/http.ts` builds it; tests build it in memory. */

import type { FastifyBaseLogger } from 'fastify'
import type { Registry } from 'prom-client'
import type { SecretsKeys } from '../accounts/seal.ts'
import type { Clock } from '../commands/clock.ts'
import type { KeyLookup } from '../commands/idempotency.ts'
import type { Ledgers } from '../commands/ledgers.ts'
import type { CustomerEvent, PlanName, Verdict } from '../events/catalogue.ts'
import type { ConsoleDependencies } from './console/context.ts'
import type { ConsolePagesDependencies } from './console/pages/dependencies.ts'
import type { MarketplaceDependencies } from './marketplace.tsx'

/** What the key table knows of an API key. It may be behind the log, so it only ever refuses what is final. */
export interface KnownKey {
  readonly customerId: string
  readonly keyId: string
  /** Regenerated or deactivated: a key id never comes back. */
  readonly revoked: boolean
  /** ISO 8601 UTC instant, or null. */
  readonly expiresAt: string | null
  /** An attempt in doubt of this customer lies in Postgres: the ledger settles it before the next command. */
  readonly doubtStanding: boolean
}

/** A customer's UTC month as GET /v1/usage reports it. */
export interface MonthUsage {
  readonly yearMonth: string
  readonly totalCalls: number
  readonly monthlyLimit: number
  readonly remainingCalls: number
  readonly overLimitCalls: number
  readonly plan: PlanName
  readonly hardCapEnabled: boolean
}

export interface Readiness {
  readonly ready: boolean
  /** Why not, one sentence for each thing that is missing; empty when ready. */
  readonly reasons: readonly string[]
  readonly roles: readonly string[]
  /** Null without the role api, as is the queue. */
  readonly modelSet: { readonly name: string; readonly version: string } | null
  readonly inferenceQueueDepth: number | null
  /** Milliseconds that this clock is ahead of Postgres's, or null before the first measurement. */
  readonly clockOffsetMs: number | null
  /** Milliseconds since the oldest event that no read model holds yet was stored; null where that is unknown. */
  readonly readModelsLagMs: number | null
  /** What this process itself folds → events that wait, or null where that is unknown. */
  readonly lag: Readonly<Record<string, number | null>>
}

export interface Dependencies {
  /** The package's version: `metadata.ver`. */
  readonly version: string
  readonly ledgers: Pick<Ledgers, 'execute' | 'lastKnown'>
  readonly inference: {
    /** @throws InvalidImage, Overloaded */
    check(bytes: Uint8Array, format: 'jpeg' | 'png', signal?: AbortSignal): Promise<{ readonly verdict: Verdict }>
    /** Images that wait for a worker. */
    queueDepth(): number
    readonly set: { readonly name: string; readonly version: string }
  }
  readonly keys: { find(keyHash: string): Promise<KnownKey | null> }
  readonly idempotencyKeys: { find(customerId: string, keyHmacs: readonly string[]): Promise<KeyLookup> }
  /** The month's usage, once the read model holds `revision` of the customer's stream. @throws NotFreshYet */
  readonly usage: { atRevision(customerId: string, revision: bigint, yearMonth: string): Promise<MonthUsage> }
  /** The event at a revision of the customer's stream, for an answer that is given again. @throws EventStoreUnavailable */
  readonly eventAt: (customerId: string, revision: bigint) => Promise<CustomerEvent>
  /** Null when all is well. Ends within a second or two, and never rejects. */
  readonly health: () => Promise<null | 'database unavailable' | 'event store unavailable' | 'clock out of service'>
  readonly ready: () => Promise<Readiness>
  /** Whether a failure passes by itself: Postgres out of reach, a read model not fresh yet. */
  readonly isUnavailable: (error: unknown) => boolean
  readonly clock: Pick<Clock, 'now'>
  readonly logger: FastifyBaseLogger
  readonly limits: {
    /** Requests a second that one key may send on average. */
    readonly perSecond: number
    /** Requests that one key may send at once. */
    readonly burst: number
  }
  /** As Fastify takes it: whose X-Forwarded-For is believed. */
  readonly trustProxy: boolean | number | string | string[]
  readonly publicUrl: string
  /** Keys of the HMACs under which idempotency keys and their bodies are known. */
  readonly secretsKeys: SecretsKeys
  readonly metrics: Registry
  /** The pages for customers; a server without them answers the API alone. */
  readonly console?: (ConsoleDependencies & ConsolePagesDependencies) | undefined
  /** The page to which AWS Marketplace sends its buyers. */
  readonly marketplace?: MarketplaceDependencies | undefined
}
