/** Debian's Chromium, driven as a reader would: fresh profiles, and whatever its console says is kept. */
import { existsSync } from 'node:fs'
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'

/** The one without windows takes half of the processor time. */
const executablePath = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find(existsSync)

/** Says aloud what is skipped when there is none. */
export function haveChromium(suite: string): boolean {
  const there = executablePath !== undefined
  if (!there) console.warn(`SKIPPED: ${suite} needs Debian's chromium-headless-shell or chromium`)
  return there
}

/** Each suite runs in both. */
export const modes = [
  { mode: 'with script', script: true },
  { mode: 'with script switched off', script: false },
] as const

const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** One Chromium for a spec file; each visitor has cookies, cache and history of their own. */
export function useChromium(there: boolean) {
  let browser: Awaited<ReturnType<typeof chromium.launch>>
  beforeAll(async () => {
    if (!there) return
    // Playwright switches the back/forward cache off. Readers have it, and it must not bring a key back.
    const ignoreDefaultArgs = ['--disable-back-forward-cache']
    browser = await chromium.launch({ executablePath: executablePath ?? '', args, ignoreDefaultArgs })
  }, 60_000)
  afterAll(() => browser?.close())

  return {
    /** A visitor's page. The test fails if a script throws, or if the browser refuses something of a page. */
    async visitor(baseURL: string, { script = true, ...options }: BrowserContextOptions & { script?: boolean } = {}) {
      const context = await browser.newContext({ baseURL, javaScriptEnabled: script, ...options })
      context.setDefaultTimeout(30_000)
      const page = await context.newPage()
      const refused: string[] = []
      context.on('weberror', (error) => refused.push(error.error().message))
      context.on('console', (message) => {
        // What the tests provoke is answered with 4xx, and Chromium notes each such answer.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
          refused.push(message.text())
        }
      })
      onTestFinished(async () => {
        await context.close()
        expect(refused).toEqual([])
      })
      return page
    },
  }
}

/** What a reader finds in the main part of the page. */
export async function mainText(page: Page): Promise<string> {
  await page.waitForLoadState('domcontentloaded') // a click ends before the page that it leads to is there to its end
  return ((await page.locator('main').textContent()) ?? '').replace(/\s+/g, ' ')
}

/** Presses the button of that name; the status of the answer that it leads to. */
export async function press(page: Page, name: string): Promise<number> {
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.request().isNavigationRequest()),
    page.getByRole('button', { name, exact: true }).click(),
  ])
  await page.waitForLoadState('domcontentloaded')
  return answer.status()
}

/** What the page holds after the browser's own way back. An answer to a form it may not keep is an error to it. */
export async function afterGoingBack(page: Page): Promise<string> {
  const from = page.url()
  await page.goBack().catch((error: Error) => expect(error.message).toContain('ERR_CACHE_MISS'))
  await expect.poll(() => page.url()).not.toBe(from)
  return page.content()
}

/** Fills in the form of the sign-in page, wherever the visitor is, and sends it. */
export async function signIn(page: Page, fields: { email: string; password: string; code: string }): Promise<number> {
  if (!page.url().includes('/console/sign-in')) await page.goto('/console/sign-in')
  await page.getByLabel('E-mail address').fill(fields.email)
  await page.getByLabel('Password').fill(fields.password)
  await page.getByLabel('Code').fill(fields.code)
  return press(page, 'Sign in')
}
