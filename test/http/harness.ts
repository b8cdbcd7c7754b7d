/**
 * The HTTP server with the real ledger and decider over the event store in memory. The tables that Postgres holds in
 * production are folds of that store; only the inference is a stand-in, whose verdict each test may choose.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { InjectOptions } from 'fastify'
import { Registry } from 'prom-client'
import { onTestFinished } from 'vitest'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { type IdempotencyKey, IdempotencyTail, tablesBehind } from '../../src/commands/idempotency.ts'
import { makeApiKey } from '../../src/commands/keys.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { counters, evolve, hardCapHolds, initialState, openMonth } from '../../src/commands/state.ts'
import { type CustomerEvent, customerStream } from '../../src/events/catalogue.ts'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import type { Dependencies, KnownKey } from '../../src/http/dependencies.ts'
import { createLogger } from '../../src/http/logging.ts'
import { errorAnswer } from '../../src/http/schemas.ts'
import { buildServer } from '../../src/http/server.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { verdict } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'

export const image = Buffer.from('any bytes: the inference is a stand-in').toString('base64')
export const checkBody = { image, image_format: 'jpeg' }

type Registration = Partial<Extract<CustomerCommand, { type: 'RegisterCustomer' }>>

export async function createWorld(registration: Registration = {}, overrides: Partial<Dependencies> = {}) {
  const store = createMemoryStore()
  const doubts = memoryDoubts()
  const customerId = randomUUID()
  const primary = makeApiKey()
  const secondary = makeApiKey()
  const logged: string[] = []
  const world = {
    store,
    doubts,
    customerId,
    primary,
    secondary,
    logged,
    /** The billing clock. A function, so that a test can break it. */
    now: () => '2026-05-04T12:34:56.789Z',
    /** Keys issued, regenerated or deactivated after this revision are not in the key table yet. */
    keyTableRevision: Number.POSITIVE_INFINITY,
    idempotencyTableRevision: () => Number.POSITIVE_INFINITY,
    /** What the stand-in answers. */
    infer: async (_bytes: Uint8Array, _format: string, _signal?: AbortSignal) => ({ verdict }),
    inferences: 0,
    eventsOf: (type: CustomerEvent['type']) => events(customerId).filter((event) => event.type === type),
    /** The customer's counters as a fold of the log says them. */
    inTheLog: () => counters(openMonth(folded(customerId), world.now())),
    /** One more instance of the application on the same log. */
    instance,
    command: (command: CustomerCommand) => ledgers().execute(customerId, { command, origin }),
  }
  const origin = { correlationId: 'test', causationId: 'test', actor: 'operator' }
  const clock = { now: () => world.now(), monthHasBegun: async () => {} }
  const ledgers = () =>
    createLedgers({
      store,
      loadSnapshot: async () => null,
      doubts,
      clock,
      patience: { sendMs: 100, attemptMs: 200 },
    })
  const events = (id: string): CustomerEvent[] =>
    store.stream(customerStream(id)).map((stored) => parseCustomerEvent(stored).event)
  const folded = (id: string, through = Number.POSITIVE_INFINITY) =>
    events(id)
      .slice(0, through === Number.POSITIVE_INFINITY ? undefined : through + 1)
      .reduce(evolve, initialState)

  const keys: Dependencies['keys'] = {
    async find(keyHash) {
      const known: (KnownKey & { slot: string; keyHash: string })[] = []
      for (const { stream, revision } of store.all()) {
        if (Number(revision) > world.keyTableRevision) continue
        const event = events(stream.slice('customer-'.length))[Number(revision)]
        if (
          event?.type !== 'ApiKeyIssued' &&
          event?.type !== 'ApiKeyRegenerated' &&
          event?.type !== 'ApiKeyDeactivated'
        ) {
          continue
        }
        const { customerId, slot } = event.data
        for (const [i, key] of known.entries()) {
          if (key.customerId === customerId && key.slot === slot) known[i] = { ...key, revoked: true }
        }
        if (event.type === 'ApiKeyDeactivated') continue
        const { keyId, keyHash, expiresAt = null } = event.data
        known.push({ customerId, slot, keyId, keyHash, expiresAt, revoked: false, doubtStanding: doubts.rows.size > 0 })
      }
      return known.find((key) => key.keyHash === keyHash) ?? null
    },
  }

  const idempotencyKeys: Dependencies['idempotencyKeys'] = {
    async find(id, keys) {
      const through = Math.min(events(id).length - 1, world.idempotencyTableRevision())
      const tail = new IdempotencyTail(-1n, Number.MAX_SAFE_INTEGER)
      for (const [revision, event] of events(id)
        .slice(0, through + 1)
        .entries())
        tail.add(BigInt(revision), event)
      const wanted: IdempotencyKey[] = keys.map((key) => ({ key, body: '' }))
      const hit = tail.find(wanted, { hit: null, throughRevision: -1n }, world.now())
      return { hit: hit === tablesBehind ? null : hit, throughRevision: BigInt(through) }
    },
  }

  async function instance(more: Partial<Dependencies> = {}) {
    const deps: Dependencies = {
      version: '1.2.3',
      ledgers: ledgers(),
      inference: {
        check: (bytes, format, signal) => {
          world.inferences += 1
          return world.infer(bytes, format, signal)
        },
        queueDepth: () => 0,
        set: { name: 'stand-in', version: '1' },
      },
      keys,
      idempotencyKeys,
      usage: {
        async atRevision(id, revision, yearMonth) {
          const state = openMonth(folded(id, Number(revision)), `${yearMonth}-01T00:00:00.000Z`)
          const { terms } = state
          return { yearMonth, ...terms, ...counters(state), hardCapEnabled: hardCapHolds(state) }
        },
      },
      eventAt: async (id, revision) => {
        const event = events(id)[Number(revision)]
        if (event === undefined) throw new Error('no such event')
        return event
      },
      health: async () => null,
      ready: async () => ({
        ready: true,
        reasons: [],
        roles: ['api'],
        modelSet: { name: 'stand-in', version: '1' },
        inferenceQueueDepth: 0,
        clockOffsetMs: 3,
        readModelsLagMs: 0,
        lag: { usage: 0 },
      }),
      isUnavailable: () => false,
      clock,
      logger: createLogger('info', { write: (line) => void logged.push(line) }),
      limits: { perSecond: 10_000, burst: 10_000 },
      trustProxy: false,
      publicUrl: 'http://localhost:8080',
      secretsKeys: [randomBytes(32)],
      metrics: new Registry(),
      ...overrides,
      ...more,
    }
    const { app, drainAndClose } = await buildServer(deps)
    onTestFinished(() => drainAndClose(0))
    return {
      app,
      drainAndClose,
      deps,
      check: (options: { key?: string; body?: unknown; headers?: Record<string, string> } = {}) =>
        app.inject({
          method: 'POST',
          url: '/v1/check/liveness',
          headers: { 'x-api-key': options.key ?? primary.secret, ...options.headers },
          payload: (options.body ?? checkBody) as NonNullable<InjectOptions['payload']>,
        }),
      usage: (key = primary.secret) => app.inject({ url: '/v1/usage', headers: { 'x-api-key': key } }),
      async listen() {
        await app.listen({ port: 0, host: '127.0.0.1' })
        const { port } = app.server.address() as AddressInfo
        return { port, url: `http://127.0.0.1:${port}` }
      },
    }
  }

  await world.command({
    type: 'RegisterCustomer',
    customerId,
    plan: 'standard',
    hardCap: false,
    licence: { kind: 'none' },
    keys: { primary: primary.key, secondary: secondary.key },
    ...registration,
  })
  return world
}

/** Parses an error answer by its schema, and returns what most tests look at. */
export function errorOf(response: { statusCode: number; body: string }) {
  const { metadata, error } = errorAnswer.parse(JSON.parse(response.body))
  return { status: response.statusCode, code: error.code, message: error.message, metadata }
}
