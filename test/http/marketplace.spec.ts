/** From the browser's form to the letter: the routes with the real registration, Postgres, ledgers and outbox. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { alarmsOf, createLogger } from '../../src/http/logging.ts'
import { type MarketplaceDependencies, registerMarketplace } from '../../src/http/marketplace.tsx'
import { createTickets } from '../../src/http/marketplace-ticket.ts'
import { createMail, type Letter, MailFailed } from '../../src/mail/mail.ts'
import { createBuyerAccounts } from '../../src/marketplace/buyer-account.ts'
import { isTransient } from '../../src/marketplace/transient.ts'
import { createWorld } from '../marketplace/world.ts'

async function givenPages(overrides: Partial<MarketplaceDependencies> = {}) {
  const world = await createWorld()
  world.entitled({ licence: 1, plan: 'standard' })
  const outbox = await mkdtemp(join(tmpdir(), 'liveness-outbox-'))
  const log = createLogger('info', { write: () => {} })
  const folder = await createMail({ smtpUrl: undefined, from: 'us@example.com', outboxDir: outbox, log })
  const mail = {
    failsOnce: false,
    async send(letter: Letter) {
      if (mail.failsOnce) {
        mail.failsOnce = false
        throw new MailFailed('refused')
      }
      await folder.send(letter)
    },
  }
  const { pool } = world.database
  const deps: MarketplaceDependencies = {
    version: '1.2.3',
    secretsKeys: [randomBytes(32)],
    register: world.registerToken,
    ...createBuyerAccounts({ pool, mail, publicUrl: 'https://liveness.example' }),
    isUnavailable: (error) => isTransient(error) || error instanceof MailFailed,
    ...overrides,
  }
  const app = Fastify({ loggerInstance: log as FastifyBaseLogger })
  await app.register(registerMarketplace, { deps })
  onTestFinished(async () => {
    await app.close()
    await rm(outbox, { recursive: true })
  })
  const post = (url: string, fields: Record<string, string>) =>
    app.inject({
      method: 'POST',
      url,
      // As the browser sends it from AWS's page: another site, no cookie.
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: 'https://aws.amazon.com',
        'sec-fetch-site': 'cross-site',
      },
      payload: new URLSearchParams(fields).toString(),
    })
  return {
    ...world,
    app,
    deps,
    mail,
    loggedAlarms: () => Object.fromEntries(alarmsOf(log)),
    land: (token: string) => post('/marketplace/register', { 'x-amzn-marketplace-token': token }),
    giveEmail: (ticket: string, email: string) => post('/marketplace/account', { ticket, email }),
    letters: async () =>
      Promise.all(
        // Without the line breaks of quoted-printable.
        (await readdir(outbox))
          .sort()
          .map(async (file) => (await readFile(join(outbox, file), 'utf8')).replaceAll('=\n', '')),
      ),
    customers: () => world.store.all().filter(({ type }) => type === 'CustomerRegistered').length,
  }
}
const ticketIn = (html: string): string => /name="ticket" value="([^"]+)"/.exec(html)?.[1] ?? ''
const headingOf = (html: string): string => /<h1>([^<]*)<\/h1>/.exec(html)?.[1] ?? ''

describe('from AWS Marketplace', () => {
  test('a buyer is registered, gives an address and gets a link that activates the account', async () => {
    const pages = await givenPages()
    const form = await pages.land(pages.token(1))
    expect(form.statusCode).toBe(200)
    expect(form.body).toContain('<strong>standard</strong>')
    const sent = await pages.giveEmail(ticketIn(form.body), 'buyer@example.com')
    expect(sent.statusCode).toBe(200)
    expect(headingOf(sent.body)).toBe('Check your mailbox')
    const [letter, ...more] = await pages.letters()
    expect(more).toEqual([])
    expect(letter).toContain('To: buyer@example.com')
    expect(letter).toContain('https://liveness.example/console/activate/')
  })
  test('pages load nothing from elsewhere, are not kept, and are not framed', async () => {
    const { headers } = await (await givenPages()).app.inject('/marketplace/register')
    expect(headers).toMatchObject({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
  })
  test('a visitor without a token learns where to begin', async () => {
    const pages = await givenPages()
    const page = await pages.app.inject('/marketplace/register')
    expect([page.statusCode, headingOf(page.body)]).toEqual([200, 'Registration begins in AWS Marketplace'])
  })
  test('a reload gives the form again, and registers nobody twice', async () => {
    const pages = await givenPages()
    const token = pages.token(1)
    await pages.land(token)
    const again = await pages.land(token)
    expect(again.statusCode).toBe(200)
    expect(ticketIn(again.body)).not.toBe('')
    expect(pages.customers()).toBe(1)
  })
})

describe('a token', () => {
  test('that is missing or made up: 400, and where to get one', async () => {
    const pages = await givenPages()
    for (const token of ['', 'made-up', '<script>alert(1)</script>']) {
      const page = await pages.land(token)
      expect(page.statusCode).toBe(400)
      expect(page.body).toContain('Set up your account')
      expect(page.body).not.toContain('alert(1)')
    }
  })
  test('that has expired: 410', async () => {
    const pages = await givenPages()
    const page = await pages.land(pages.token(1, { expiresAt: 0 }))
    expect([page.statusCode, headingOf(page.body)]).toEqual([410, 'This registration has expired'])
  })
  test('of a subscription that is in use: 409, and the way to sign in', async () => {
    const pages = await givenPages()
    const token = pages.token(1)
    const form = await pages.land(token)
    await pages.giveEmail(ticketIn(form.body), 'buyer@example.com')
    await pages.database.pool.query('update accounts set activated_at = now()')
    for (const used of [token, pages.token(1)]) {
      const page = await pages.land(used)
      expect([page.statusCode, headingOf(page.body)]).toEqual([409, 'This subscription is set up already'])
      expect(page.body).toContain('href="/console/sign-in"')
    }
    // Nor does the form from before give the account another address.
    const late = await pages.giveEmail(ticketIn(form.body), 'thief@example.com')
    expect(late.statusCode).toBe(409)
    const { rows } = await pages.database.pool.query('select email from accounts')
    expect(rows).toEqual([{ email: 'buyer@example.com' }])
  })
  test('of a contract that AWS does not list: 409', async () => {
    const pages = await givenPages()
    pages.entitled()
    const page = await pages.land(pages.token(1))
    expect([page.statusCode, headingOf(page.body)]).toEqual([409, 'AWS Marketplace lists no active contract'])
    expect(pages.customers()).toBe(0)
  })
})

describe('the address', () => {
  test('that is none is said beside the field, and what was typed stays', async () => {
    const pages = await givenPages()
    const form = await pages.land(pages.token(1))
    const page = await pages.giveEmail(ticketIn(form.body), '"><img src=x>')
    expect(page.statusCode).toBe(400)
    expect(page.body).toContain('id="email-error"')
    expect(page.body).toContain('value="&#34;><img src=x>"')
    expect(ticketIn(page.body)).toBe(ticketIn(form.body))
  })
  test('that was wrong can be changed until the account is activated; the newest link counts', async () => {
    const pages = await givenPages()
    const ticket = ticketIn((await pages.land(pages.token(1))).body)
    await pages.giveEmail(ticket, 'wrong@example.com')
    await pages.giveEmail(ticket, 'right@example.com')
    expect(await pages.letters()).toHaveLength(2)
    const { rows } = await pages.database.pool.query(
      'select email, (select count(*)::int from account_links) as links from accounts',
    )
    expect(rows).toEqual([{ email: 'right@example.com', links: 1 }])
  })
  test('of another customer’s account is refused', async () => {
    const pages = await givenPages()
    pages.entitled({ licence: 1 }, { licence: 2, account: '999900001111' })
    const first = ticketIn((await pages.land(pages.token(1))).body)
    await pages.giveEmail(first, 'buyer@example.com')
    const second = ticketIn((await pages.land(pages.token(2, { account: '999900001111' }))).body)
    const page = await pages.giveEmail(second, 'Buyer@example.com')
    expect(page.statusCode).toBe(409)
    expect(page.body).toContain('another subscription')
    expect(await pages.letters()).toHaveLength(1)
  })
  test('needs a ticket of ours that has not expired', async () => {
    const pages = await givenPages()
    const customerId = '11111111-1111-4111-8111-111111111111'
    const forged = createTickets([randomBytes(32)]).issue(customerId)
    const old = createTickets(pages.deps.secretsKeys, () => Date.now() - 3_600_001).issue(customerId)
    const ours = createTickets(pages.deps.secretsKeys).issue(customerId)
    for (const ticket of ['', forged, old, ours.replace('11111111-', '21111111-'), `${ours}x`.slice(1)]) {
      expect((await pages.giveEmail(ticket, 'a@example.com')).statusCode).toBe(410)
    }
    expect(await pages.letters()).toEqual([])
  })
  test('gets ten letters an hour at most', async () => {
    const pages = await givenPages({ sendActivation: async () => 'sent' })
    const ticket = ticketIn((await pages.land(pages.token(1))).body)
    const statuses = []
    for (let i = 0; i < 11; i++) statuses.push((await pages.giveEmail(ticket, 'a@example.com')).statusCode)
    expect(statuses).toEqual([...Array(10).fill(200), 429])
  })
})

describe('a failure', () => {
  test('of AWS: 503 and a button that sends the same again', async () => {
    const pages = await givenPages()
    const token = pages.token(1)
    pages.aws.faults.next('ResolveCustomer', { kind: 'lose_call' })
    const page = await pages.land(token)
    expect(page.statusCode).toBe(503)
    expect(page.body).toContain(`name="x-amzn-marketplace-token" value="${token}"`)
    expect((await pages.land(token)).statusCode).toBe(200)
  })
  test('of the mail: 503, and the next try sends the link', async () => {
    const pages = await givenPages()
    const ticket = ticketIn((await pages.land(pages.token(1))).body)
    pages.mail.failsOnce = true
    const page = await pages.giveEmail(ticket, 'a@example.com')
    expect(page.statusCode).toBe(503)
    expect(page.body).toContain('name="email" value="a@example.com"')
    expect((await pages.giveEmail(ticket, 'a@example.com')).statusCode).toBe(200)
    expect(await pages.letters()).toHaveLength(1)
  })
  test("of a customer's log: 503 with the alarm that the API raises of it", async () => {
    const pages = await givenPages({ register: () => Promise.reject(new LogMismatch('another log')) })
    const page = await pages.land('token')
    expect(page.statusCode).toBe(503)
    expect(pages.loggedAlarms()).toEqual({ customer_log: 1 })
  })
  test('of ours: 500, without a word of what it was', async () => {
    const pages = await givenPages({ register: () => Promise.reject(new Error('secret detail')) })
    const page = await pages.land('token')
    expect(page.statusCode).toBe(500)
    expect(page.body).not.toContain('secret detail')
  })
  test('a body that is no form: 400', async () => {
    const pages = await givenPages()
    const page = await pages.app.inject({ method: 'POST', url: '/marketplace/register', payload: { a: 1 } })
    expect(page.statusCode).toBe(400)
  })
  test('too many attempts from one address: 429', async () => {
    const pages = await givenPages({ register: async () => ({ kind: 'invalid' }) })
    for (let i = 0; i < 30; i++) await pages.land('token')
    expect((await pages.land('token')).statusCode).toBe(429)
  })
})
