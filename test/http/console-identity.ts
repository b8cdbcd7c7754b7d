/**
 * The served application with accounts over Postgres and the ledger over the event store in memory, and a browser
 * without script: it keeps cookies, follows forms, and sends their hidden fields.
 */
import type { FastifyInstance, InjectOptions } from 'fastify'
import { onTestFinished } from 'vitest'
import { createLedgers } from '../../src/commands/ledgers.ts'
import type { Dependencies } from '../../src/http/dependencies.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { consoleReads } from '../../src/readmodels/console.ts'
import { accountsWorld, publicUrl } from '../accounts/world.ts'
import { openDatabase, projectAll } from '../projections/support.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { createBundles } from './bundles.ts'
import { createWorld } from './harness.ts'

type Overrides = Partial<NonNullable<Dependencies['console']>>

/** For one spec file; `start` makes a customer of their own and a server for each test. */
export function consoleWorld() {
  const people = accountsWorld()
  async function start(overrides: Overrides = {}) {
    const world = await createWorld({ keys: undefined })
    // Of one log, as read models must be; the accounts are the spec file's.
    const readModels = await openDatabase()
    await ensureReadModels(readModels.pool)
    onTestFinished(() => readModels.close())
    const { store, customerId } = world
    const clock = { now: () => world.now(), monthHasBegun: async () => {} }
    const console: Dependencies['console'] = {
      version: '1.2.3',
      publicUrl,
      accounts: people.accounts,
      ledgers: createLedgers({
        store,
        loadSnapshot: async () => null,
        doubts: memoryDoubts(),
        clock,
        patience: { sendMs: 100, attemptMs: 200 },
      }),
      shows: async () => void (await projectAll(readModels.pool, store)),
      isUnavailable: () => false,
      clock,
      secretsKeys: people.secretsKeys,
      reads: consoleReads(readModels.pool, store),
      bundle: createBundles(store, clock.now).bundle,
      metering: { submitted: false, graceSeconds: 600 },
      ...overrides,
    }
    const email = `${customerId}@example.com`
    await people.pool.query('insert into accounts (customer_id, email) values ($1, $2)', [customerId, email])
    const served = await world.instance({ console })
    return {
      ...world,
      ...served,
      people,
      email,
      /** One more instance of the application. */
      another: () => world.instance({ console: { ...console, accounts: people.instance() } }),
      browser: (app: Pick<FastifyInstance, 'inject'> = served.app) => createBrowser(app),
    }
  }
  return { people, start }
}

type Served = Awaited<ReturnType<ReturnType<typeof consoleWorld>['start']>>

function createBrowser(app: Pick<FastifyInstance, 'inject'>) {
  const jar = new Map<string, string>()
  let html = ''

  async function send(options: InjectOptions) {
    const cookie = [...jar].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('; ')
    const headers = { accept: 'text/html', ...(cookie === '' ? {} : { cookie }), ...options.headers }
    const response = await app.inject({ ...options, headers })
    for (const { name, value, maxAge } of response.cookies) {
      if (maxAge === 0) jar.delete(name)
      else jar.set(name, value)
    }
    if (String(response.headers['content-type']).startsWith('text/html')) html = response.body
    return {
      status: response.statusCode,
      headers: response.headers,
      cookies: response.cookies,
      location: response.headers.location,
      html: response.body,
      text: textOf(response.body),
    }
  }

  return {
    jar,
    /** The token of the page seen last. */
    csrf: () => /name="_csrf" value="([^"]*)"/.exec(html)?.[1] ?? '',
    get: (url: string, headers: Record<string, string> = {}) => send({ url, headers }),
    /** Sends a form with the token of the page seen last. */
    post(url: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) {
      const payload = new URLSearchParams({ _csrf: this.csrf(), ...fields }).toString()
      const type = { 'content-type': 'application/x-www-form-urlencoded' }
      return send({ method: 'POST', url, payload, headers: { ...type, ...headers } })
    },
    /** Sends a form, and follows the redirect as a browser does. */
    async submit(url: string, fields: Record<string, string> = {}) {
      const answer = await this.post(url, fields)
      return answer.location === undefined ? answer : this.get(answer.location)
    },
  }
}

/** Text of a page as a reader sees it. */
function textOf(html: string): string {
  return html
    .replace(/<(style|script|title)[\s\S]*?<\/\1>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#39;/g, "'")
    .replace(/\s+/g, ' ')
}

export const goodPassword = 'four unrelated tidy gloves'

/** Walks from the operator's link to the keys; what was shown on the way. */
export async function activate(served: Served, browser = served.browser()) {
  const token = await served.people.activationToken(served.customerId)
  await browser.get(`/console/activate/${token}`)
  await browser.submit(`/console/activate/${token}`, { password: goodPassword, again: goodPassword })
  const enrolment = await browser.get('/console/enrol')
  const secret = secretIn(enrolment.html)
  const recovery = await browser.post('/console/enrol', { code: served.people.nextCode(secret) })
  const [, list = ''] = /id="recovery-codes"[^>]*>([^<]*)</.exec(recovery.html) ?? []
  const recoveryCodes = list.trim().split('\n')
  const shown = await browser.post('/console/first-keys')
  const keys = [...shown.html.matchAll(/id="key-(?:primary|secondary)"[^>]*>(lc_\w{29})</g)].map(([, key = '']) => key)
  return { browser, token, secret, enrolment, recovery, recoveryCodes, shown, keys }
}

export const secretIn = (html: string): string =>
  /id="totp-secret"[^>]*>([^<]*)</.exec(html)?.[1]?.replace(/\s/g, '') ?? ''
