/** The optional Idempotency-Key of a check: how it is known without being stored, and asking the ledger about it. */

import { createHmac } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { SecretsKeys } from '../accounts/seal.ts'
import type { Executed } from '../commands/batch.ts'
import type { IdempotencyKey, KeyLookup } from '../commands/idempotency.ts'
import type { Dependencies } from './dependencies.ts'

/** How long the key table may take to catch up with what the ledger has forgotten. */
const maxBehindMs = 2_000

export interface CheckBody {
  readonly image: string
  readonly image_format: 'jpeg' | 'png'
}

/**
 * What a request's key and body are known under, by each of the keys: the first is written, all are looked for, so that
 * a retry is recognised while SECRETS_KEY is being changed.
 */
export const idempotencyKeysOf = (
  secretsKeys: SecretsKeys,
  customerId: string,
  key: string,
  body: CheckBody,
): IdempotencyKey[] => secretsKeys.map((secret) => idempotencyKeyOf(secret, customerId, key, body))

/**
 * The HMACs of a customer's key and of the body it came with. The body is what decides the answer, so a retry may
 * order its JSON differently. Key and body are different domains, and so is every customer.
 */
function idempotencyKeyOf(secret: Buffer, customerId: string, key: string, body: CheckBody): IdempotencyKey {
  const hmac = (domain: string, ...parts: string[]) => {
    const mac = createHmac('sha256', secret).update(`${domain}\0${customerId}`)
    for (const part of parts) mac.update('\0').update(part)
    return mac.digest('hex')
  }
  return {
    key: hmac('idempotency key', key),
    body: hmac('idempotency body', body.image_format, body.image),
  }
}

export interface KeyedExecutor {
  /** Runs a command that takes the key into account, and looks the key up again while the table is behind. */
  run(
    execute: (idempotency: { keys: readonly IdempotencyKey[]; lookup: KeyLookup }) => Promise<Executed>,
  ): Promise<Executed>
}

/** The first look-up serves every command of the request: the ledger keeps what came after it. */
export function keyedExecutor(
  idempotencyKeys: Dependencies['idempotencyKeys'],
  customerId: string,
  keys: readonly IdempotencyKey[],
): KeyedExecutor {
  let lookup: KeyLookup | undefined
  return {
    async run(execute) {
      const giveUpAt = performance.now() + maxBehindMs
      for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, 200)) {
        lookup ??= await idempotencyKeys.find(
          customerId,
          keys.map(({ key }) => key),
        )
        const executed = await execute({ keys, lookup })
        if (executed.kind !== 'tables_behind' || performance.now() + pauseMs >= giveUpAt) return executed
        lookup = undefined
        await pause(pauseMs)
      }
    },
  }
}
