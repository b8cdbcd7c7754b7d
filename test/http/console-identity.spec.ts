import { describe, expect, test } from 'vitest'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import { activate, consoleWorld, goodPassword, secretIn } from './console-identity.ts'
import { errorOf } from './harness.ts'

const { people, start } = consoleWorld()
const json = { accept: 'application/json' }

describe('activation', () => {
  test('leads from the link to two keys that work, shown in one answer only', async () => {
    const served = await start()
    const { browser, token, enrolment, recovery, recoveryCodes, shown, keys } = await activate(served)
    expect(enrolment.html).toContain('<svg')
    expect(enrolment.html).toContain('otpauth://totp/')
    expect(new Set(recoveryCodes).size).toBe(10)
    expect(recovery.headers['cache-control']).toBe('no-store')
    expect(keys).toHaveLength(2)
    expect(shown.headers['cache-control']).toBe('no-store')

    const { rows } = await people.pool.query<{ id: string }>(
      'select account_id as id from accounts where customer_id = $1',
      [served.customerId],
    )
    const issued = served.store.all().map(parseCustomerEvent).slice(-2)
    expect(issued.map(({ event, metadata }) => [event.type, metadata.actor])).toEqual([
      ['ApiKeyIssued', `console:${rows[0]?.id}`],
      ['ApiKeyIssued', `console:${rows[0]?.id}`],
    ])
    for (const key of keys) expect((await served.check({ key })).statusCode).toBe(200)

    const again = await browser.submit('/console/first-keys')
    expect(again.text).toContain('Your keys were issued before.')
    for (const key of keys) expect(again.html).not.toContain(key)
    expect((await browser.get('/console/first-keys')).location).toBe('/console/keys')
    expect((await browser.get('/console/enrol')).location).toBe('/console/account')
    expect((await browser.get(`/console/activate/${token}`)).status).toBe(404)
  })

  test('who leaves before the keys gets them at the next sign-in', async () => {
    const served = await start()
    const browser = served.browser()
    const token = await people.activationToken(served.customerId)
    await browser.get(`/console/activate/${token}`)
    await browser.submit(`/console/activate/${token}`, { password: goodPassword, again: goodPassword })
    const secret = secretIn((await browser.get('/console/enrol')).html)
    await browser.post('/console/enrol', { code: people.nextCode(secret) })
    const later = served.browser()
    await later.get('/console/sign-in')
    const fields = { email: served.email, password: goodPassword, code: people.nextCode(secret) }
    expect((await later.submit('/console/sign-in', fields)).text).toContain('They are issued now')
    expect((await later.post('/console/first-keys')).html).toMatch(/lc_[0-9A-Za-z]{29}/)
  })

  test('a key that the operator issued meanwhile is not replaced', async () => {
    const served = await start()
    const browser = served.browser()
    const key = { keyId: crypto.randomUUID(), keyHash: '0'.repeat(64), prefix: 'lc_00000' }
    await served.command({ type: 'RegenerateApiKey', slot: 'primary', key })
    const { keys } = await activate(served, browser)
    expect(keys).toHaveLength(1)
  })

  test('faults stand beside their fields with 400, and no password is repeated', async () => {
    const served = await start()
    const browser = served.browser()
    const url = `/console/activate/${await people.activationToken(served.customerId)}`
    await browser.get(url)
    const different = await browser.post(url, { password: goodPassword, again: 'something else' })
    expect([different.status, different.text]).toEqual([400, expect.stringContaining('The two are not the same.')])
    expect(different.html).toMatch(/id="again"[^>]*autofocus/)
    const weak = await browser.post(url, { password: 'password1234', again: 'password1234' })
    expect([weak.status, weak.text]).toEqual([400, expect.stringContaining('first that would be guessed')])
    expect(weak.html).toMatch(/id="password"[^>]*aria-invalid="true"[^>]*aria-describedby="[^"]*password-error/)
    expect(weak.html + different.html).not.toMatch(/password1234|tidy gloves/)
  })

  test('a wrong code at the enrolment is 403 and leaves the secret as it was', async () => {
    const served = await start()
    const browser = served.browser()
    const url = `/console/activate/${await people.activationToken(served.customerId)}`
    await browser.get(url)
    const page = await browser.submit(url, { password: goodPassword, again: goodPassword })
    const wrong = await browser.post('/console/enrol', { code: people.wrongCode(secretIn(page.html)) })
    expect([wrong.status, secretIn(wrong.html)]).toEqual([403, secretIn(page.html)])
    expect((await browser.get('/console/dashboard')).location).toMatch('/console/sign-in')
  })
})

describe('sign-in', () => {
  test('wrong is 403: a page that keeps the address and not the password, or the common structure for JSON', async () => {
    const served = await start()
    const browser = served.browser()
    await browser.get('/console/sign-in')
    const fields = { email: served.email, password: 'some wrong password', code: '000000' }
    const page = await browser.post('/console/sign-in', fields)
    expect([page.status, page.text]).toEqual([403, expect.stringContaining('do not go together')])
    expect(page.html).toContain(`value="${served.email}"`)
    expect(page.html).not.toContain('some wrong password')
    const answer = await browser.post('/console/sign-in', fields, json)
    expect(errorOf({ statusCode: answer.status, body: answer.html })).toMatchObject({
      status: 403,
      code: 'forbidden',
      metadata: { status: 'error', customer_id: null },
    })
  })

  test('locked is 429 with Retry-After', async () => {
    const served = await start()
    const browser = served.browser()
    await browser.get('/console/sign-in')
    const fields = { email: 'locked@example.com', password: 'x', code: '000000' }
    for (let i = 0; i < 10; i++) await browser.post('/console/sign-in', fields)
    const page = await browser.post('/console/sign-in', fields)
    expect([page.status, page.text]).toEqual([429, expect.stringContaining('Too many attempts failed. Try again in a')])
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(30)
  })

  test('is where the console begins, however its address is written', async () => {
    const browser = (await start()).browser()
    for (const entrance of ['/console', '/console/']) {
      expect((await browser.get(entrance)).location).toBe('/console/dashboard')
    }
  })

  test('leads back to the page that asked for it, and never away from the console', async () => {
    const served = await start()
    const { secret } = await activate(served)
    const signIn = async (next: string) => {
      const browser = served.browser()
      await browser.get(`/console/sign-in?next=${encodeURIComponent(next)}`)
      const fields = { email: served.email, password: goodPassword, code: people.nextCode(secret), next }
      return (await browser.post('/console/sign-in', fields)).location
    }
    expect(await signIn('/console/usage/2026-05')).toBe('/console/usage/2026-05')
    for (const next of ['https://example.com', '//example.com', '/console/../v1', '/console//example.com/%0d']) {
      expect(await signIn(next)).toBe('/console/dashboard')
    }
  })

  test('signing out ends the session, in every instance', async () => {
    const served = await start()
    const { browser } = await activate(served)
    const { app } = await served.another()
    const elsewhere = served.browser(app)
    for (const [name, value] of browser.jar) elsewhere.jar.set(name, value)
    expect((await elsewhere.get('/console/account')).status).toBe(200)
    await browser.get('/console/account')
    const before = new Map(browser.jar)
    expect((await browser.submit('/console/sign-out')).text).toContain('You are signed out.')
    for (const [name, value] of before) browser.jar.set(name, value)
    expect((await browser.get('/console/account')).status).toBe(303)
    expect((await elsewhere.get('/console/account')).status).toBe(303)
  })
})

describe('a session', () => {
  test('that has expired leads browsers to sign in, and is 403 for JSON', async () => {
    const served = await start()
    const { browser } = await activate(served)
    await people.pool.query(`update console_sessions set seen_at = seen_at - interval '31 minutes'`)
    const page = await browser.get('/console/keys')
    expect([page.status, page.location]).toEqual([303, '/console/sign-in?next=%2Fconsole%2Fkeys'])
    const answer = await browser.get('/console/keys', json)
    expect(errorOf({ statusCode: answer.status, body: answer.html })).toMatchObject({ status: 403, code: 'forbidden' })
  })

  test('lies in a cookie that scripts cannot read and other sites cannot send', async () => {
    const served = await start()
    const { browser, secret } = await activate(served)
    await browser.get('/console/account')
    await browser.submit('/console/sign-out')
    const fields = { email: served.email, password: goodPassword, code: people.nextCode(secret) }
    const { cookies } = await browser.post('/console/sign-in', fields)
    expect(cookies.find(({ name }) => name === 'liveness-session')).toMatchObject({
      httpOnly: true,
      sameSite: 'Lax',
      path: '/',
    })
  })

  test('behind TLS its cookie is Secure and bound to the host', async () => {
    const served = await start({ publicUrl: 'https://liveness.example' })
    const { browser } = await activate(served)
    expect([...browser.jar.keys()].sort()).toEqual(['__Host-liveness-session', '__Host-liveness-visitor'])
    const { cookies, headers } = await served.browser().get('/console/sign-in')
    expect(cookies).toMatchObject([{ secure: true, path: '/' }])
    expect(cookies[0]).not.toHaveProperty('domain')
    expect(headers['strict-transport-security']).toBe('max-age=31536000')
  })
})

describe('a reset', () => {
  test('by code and new password; an unknown address gets the same pages', async () => {
    const served = await start()
    const { secret } = await activate(served)
    const request = async (email: string) => {
      const browser = served.browser()
      await browser.get('/console/reset')
      const first = await browser.post('/console/reset', { email })
      const page = await browser.get('/console/reset/code')
      const wrong = await browser.post('/console/reset/code', { code: '000000', password: 'x', again: 'x' })
      const strip = (html: string) => html.replaceAll(email, '').replaceAll(/value="[^"]*"/g, '')
      return { browser, seen: [first.status, first.location, strip(page.html), wrong.status, strip(wrong.html)] }
    }
    const known = await request(served.email)
    const unknown = await request('nobody@example.com')
    expect(known.seen).toEqual(unknown.seen)

    const [letter] = await people.lettersTo(served.email)
    const code = /\b\d{6}\b/.exec(letter?.text ?? '')?.[0] ?? ''
    const next = 'seven purple lamps in rain'
    const done = await known.browser.submit('/console/reset/code', { code, password: next, again: next })
    expect(done.text).toContain('Your new password is set, and all sessions have ended.')
    const fields = { email: served.email, password: next, code: people.nextCode(secret) }
    expect((await known.browser.post('/console/sign-in', fields)).location).toBe('/console/dashboard')
  })

  test('what is no address is 400 and says what one looks like', async () => {
    const served = await start()
    const browser = served.browser()
    await browser.get('/console/reset')
    const page = await browser.post('/console/reset', { email: '"><b>nobody' })
    expect([page.status, page.text]).toEqual([400, expect.stringContaining('It has the form name@example.com.')])
    expect(page.html).toContain('value="&#34;><b>nobody"')
  })
})
