import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { check, face } from '../support/product.ts'
import { haveChromium, mainText, modes, press, signIn, useChromium } from './browser.ts'
import { faultsOf } from './looks.ts'
import { type Person, password, useStage } from './stage.ts'

const suite = 'the console in a browser, looks'
const there = haveChromium(suite)
const stage = useStage(there)
const { visitor } = useChromium(there)

async function enter(person: Person): Promise<Page> {
  const page = await visitor(stage.url)
  expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
  return page
}
/** Opens each page and looks at it; the names are those of the pictures. */
async function look(page: Page, addresses: Readonly<Record<string, string>>): Promise<string[]> {
  const faults: string[] = []
  for (const [name, address] of Object.entries(addresses)) {
    await page.goto(address)
    faults.push(...(await faultsOf(page, name)))
  }
  return faults
}
const day = 24 * 3_600_000
/** Registered so many days ago, with calls on each day until today. */
const past = (days: number, ofDay: (day: number) => number) => ({
  since: new Date(Date.now() - days * day).toISOString(),
  calls: Array.from({ length: days }, (_, index) => ofDay(index)),
})

describe.skipIf(!there)('every page can be used by everybody, in both widths and both schemes', () => {
  test('on the way in', async () => {
    const page = await visitor(stage.url)
    const faults = await look(page, {
      start: '/',
      'sign-in': '/console/sign-in',
      reset: '/console/reset',
      'link-gone': `/console/activate/${'x'.repeat(43)}`,
    })
    await page.goto('/console/reset')
    await page.getByLabel('E-mail address').fill('somebody@example.com')
    await press(page, 'Send code')
    faults.push(...(await faultsOf(page, 'reset-code')))
    await signIn(page, { email: 'somebody@example.com', password: 'not the password', code: '000000' })
    faults.push(...(await faultsOf(page, 'sign-in-refused')))
    expect(faults).toEqual([])
  })

  test('from the link to the first call', async () => {
    const page = await visitor(stage.url)
    const made = await stage.operator(
      'customer',
      'create',
      '--plan',
      'standard',
      '--email',
      'ada@example.com',
      '--json',
    )
    await page.goto(JSON.parse(made).activation_link)
    const faults = await faultsOf(page, 'activate')
    const choose = async (chosen: string) => {
      await page.getByLabel('New password', { exact: true }).fill(chosen)
      await page.getByLabel('New password again').fill(chosen)
      await press(page, 'Set password')
    }
    await choose('short')
    faults.push(...(await faultsOf(page, 'activate-refused')))
    await choose(password)
    faults.push(...(await faultsOf(page, 'enrol')))
    const secret = ((await page.locator('#totp-secret').textContent()) ?? '').replace(/\s/g, '')
    await page.getByLabel('Code').fill(await stage.nextCode({ secret }))
    await press(page, 'Confirm authenticator')
    faults.push(...(await faultsOf(page, 'recovery-codes')))
    await press(page, 'Show my API keys')
    faults.push(...(await faultsOf(page, 'first-keys')))
    const key = (await page.locator('#key-primary').textContent()) ?? ''
    faults.push(...(await look(page, { 'first-call': '/console/first-call', 'overview-new': '/console/dashboard' })))
    await page.goto('/console/first-call')
    await check(stage.url, key, face)
    await page.locator('#first-call.done').waitFor()
    faults.push(...(await faultsOf(page, 'first-call-done')))
    expect(faults).toEqual([])
  })

  test('of a customer in the middle of a month', async () => {
    const person = await stage.personWithPast(
      past(66, (index) => (index * 7) % 31),
      { limit: 1_000 },
    )
    const page = await enter(person)
    const lastMonth = new Date(Date.now() - 30 * day).toISOString().slice(0, 7)
    const faults = await look(page, {
      overview: '/console/dashboard',
      keys: '/console/keys',
      regenerate: '/console/keys/primary/regenerate',
      usage: '/console/usage',
      'usage-past': `/console/usage/${lastMonth}`,
      statement: `/console/usage/${lastMonth}/statement`,
      plan: '/console/plan',
      activity: '/console/activity',
      account: '/console/account',
      'account-password': '/console/account/password',
      'account-email': '/console/account/email',
      'account-authenticator': '/console/account/authenticator',
      'account-recovery-codes': '/console/account/recovery-codes',
      'not-found': '/console/nothing',
    })
    await page.goto('/console/keys/secondary/regenerate')
    await page.getByLabel('Code from your authenticator').fill('000000')
    await press(page, 'Regenerate secondary key')
    faults.push(...(await faultsOf(page, 'regenerate-refused')))
    await page.getByLabel('Code from your authenticator').fill(await stage.nextCode(person))
    await press(page, 'Regenerate secondary key')
    faults.push(...(await faultsOf(page, 'new-key')))
    await page.goto('/console/plan')
    await press(page, 'Switch hard cap on: stop at 1,000 calls')
    faults.push(...(await faultsOf(page, 'plan-capped')))
    expect(faults).toEqual([])
  })

  test('of customers past their limit, stopped at it, on the free plan, and with a change ahead', async () => {
    const busy = past(12, () => 20)
    const over = await stage.personWithPast(busy, { plan: 'business', limit: 150 })
    const reason = 'asked for by telephone'
    await stage.command(over.customerId, { type: 'SetPlan', plan: 'standard', origin: 'operator', reason })
    const faults = await look(await enter(over), {
      'overview-overage': '/console/dashboard',
      'usage-overage': '/console/usage',
      'plan-scheduled': '/console/plan',
    })
    const stopped = await stage.personWithPast(
      past(6, () => 10),
      { limit: 60, hardCap: true },
    )
    faults.push(...(await look(await enter(stopped), { 'overview-stopped': '/console/dashboard' })))
    const free = await stage.personWithPast(
      past(9, () => 9),
      { plan: 'free' },
    )
    faults.push(
      ...(await look(await enter(free), { 'overview-free': '/console/dashboard', 'plan-free': '/console/plan' })),
    )
    expect(faults).toEqual([])
  })
})

describe.skipIf(!there)('on a phone', () => {
  test.each(modes)('the row of places begins where the reader is ($mode)', async ({ script }) => {
    const person = await stage.person()
    const page = await visitor(stage.url, { script, viewport: { width: 390, height: 844 } })
    await signIn(page, { ...person, password, code: await stage.nextCode(person) })
    for (const place of ['Account', 'Overview']) {
      await page.getByRole('link', { name: place, exact: true }).click()
      await page.waitForLoadState() // the stylesheet makes it a row
      const ends = async () => {
        const box = await page.locator('.places [aria-current]', { hasText: place }).boundingBox()
        return box === null ? [] : [box.x, box.x + box.width]
      }
      const onScreen = (found: number[]) => found.length === 2 && found.every((x) => x >= 0 && x <= 390)
      await expect.poll(ends).toSatisfy(onScreen)
    }
  })
})

describe.skipIf(!there)('the keyboard alone', () => {
  /** Moves on with the Tab key until the element of that name has the focus, which must be visible there. */
  async function tabTo(page: Page, name: string): Promise<void> {
    const nameOf = `(() => { const at = document.activeElement; return (at.labels?.[0] ?? at).textContent.trim() })()`
    for (let steps = 0; (await page.evaluate(nameOf)) !== name; steps++) {
      if (steps > 40) throw new Error(`the Tab key does not lead to ${name}`)
      await page.keyboard.press('Tab')
    }
    expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).not.toBe('none')
  }

  test('signs in, and regenerates a key', async () => {
    const person = await stage.person()
    const page = await visitor(stage.url)
    await page.goto('/console/sign-in')
    await page.locator('#email:focus').waitFor()
    await page.keyboard.type(person.email)
    await tabTo(page, 'Password')
    await page.keyboard.type(password)
    await tabTo(page, 'Code')
    await page.keyboard.type(await stage.nextCode(person))
    await page.keyboard.press('Enter')
    await page.waitForURL('**/console/dashboard')

    await tabTo(page, 'Skip to content')
    await page.keyboard.press('Enter')
    expect(await page.evaluate('document.activeElement.id')).toBe('main')
    await page.reload()
    await tabTo(page, 'API keys')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/console/keys')
    await tabTo(page, 'Regenerate primary key')
    await page.keyboard.press('Enter')
    await page.locator('#code:focus').waitFor()
    await page.keyboard.type(await stage.nextCode(person))
    await tabTo(page, 'Regenerate primary key')
    await page.keyboard.press('Enter')
    await page.locator('#key-primary').waitFor()
    await tabTo(page, 'Copy primary key')
    await tabTo(page, 'I have stored the key')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/console/keys')
    expect(await mainText(page)).toContain('Primary key')
  })
})
