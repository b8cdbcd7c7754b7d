import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import { describe, expect, onTestFinished, test } from 'vitest'
import { haveChromium, mainText, modes, press, signIn, useChromium } from './browser.ts'
import { type Person, password, useStage } from './stage.ts'

const suite = 'the console in a browser, protection'
const there = haveChromium(suite)
const stage = useStage(there)
const { visitor } = useChromium(there)

const json = { accept: 'application/json' }

/** A page of somebody who is signed in, on the page with the button of the hard cap. */
async function onPlan(script = true): Promise<{ page: Page; person: Person }> {
  const person = await stage.person()
  const page = await visitor(stage.url, { script })
  expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
  await page.goto('/console/plan')
  return { page, person }
}
const tokenOf = (page: Page) => page.locator('form[action="/console/plan/hard-cap"] [name=_csrf]').inputValue()
/** Sends what the button sends, in the page's session, with another token or other headers. */
const send = (page: Page, form: Record<string, string>, headers: Record<string, string> = {}) =>
  page.context().request.post('/console/plan/hard-cap', { form: { to: 'on', ...form }, headers, maxRedirects: 0 })
const capIsOff = async (page: Page) => {
  await page.goto('/console/plan')
  expect(await mainText(page)).toContain('The hard cap is off.')
}

describe.skipIf(!there)('a form', () => {
  test('without its token, with another session’s, or sent from elsewhere is refused with 403', async () => {
    const [{ page }, other] = [await onPlan(), await onPlan()]
    const mine = await tokenOf(page)
    const html = { accept: 'text/html' }
    for (const [form, headers] of [
      [{}, html],
      [{ _csrf: '' }, html],
      [{ _csrf: await tokenOf(other.page) }, html],
      [{ _csrf: mine }, { ...html, origin: 'https://elsewhere.example' }],
      [{ _csrf: mine }, { ...html, origin: 'null' }],
      [{ _csrf: mine }, { ...html, 'sec-fetch-site': 'cross-site' }],
    ] as const) {
      const answer = await send(page, form, headers)
      expect([answer.status(), answer.headers()['content-type']]).toEqual([403, 'text/html; charset=utf-8'])
      expect(await answer.text()).toContain('This form is no longer valid')
    }
    await capIsOff(page)
    expect((await send(page, { _csrf: mine }, html)).status()).toBe(303)
  })

  test('that is refused is answered to a program in the common structure', async () => {
    const { page } = await onPlan()
    const answer = await send(page, {}, json)
    expect([answer.status(), await answer.json()]).toEqual([
      403,
      {
        metadata: expect.objectContaining({ status: 'error', customer_id: null, remaining_calls: null }),
        error: { code: 'forbidden', message: expect.stringContaining('no longer valid') },
      },
    ])
  })

  test.each(modes)('on another site’s page comes without the session and does nothing ($mode)', async ({ script }) => {
    const { page } = await onPlan(script)
    const html = `<form method="post" action="${stage.url}/console/plan/hard-cap">
      <input name="_csrf" value="${await tokenOf(page)}"><input name="to" value="on"><button>Win</button></form>`
    const site = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(html))
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void site.close())
    // To a browser 127.0.0.1 is another site than localhost.
    await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`)
    expect(await press(page, 'Win')).toBe(403)
    expect(await mainText(page)).toContain('That was refused')
    await capIsOff(page)
  })
})

describe.skipIf(!there)('a session', () => {
  test('is not kept alive by a page that asks for itself again while nobody is there', async () => {
    const { page, person } = await onPlan()
    const seen = async () => {
      const { rows } = await stage.pool.query<{ idle: number }>(
        `select extract(epoch from clock_timestamp() - seen_at)::float8 as idle
           from console_sessions where account_id = $1`,
        [person.accountId],
      )
      return rows[0]?.idle ?? Number.NaN
    }
    const idle = `update console_sessions set seen_at = clock_timestamp() - interval '20 minutes' where account_id = $1`
    await stage.pool.query(idle, [person.accountId])
    // What the script of the page sends, and what a browser without script is told to load anew.
    const unattended = await page.context().request.get('/console/usage', { headers: { 'x-refresh': '1' } })
    expect([unattended.status(), await seen()]).toEqual([200, expect.closeTo(1_200, -2)])
    await page.context().request.get('/console/first-call')
    expect(await seen()).toBeLessThan(60)
    await stage.pool.query(idle, [person.accountId])
    const waiting = await visitor(stage.url, { script: false })
    await waiting.context().addCookies(await page.context().cookies())
    await waiting.goto('/console/first-call')
    await stage.pool.query(idle, [person.accountId])
    const reload = await waiting.locator('meta[http-equiv=refresh]').getAttribute('content')
    const [, address = ''] = /url=(.*)/.exec(reload ?? '') ?? []
    await waiting.goto(address)
    expect(await mainText(waiting)).toContain('Waiting for your first call.')
    expect(await seen()).toBeGreaterThan(1_000)
  })

  test('is known at an address where there is nothing too', async () => {
    const { page } = await onPlan()
    expect((await page.goto('/console/nothing'))?.status()).toBe(404)
    await page.getByRole('link', { name: 'Go to the overview' }).click()
    await expect.poll(() => page.getByRole('heading', { name: 'Overview' }).count()).toBe(1)
  })

  test('that is missing or has ended is 403 to a program, in the common structure', async () => {
    const page = await visitor(stage.url)
    const answer = await page.context().request.get('/console/dashboard', { headers: json })
    expect([answer.status(), await answer.json()]).toMatchObject([
      403,
      { metadata: { status: 'error' }, error: { code: 'forbidden' } },
    ])
  })
})
