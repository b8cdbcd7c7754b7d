import { readFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { check, eventsOf, face, usage } from '../support/product.ts'
import { afterGoingBack, haveChromium, mainText, modes, press, signIn, useChromium } from './browser.ts'
import { type Person, password, useStage } from './stage.ts'

const suite = 'the console in a browser, keys and plan'
const there = haveChromium(suite)
const stage = useStage(there)
const { visitor } = useChromium(there)

async function enter(options: Parameters<typeof stage.person>[0], script = true) {
  const person = await stage.person(options)
  const page = await visitor(stage.url, { script })
  expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
  return { person, page }
}
const call = (key: string) => check(stage.url, key, face)
/** Resolves once they hold every call so far: usage waits for them, the overview shows what is there. */
const readModelsOf = async ({ keys }: Person) => expect((await usage(stage.url, keys.primary)).status).toBe(200)
const statusOfCall = async ({ keys }: Person) => (await call(keys.primary)).status
/** Type and actor of the newest events of the log. */
const newest = async ({ customerId }: Person, many: number) =>
  (await eventsOf(stage.env, customerId)).slice(-many).map(({ type, metadata }) => [type, metadata.actor])
const follow = (page: Page, name: string) => page.getByRole('link', { name, exact: true }).click()

describe.skipIf(!there).each(modes)('keys $mode', ({ script }) => {
  test('a regenerated key fails from that moment, and the new one is seen once', async () => {
    const { person, page } = await enter({}, script)
    const { keys, accountId } = person
    expect((await usage(stage.url, keys.primary)).status).toBe(200)
    await follow(page, 'API keys')
    expect(await mainText(page)).toContain(`${keys.primary.slice(0, 8)}…`)
    await follow(page, 'Regenerate primary key')
    expect(await mainText(page)).toContain('fail from that moment on')
    await page.getByLabel('Code from your authenticator').fill('000000')
    expect(await press(page, 'Regenerate primary key')).toBe(403)
    expect(await mainText(page)).toContain('The code is wrong or was used before.')
    expect((await usage(stage.url, keys.primary)).status).toBe(200)

    await page.getByLabel('Code from your authenticator').fill(await stage.nextCode(person))
    expect(await press(page, 'Regenerate primary key')).toBe(200)
    const secret = (await page.locator('#key-primary').textContent()) ?? ''
    expect(secret).toMatch(/^lc_[0-9A-Za-z]{29}$/)
    expect((await call(keys.primary)).body).toMatchObject({ error: { code: 'invalid_api_key' } })
    expect((await call(secret)).status).toBe(200)
    expect((await usage(stage.url, keys.secondary)).status).toBe(200)
    expect(await newest(person, 2)).toEqual([
      ['ApiKeyRegenerated', `console:${accountId}`],
      ['DetectionSucceeded', expect.stringMatching(/^key:/)],
    ])

    await follow(page, 'I have stored the key')
    expect(await mainText(page)).toContain(`${secret.slice(0, 8)}…`)
    expect(await page.content()).not.toContain(secret)
    expect(await afterGoingBack(page)).not.toContain(secret)
    // Sending the form once more, as a reload does, is refused: its code is used up.
    await page.reload()
    expect(await mainText(page)).toContain('The code is wrong or was used before.')
    expect(await page.content()).not.toContain(secret)
    expect((await usage(stage.url, secret)).status).toBe(200)
  })
})

describe.skipIf(!there).each(modes)('the plan $mode', ({ script }) => {
  test('the hard cap holds for the very next call, and without it calls go on as overage', async () => {
    const { person, page } = await enter({ limit: 2 }, script)
    expect([await statusOfCall(person), await statusOfCall(person)]).toEqual([200, 200])
    await follow(page, 'Plan')
    expect(await mainText(page)).toContain('Keeps going past 2 calls, $0.15 for each further call.')
    expect(await press(page, 'Switch hard cap on: stop at 2 calls')).toBe(303)
    expect((await call(person.keys.primary)).body).toMatchObject({ error: { code: 'quota_exceeded' } })
    const on = await mainText(page)
    expect(on).toContain('The hard cap is on. The API stops at 2 calls a month.')
    expect(on).toContain('Stops at 2 calls, never costs more.')
    await readModelsOf(person)
    await follow(page, 'Overview')
    expect(await mainText(page)).toContain('Stopped: the limit of 2 calls is reached.')

    await follow(page, 'Change hard cap')
    expect(await press(page, 'Switch hard cap off: keep going for $0.15 a call')).toBe(303)
    const { status, body } = await call(person.keys.primary)
    expect([status, body.metadata]).toMatchObject([200, { remaining_calls: 0, over_limit_calls: 1 }])
    expect(await mainText(page)).toContain('Keeps going past 2 calls, $0.15 for each further call.')
    await readModelsOf(person)
    await follow(page, 'Overview')
    expect(await mainText(page)).toContain('2 of 2 credits used. 1 call past them as overage.')
    const actor = `console:${person.accountId}`
    expect(await newest(person, 3)).toEqual([
      ['HardCapEnabled', actor],
      ['HardCapDisabled', actor],
      ['DetectionSucceeded', expect.stringMatching(/^key:/)],
    ])
    expect(await mainText(page)).toMatch(/Hard cap switched off.*by you.*Hard cap switched on.*by you/)
  })

  test('a scheduled change of the operator’s is shown and can be cancelled; none is 404', async () => {
    const { person, page } = await enter({ plan: 'business' }, script)
    const reason = 'asked for by telephone'
    await stage.command(person.customerId, { type: 'SetPlan', plan: 'standard', origin: 'operator', reason })
    await follow(page, 'Plan')
    expect(await mainText(page)).toMatch(/From 1 \w+ \d{4} on your plan is Standard: 5,000 calls/)
    const form = { _csrf: await page.locator('[name=_csrf]').first().inputValue() }
    expect(await press(page, 'Cancel the change to Standard')).toBe(303)
    expect(await mainText(page)).toContain('The scheduled change is cancelled. Your plan stays Business.')
    expect(await page.getByRole('heading', { name: 'Scheduled change' }).count()).toBe(0)
    expect(await newest(person, 1)).toEqual([['ScheduledPlanChangeCancelled', `console:${person.accountId}`]])
    const again = (accept: string) =>
      page.context().request.post('/console/plan/scheduled/cancel', { form, headers: { accept }, maxRedirects: 0 })
    const asPage = await again('text/html')
    expect([asPage.status(), await asPage.text()]).toEqual([404, expect.stringContaining('There is nothing here')])
    const asJson = await again('application/json')
    expect([asJson.status(), await asJson.json()]).toMatchObject([404, { error: { code: 'not_found' } }])
  })
})

// Pages without a part that a script plays.
describe.skipIf(!there)('the plan and its statements', () => {
  test('the free plan has the hard cap always on: a sentence and no button', async () => {
    const { page } = await enter({ plan: 'free' })
    await follow(page, 'Plan')
    expect(await mainText(page)).toContain('The hard cap is always on with the free plan')
    expect(await page.locator('main form').count()).toBe(0)
    const form = { to: 'off', _csrf: await page.locator('[name=_csrf]').first().inputValue() }
    const answer = await page.context().request.post('/console/plan/hard-cap', {
      form,
      headers: { accept: 'application/json' },
      maxRedirects: 0,
    })
    expect([answer.status(), await answer.json()]).toMatchObject([400, { error: { code: 'invalid_request' } }])
  })

  test('a month’s statement is a page that prints on one A4 page, and a CSV whose lines name their events', async () => {
    const { person, page } = await enter({ limit: 2 })
    for (let i = 0; i < 3; i++) expect(await statusOfCall(person)).toBe(200)
    await follow(page, 'Usage and statements')
    await page.getByRole('link', { name: /^Show the statement of/ }).click()
    const text = await mainText(page)
    expect(text).toContain('$0.15')
    expect(text).toContain(person.email)
    await page.emulateMedia({ media: 'print' })
    expect(await page.locator('header.bar').isVisible()).toBe(false)
    const pdf = (await page.pdf({ format: 'A4', preferCSSPageSize: true })).toString('latin1')
    expect(pdf.match(/\/Type\s*\/Page\b/g)).toHaveLength(1)
    await page.emulateMedia({ media: 'screen' })

    await page.goto('/console/usage')
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: /^Statement of .* as CSV$/ }).click(),
    ])
    expect(file.suggestedFilename()).toBe(`statement-${new Date().toISOString().slice(0, 7)}.csv`)
    const csv = await readFile(await file.path(), 'utf8')
    const log = await eventsOf(stage.env, person.customerId)
    const calls = log.filter(({ type }) => type === 'DetectionSucceeded')
    expect(calls).toHaveLength(3)
    const lines = csv.trim().split(/\r?\n/).slice(1)
    expect(lines).toHaveLength(log.length)
    for (const { data } of calls) expect(csv).toContain(data.detectionId)
    expect(lines.filter((line) => line.includes('overage'))).toHaveLength(1)
  })
})
