/**
 * The customer's pages over real read models: the decider and ledger over the event store in memory, projected into
 * Postgres. The session is given, for identity has its own tests; codes are checked against `world.code`.
 */
import cookie from '@fastify/cookie'
import formbody from '@fastify/formbody'
import Fastify, { type FastifyBaseLogger, type InjectOptions } from 'fastify'
import { onTestFinished } from 'vitest'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { makeApiKey } from '../../src/commands/keys.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { registerPages } from '../../src/http/console/pages/register.ts'
import { ApiError, errorStatus } from '../../src/http/envelope.ts'
import { registerLanding } from '../../src/http/landing.tsx'
import { alarmsOf, createLogger } from '../../src/http/logging.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { consoleReads } from '../../src/readmodels/console.ts'
import { openDatabase, projectAll } from '../projections/support.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { detection, uuid } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { createBundles } from './bundles.ts'

const accountId = '99999999-9999-4999-8999-999999999999'
const email = '<i>ada</i>@example.com'

type Registration = Partial<Extract<CustomerCommand, { type: 'RegisterCustomer' }>>

export async function createConsole(registration: Registration = {}) {
  const database = await openDatabase()
  await ensureReadModels(database.pool)
  const store = createMemoryStore()
  const customerId = uuid()
  const primary = makeApiKey()
  const secondary = makeApiKey()
  const world = {
    now: '2026-05-04T12:34:56.789Z',
    code: '123456',
    asked: [] as string[],
    signedIn: true,
  }
  const bundles = createBundles(store, () => world.now)
  const clock = { now: () => world.now, monthHasBegun: async () => {} }
  const ledgers = createLedgers({
    store,
    loadSnapshot: async () => null,
    doubts: memoryDoubts(),
    clock,
    patience: { sendMs: 100, attemptMs: 200 },
  })
  const project = () => projectAll(database.pool, store)
  const origin = { correlationId: 'test', causationId: 'test', actor: 'operator' }
  async function command(command: CustomerCommand, of = customerId) {
    const executed = await ledgers.execute(of, { command, origin })
    if (executed.kind !== 'done') throw new Error(`${command.type} ended as ${executed.kind}`)
    await project()
    return executed
  }
  await command({
    type: 'RegisterCustomer',
    customerId,
    plan: 'standard',
    hardCap: false,
    licence: { kind: 'none' },
    keys: { primary: primary.key, secondary: secondary.key },
    ...registration,
  })

  const log = createLogger('info', { write: () => {} })
  const app = Fastify({ loggerInstance: log as FastifyBaseLogger })
  await app.register(cookie, { secret: 'a secret of the test' })
  await app.register(formbody)
  app.decorateRequest('visit', null)
  app.addHook('onRequest', async (request) => {
    // Whose session it is, a test may say.
    const visitor = String(request.headers['x-visitor'] ?? customerId)
    const session = { sessionId: uuid(), accountId, customerId: visitor, email, stage: 'full' as const }
    request.visit = { session: world.signedIn ? session : null, token: null, csrf: 'form-token' }
  })
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof ApiError)) throw error
    return reply.code(errorStatus[error.code]).send({ error: { code: error.code, message: error.message } })
  })
  registerPages(app, {
    version: '1.2.3',
    publicUrl: 'https://liveness.example',
    accounts: {
      async verifyTotp(account, code) {
        world.asked.push(`${account} ${code}`)
        return code === world.code ? 'ok' : 'wrong'
      },
    },
    ledgers,
    shows: async () => void (await project()),
    isUnavailable: () => false,
    clock,
    reads: consoleReads(database.pool, store),
    bundle: bundles.bundle,
    metering: { submitted: true, graceSeconds: 600 },
  })
  registerLanding(app, { version: '1.2.3', publicUrl: 'https://liveness.example' })
  await app.ready()
  onTestFinished(async () => {
    await app.close()
    await database.close()
  })

  let notice = ''
  return {
    world,
    app,
    store,
    customerId,
    accountId,
    bundles,
    /** By name, how often. */
    alarms: () => Object.fromEntries(alarmsOf(log)),
    primary,
    secondary,
    command,
    /** So many calls, a minute from one to the next. */
    async detect(times: number) {
      for (let i = 0; i < times; i++) {
        const call = detection({ keyId: primary.key.keyId })
        const executed = await ledgers.execute(customerId, { command: call, origin })
        if (executed.kind !== 'done') throw new Error(`a call ended as ${executed.kind}`)
        world.now = new Date(Date.parse(world.now) + 60_000).toISOString()
      }
      await project()
    },
    get: (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers }),
    /** Posts a form; the notice it leaves behind is shown by the next `after`. */
    async post(url: string, fields: Record<string, string>, headers: InjectOptions['headers'] = {}) {
      const response = await app.inject({
        method: 'POST',
        url,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        payload: new URLSearchParams({ _csrf: 'form-token', ...fields }).toString(),
      })
      notice = response.cookies.map(({ name, value }) => `${name}=${encodeURIComponent(value)}`).join('; ')
      return response
    },
    after: (url: string, headers: Record<string, string> = {}) =>
      app.inject({ url, headers: { cookie: notice, ...headers } }),
  }
}

/** Text of a page as a reader sees it, blanks put together. */
export const text = (html: string): string =>
  html
    .replace(/<(style|script|noscript|title)[\s\S]*?<\/\1>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&lt;/g, '<')
    .replace(/&#39;/g, "'")
    .replace(/\s+/g, ' ')
