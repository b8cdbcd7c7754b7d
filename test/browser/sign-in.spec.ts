import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { haveChromium, mainText, modes, press, signIn, useChromium } from './browser.ts'
import { type Person, password, useStage } from './stage.ts'

const suite = 'the console in a browser, sign-in'
const there = haveChromium(suite)
const stage = useStage(there)
const { visitor } = useChromium(there)

const path = (page: Page) => new URL(page.url()).pathname
const dontGoTogether = 'E-mail address, password and code do not go together.'

/** Signs in, in a browser of their own. */
async function enter(person: Person, script = true): Promise<Page> {
  const page = await visitor(stage.url, { script })
  expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
  return page
}

describe.skipIf(!there).each(modes)('signing in $mode', ({ script }) => {
  test('leads to the page that was asked for, with a new session', async () => {
    const person = await stage.person()
    const page = await visitor(stage.url, { script })
    await page.goto('/console/keys')
    expect(path(page)).toBe('/console/sign-in')
    expect(await page.locator(':focus').getAttribute('name')).toBe('email')
    const session = async () => (await page.context().cookies()).find(({ name }) => name.endsWith('liveness-session'))
    expect(await session()).toBeUndefined()
    expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
    expect(path(page)).toBe('/console/keys')
    expect(await session()).toMatchObject({ httpOnly: true, sameSite: 'Lax' })
    await page.goto('/console/sign-in')
    expect(path(page)).toBe('/console/dashboard')
  })

  test('a wrong password, and a wrong, a reused and a stale code, are refused in the same words', async () => {
    const person = await stage.person()
    const page = await visitor(stage.url, { script })
    const good = await stage.nextCode(person)
    expect(await signIn(page, { ...person, password, code: good })).toBe(303)
    expect(await press(page, 'Sign out')).toBe(303)
    expect(await mainText(page)).toContain('You are signed out.')
    for (const fields of [
      { password: 'not the password', code: stage.oldCode(person, -1) },
      { password, code: '000000' },
      { password, code: good },
      { password, code: stage.oldCode(person, 3) },
    ]) {
      expect(await signIn(page, { email: person.email, ...fields })).toBe(403)
      expect(await mainText(page)).toContain(dontGoTogether)
      expect(await page.getByLabel('E-mail address').inputValue()).toBe(person.email)
      expect(await page.getByLabel('Password').inputValue()).toBe('')
    }
    await page.goto('/console/dashboard')
    expect(path(page)).toBe('/console/sign-in')
  })

  test('a recovery code signs in once', async () => {
    const person = await stage.person()
    const [code = ''] = person.recoveryCodes
    const page = await visitor(stage.url, { script })
    expect(await signIn(page, { ...person, password, code })).toBe(303)
    await page.goto('/console/account')
    expect(await mainText(page)).toContain('9 left')
    await press(page, 'Sign out')
    expect(await signIn(page, { ...person, password, code })).toBe(403)
  })
})

// What the server alone decides: the page has no part in it, with or without script.
describe.skipIf(!there)('a way in', () => {
  test('ten failures lock the account, whatever comes next, until the operator unlocks it', async () => {
    const person = await stage.person()
    const page = await visitor(stage.url)
    for (let i = 0; i < 10; i++) {
      expect(await signIn(page, { ...person, password: 'not the password', code: '000000' })).toBe(403)
    }
    expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(429)
    expect(await mainText(page)).toContain('Too many attempts failed. Try again in a minute.')
    await stage.operator('customer', 'unlock', person.customerId)
    expect(await signIn(page, { ...person, password, code: stage.oldCode(person, 0) })).toBe(303)
  })

  test('a session ends after its idle time and its absolute one', async () => {
    const person = await stage.person()
    const page = await visitor(stage.url)
    for (const passing of [
      `seen_at = clock_timestamp() - interval '31 minutes'`,
      `expires_at = clock_timestamp() - interval '1 second'`,
    ]) {
      expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
      await page.goto('/console/usage')
      expect(path(page)).toBe('/console/usage')
      await stage.pool.query(`update console_sessions set ${passing} where account_id = $1`, [person.accountId])
      await page.goto('/console/keys')
      expect(path(page)).toBe('/console/sign-in')
    }
  })

  test('signing out everywhere ends the sessions of other browsers', async () => {
    const person = await stage.person()
    const [here, elsewhere] = [await enter(person), await enter(person)]
    await here.goto('/console/account')
    expect(await press(here, 'Sign out everywhere')).toBe(303)
    expect(await mainText(here)).toContain('You are signed out everywhere.')
    await elsewhere.goto('/console/dashboard')
    expect(path(elsewhere)).toBe('/console/sign-in')
  })
})

describe.skipIf(!there).each(modes)('a password reset $mode', ({ script }) => {
  test('needs the code from the mail, ends all sessions, and leaves the authenticator as it was', async () => {
    const person = await stage.person()
    const elsewhere = await enter(person, script)
    const page = await visitor(stage.url, { script })
    const ask = async (email: string) => {
      await page.goto('/console/sign-in')
      await page.getByRole('link', { name: 'Forgot your password?' }).click()
      await page.getByLabel('E-mail address').fill(email)
      expect(await press(page, 'Send code')).toBe(303)
      return (await mainText(page)).replaceAll(email, '…')
    }
    const next = 'seven purple lamps in rain'
    const enterCode = async (code: string) => {
      await page.getByLabel('Code from the mail').fill(code)
      await page.getByLabel('New password', { exact: true }).fill(next)
      await page.getByLabel('New password again').fill(next)
      return { status: await press(page, 'Set new password'), text: await mainText(page) }
    }
    const unknown = { asked: await ask('nobody@example.com'), entered: await enterCode('000000') }
    const known = { asked: await ask(person.email), entered: await enterCode('000000') }
    expect(known.asked).toBe(unknown.asked)
    expect(known.entered.status).toBe(403)
    expect(known.entered.text.replaceAll(person.email, '')).toBe(
      unknown.entered.text.replaceAll('nobody@example.com', ''),
    )

    const [code = ''] = /(?<=new password: )\d{6}/.exec(await stage.letterTo(person.email, /is your .* code/)) ?? []
    const expires = (when: string) =>
      stage.pool.query(`update password_resets set expires_at = clock_timestamp() + $1::interval`, [when])
    await expires('-1 second')
    expect((await enterCode(code)).status).toBe(403)
    await expires('1 minute')
    const { status, text } = await enterCode(code)
    expect([status, text]).toEqual([303, expect.stringContaining('Your new password is set')])

    await elsewhere.goto('/console/dashboard')
    expect(path(elsewhere)).toBe('/console/sign-in')
    expect(await signIn(page, { ...person, password, code: stage.oldCode(person, -1) })).toBe(403)
    expect(await signIn(page, { ...person, password: next, code: '000000' })).toBe(403)
    expect(await signIn(page, { ...person, password: next, code: await stage.nextCode(person) })).toBe(303)
  })
})
