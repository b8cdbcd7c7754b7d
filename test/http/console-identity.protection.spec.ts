import { describe, expect, test } from 'vitest'
import { PasswordsBusy } from '../../src/accounts/passwords.ts'
import { tokenIn } from '../accounts/world.ts'
import { activate, consoleWorld, goodPassword, secretIn } from './console-identity.ts'
import { errorOf } from './harness.ts'

const { people, start } = consoleWorld()
const json = { accept: 'application/json' }

describe('a form', () => {
  const foreign: [string, Record<string, string>][] = [
    ['another origin', { origin: 'https://evil.example' }],
    ['a document without an origin', { origin: 'null' }],
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['a neighbouring site', { 'sec-fetch-site': 'same-site' }],
  ]
  test.each(foreign)('sent from %s is refused with 403, token or not', async (_, headers) => {
    const served = await start()
    const { browser } = await activate(served)
    await browser.get('/console/account')
    const page = await browser.post('/console/account/alerts', { alerts: 'off' }, headers)
    expect([page.status, page.text]).toEqual([403, expect.stringContaining('This form is no longer valid')])
    const answer = await browser.post('/console/account/alerts', { alerts: 'off' }, { ...headers, ...json })
    expect(errorOf({ statusCode: answer.status, body: answer.html })).toMatchObject({ status: 403, code: 'forbidden' })
    expect((await browser.get('/console/account')).text).toContain('Stop mail about usage')
  })

  test('without its token, or with one of another session or visitor, is refused with 403', async () => {
    const served = await start()
    const { browser } = await activate(served)
    const stranger = served.browser()
    await stranger.get('/console/sign-in')
    const other = await activate(await start())
    await other.browser.get('/console/account')
    for (const _csrf of ['', 'x', stranger.csrf(), other.browser.csrf()]) {
      expect((await browser.post('/console/sign-out', { _csrf })).status).toBe(403)
    }
    expect((await stranger.post('/console/sign-in', { _csrf: other.browser.csrf() })).status).toBe(403)
    stranger.jar.clear() // the token of a page without the cookie that it belongs to
    expect((await stranger.post('/console/sign-in', {})).status).toBe(403)
    expect((await browser.get('/console/account')).status).toBe(200)
  })

  test('is taken from this origin, as browsers say it, and from the address a proxy is reached by', async () => {
    const served = await start({ publicUrl: 'https://liveness.example' })
    const { browser } = await activate(served)
    await browser.get('/console/account')
    for (const headers of [
      { origin: 'https://liveness.example', 'sec-fetch-site': 'same-origin' },
      { origin: 'http://10.0.0.7:8080', host: '10.0.0.7:8080' },
    ]) {
      expect((await browser.post('/console/account/alerts', { alerts: 'off' }, headers)).status).toBe(303)
    }
  })

  test('the tokens of a session end with it', async () => {
    const served = await start()
    const { browser, secret } = await activate(served)
    await browser.get('/console/account')
    const old = browser.csrf()
    await browser.submit('/console/sign-out')
    const fields = { email: served.email, password: goodPassword, code: people.nextCode(secret) }
    await browser.submit('/console/sign-in', fields)
    expect((await browser.post('/console/account/alerts', { _csrf: old, alerts: 'off' })).status).toBe(403)
  })
})

describe('every page', () => {
  test('carries strict headers, and has nothing inline', async () => {
    const served = await start()
    const { browser, enrolment, recovery, shown } = await activate(served)
    const seen = [enrolment, recovery, shown]
    for (const path of ['', '/password', '/email', '/authenticator', '/recovery-codes']) {
      seen.push(await browser.get(`/console/account${path}`))
    }
    const visitor = served.browser()
    for (const path of ['/console/sign-in', '/console/reset', '/console/nowhere', '/console/email/x']) {
      seen.push(await visitor.get(path))
    }
    for (const { headers, html } of seen) {
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'same-origin',
        'content-security-policy': expect.stringContaining("default-src 'none'; style-src 'self'; script-src 'self'"),
      })
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
      expect(headers['content-security-policy']).not.toContain('unsafe')
      expect(html).not.toMatch(/\sstyle=|<style|\son\w+=|<script(?![^>]*src=)/)
      expect(html).toContain('version <span>1.2.3</span>')
      expect(html.match(/<h1/g)).toHaveLength(1)
    }
  })

  test('that does not exist is a page for browsers and the common structure for the rest', async () => {
    const served = await start()
    const browser = served.browser()
    const page = await browser.get('/console/nowhere')
    expect([page.status, page.text]).toEqual([404, expect.stringContaining('There is nothing here')])
    const answer = await browser.get('/console/nowhere', json)
    expect(errorOf({ statusCode: answer.status, body: answer.html })).toMatchObject({ status: 404, code: 'not_found' })
    const api = await browser.get('/v1/nowhere')
    expect(errorOf({ statusCode: api.status, body: api.html })).toMatchObject({ status: 404, code: 'not_found' })
  })

  test('says 503 with Retry-After when too many passwords are being checked', async () => {
    const signIn = () =>
      Promise.reject(new PasswordsBusy('Too many passwords are being checked. Try again in a moment.'))
    const served = await start({ accounts: { ...people.accounts, signIn } })
    const browser = served.browser()
    await browser.get('/console/sign-in')
    const fields = { email: 'a@example.com', password: 'x', code: '1' }
    const page = await browser.post('/console/sign-in', fields)
    expect([page.status, page.headers['retry-after']]).toEqual([503, '2'])
    expect(page.text).toContain('Too many passwords are being checked.')
    await browser.get('/console/sign-in')
    const answer = await browser.post('/console/sign-in', fields, json)
    expect(errorOf({ statusCode: answer.status, body: answer.html })).toMatchObject({ code: 'service_unavailable' })
  })

  test('says 500 without details when something breaks, and the log has them', async () => {
    const account = () => Promise.reject(new Error('a secret detail'))
    const served = await start({ accounts: { ...people.accounts, account } })
    const { browser } = await activate(served)
    const page = await browser.get('/console/account')
    expect([page.status, page.html.includes('a secret detail')]).toEqual([500, false])
    expect(served.logged.join()).toContain('a secret detail')
  })

  test('a form that is too long is refused', async () => {
    const served = await start()
    const browser = served.browser()
    await browser.get('/console/sign-in')
    const page = await browser.post('/console/sign-in', { email: 'x'.repeat(20_000) })
    expect([page.status, page.text]).toEqual([400, expect.stringContaining('The form is too long.')])
  })

  test('with a character that Postgres cannot hold is refused like one that is not complete', async () => {
    const served = await start()
    const browser = served.browser()
    await browser.get('/console/sign-in')
    const fields = { email: `${served.email}\0`, password: goodPassword, code: '000000' }
    expect((await browser.post('/console/sign-in', fields)).status).toBe(400)
  })
})

describe('the account page', () => {
  test('switches mail about usage, and says once what is now true', async () => {
    const { browser } = await activate(await start())
    await browser.get('/console/account')
    const after = await browser.submit('/console/account/alerts', { alerts: 'off' })
    expect(after.text.match(/You get no mail about your usage\./g)).toHaveLength(2) // the notice, and the state
    expect((await browser.get('/console/account')).text.match(/You get no mail about your usage\./g)).toHaveLength(1)
  })

  test('changes the password; faults stand beside their fields', async () => {
    const served = await start()
    const { browser, secret } = await activate(served)
    const next = 'seven purple lamps in rain'
    await browser.get('/console/account/password')
    const wrong = await browser.post('/console/account/password', { present: 'no', password: next, again: next })
    expect([wrong.status, wrong.text]).toEqual([403, expect.stringContaining('This is not your password.')])
    const fields = { present: goodPassword, password: next, again: next }
    expect((await browser.submit('/console/account/password', fields)).text).toContain('Your new password is set')
    const elsewhere = served.browser()
    await elsewhere.get('/console/sign-in')
    const signIn = { email: served.email, password: next, code: people.nextCode(secret) }
    expect((await elsewhere.post('/console/sign-in', signIn)).location).toBe('/console/dashboard')
  })

  test('changes the authenticator, and shows new recovery codes once', async () => {
    const { browser, secret, recoveryCodes } = await activate(await start())
    await browser.get('/console/account/authenticator')
    const proof = { present: goodPassword, code: people.nextCode(secret) }
    const page = await browser.submit('/console/account/authenticator', proof)
    const fresh = secretIn(page.html)
    expect(fresh).not.toBe(secret)
    const done = await browser.post('/console/enrol', { code: people.nextCode(fresh) })
    expect(done.text).toContain('Your recovery codes')
    expect(done.html).not.toContain(recoveryCodes[0])
    expect(done.text).toContain('I have stored the codes')
    const codes = await browser.get('/console/account/recovery-codes')
    expect(codes.status).toBe(200)
    const again = await browser.post('/console/account/recovery-codes', { code: people.nextCode(fresh) })
    expect(again.text).toContain('They are not shown again.')
    const wrong = people.wrongCode(fresh)
    expect((await browser.post('/console/account/recovery-codes', { code: wrong })).status).toBe(403)
  })

  test('changes the e-mail address by links that need no session', async () => {
    const served = await start()
    const { browser, secret } = await activate(served)
    const email = `new-${served.email}`
    await browser.get('/console/account/email')
    const proof = { present: goodPassword, code: people.nextCode(secret) }
    expect((await browser.post('/console/account/email', { ...proof, email: 'none' })).status).toBe(400)
    const page = await browser.submit('/console/account/email', { ...proof, email })
    expect(page.text).toContain(`Becomes ${email}`.slice(0, 7))
    const letters = await Promise.all([served.email, email].map((address) => people.lettersTo(address)))
    const mailbox = served.browser()
    const confirmed = []
    for (const [letter] of letters) {
      const url = `/console/email/${tokenIn(letter?.text ?? '')}`
      expect((await mailbox.get(url)).text).toContain(email)
      confirmed.push((await mailbox.post(url)).text)
    }
    expect(confirmed[0]).toContain('once the other address has confirmed it too')
    expect(confirmed[1]).toContain('Your e-mail address is changed')
    expect((await browser.get('/console/account')).status).toBe(303)
  })
})

test('neither addresses, passwords, codes, tokens nor keys come into the program’s log or the event log', async () => {
  const served = await start()
  const { browser, token, secret, recoveryCodes, keys } = await activate(served)
  await browser.get('/console/account')
  await browser.submit('/console/sign-out')
  await browser.get('/console/sign-in')
  await browser.post('/console/sign-in', { email: served.email, password: 'wrong and secret', code: '000000' })
  await browser.post('/console/reset', { email: served.email })
  const events = JSON.stringify(served.store.all(), (_, value) => (typeof value === 'bigint' ? String(value) : value))
  const logged = served.logged.join('\n')
  expect(logged).toContain('/console/activate/:token')
  for (const text of [events, logged]) {
    const cookies = [...browser.jar.values()]
    for (const secretText of [token, secret, goodPassword, 'wrong and secret', ...recoveryCodes, ...keys, ...cookies]) {
      expect(text).not.toContain(secretText)
    }
    expect(text).not.toContain(served.email)
  }
})
