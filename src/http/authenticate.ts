/**
 * X-API-Key → customer, before the body is read. The key table refuses only what is final (unknown, regenerated,
 * deactivated, expired); whatever can change back is refused by the ledger at the head of the stream.
 */
import type { FastifyRequest } from 'fastify'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { hashApiKey } from '../commands/keys.ts'
import { keyIsValid, lifted } from '../commands/state.ts'
import { type Execute, granted, invalidKeyMessage } from './caller.ts'
import type { Dependencies } from './dependencies.ts'
import { ApiError } from './envelope.ts'

/** What is not even shaped like a key never costs a query. */
const keyShape = /^lc_[0-9A-Za-z]{29}$/

/** Refusals of bad keys that one address gets as 401 within a minute; past that it gets 429. */
const badKeysPerMinute = 60

export function createAuthenticate(
  { ledgers, keys, clock, limits }: Pick<Dependencies, 'ledgers' | 'keys' | 'clock' | 'limits'>,
  execute: Execute,
): (request: FastifyRequest) => Promise<void> {
  // A window as long as it takes to earn `burst` requests at the average rate. It is fixed, and of this process alone:
  // where two windows meet, twice `burst` passes at once, and several processes let through as many times as much.
  const perKey = new RateLimiterMemory({ points: limits.burst, duration: limits.burst / limits.perSecond })
  // Counted after the look-up: a good key passes, however many bad ones come from the same address.
  const perAddress = new RateLimiterMemory({ points: badKeysPerMinute, duration: 60 })

  return async (request) => {
    try {
      await authenticate(request)
    } catch (error) {
      if (error instanceof ApiError && error.code === 'invalid_api_key') {
        await consume(perAddress, request.ip, 'Too many requests with a bad API key came from this address.', true)
      }
      throw error
    }
  }

  async function authenticate(request: FastifyRequest): Promise<void> {
    const secret = request.headers['x-api-key']
    // First of all: while Postgres hangs the clock is out of service, and nobody waits for the key table in vain.
    const now = clock.now()
    const known = typeof secret === 'string' && keyShape.test(secret) ? await keys.find(hashApiKey(secret)) : null
    if (known === null || known.revoked) throw new ApiError('invalid_api_key', invalidKeyMessage)
    if (known.expiresAt !== null && known.expiresAt <= now) throw new ApiError('invalid_api_key', invalidKeyMessage)
    const { customerId, keyId, doubtStanding } = known
    request.caller = { customerId, keyId }
    await consume(perKey, keyId, 'Too many requests a second with this API key.')

    const state = ledgers.lastKnown(customerId)
    if (state !== undefined && keyIsValid(state, keyId, lifted(state, now)) && !doubtStanding) return
    // Not known here yet, or seen as bad lately, or something stands to be settled: the ledger says what is so now.
    granted(await execute(request, request.caller, { type: 'Observe', keyId }, { doubtStanding }))
  }
}

/** @throws ApiError rate_limited */
async function consume(limiter: RateLimiterMemory, key: string, message: string, anonymous = false): Promise<void> {
  try {
    await limiter.consume(key)
  } catch (rejected) {
    if (!(rejected instanceof RateLimiterRes)) throw rejected
    throw new ApiError('rate_limited', message, {
      retryAfterSeconds: Math.max(1, Math.ceil(rejected.msBeforeNext / 1_000)),
      anonymous,
    })
  }
}
