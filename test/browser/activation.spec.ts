import { generateSync } from 'otplib'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { check, face, usage } from '../support/product.ts'
import { afterGoingBack, haveChromium, mainText, modes, press, useChromium } from './browser.ts'
import { password, useStage } from './stage.ts'

const suite = 'the console in a browser, activation'
const there = haveChromium(suite)
const stage = useStage(there)
const { visitor } = useChromium(there)

const focused = (page: Page) => page.locator(':focus').getAttribute('name')

describe.skipIf(!there).each(modes)('activation $mode', ({ mode, script }) => {
  test('leads from the operator’s command to the first call', async () => {
    const email = `${mode.replaceAll(' ', '-')}@example.com`
    const made = await stage.operator('customer', 'create', '--plan', 'standard', '--email', email, '--json')
    expect(JSON.parse(made)).toMatchObject({ keys: null })
    const [link = ''] = /http:\S+/.exec(await stage.letterTo(email, /Activate your/)) ?? []
    expect(new URL(link).origin).toBe(stage.url)
    const page = await visitor(stage.url, { script })

    await page.goto(link)
    const choose = async (first: string, again: string) => {
      await page.getByLabel('New password', { exact: true }).fill(first)
      await page.getByLabel('New password again').fill(again)
      return press(page, 'Set password')
    }
    expect(await choose('short', 'short')).toBe(400)
    expect(await page.locator('#password-error').innerHTML()).toBe('This has 5 characters. A password has at least 12.')
    expect([await focused(page), await page.getByLabel('New password again').inputValue()]).toEqual(['password', ''])
    expect(await choose('password1234', 'password1234')).toBe(400)
    expect(await page.locator('#password-error').innerHTML()).toContain('among the first that would be guessed')
    expect(await choose(password, `${password}s`)).toBe(400)
    expect(await focused(page)).toBe('again')
    expect(await choose(password, password)).toBe(303)

    const secret = (await page.locator('#totp-secret').innerHTML()).replace(/\s/g, '')
    expect(await page.locator('.qr svg').isVisible()).toBe(true)
    await page.getByLabel('Code').fill('000000')
    expect(await press(page, 'Confirm authenticator')).toBe(403)
    expect(await page.locator('#code-error').innerHTML()).toContain('The code is not right.')
    expect(await focused(page)).toBe('code')
    await page.getByLabel('Code').fill(generateSync({ secret }))
    expect(await press(page, 'Confirm authenticator')).toBe(200)
    expect((await page.locator('#recovery-codes').innerHTML()).trim().split('\n')).toHaveLength(10)

    expect(await press(page, 'Show my API keys')).toBe(200)
    const keys = await Promise.all(['#key-primary', '#key-secondary'].map((id) => page.locator(id).innerHTML()))
    for (const key of keys) expect((await usage(stage.url, key)).status).toBe(200)
    expect(await page.getByRole('button', { name: 'Copy primary key' }).isVisible()).toBe(script)

    // Neither the way back nor a second load shows them once more.
    await page.getByRole('link', { name: 'I have stored the keys' }).click()
    expect(await mainText(page)).toContain('Waiting for your first call.')
    const before = await afterGoingBack(page)
    for (const key of keys) expect(before).not.toContain(key)
    await page.reload()
    expect(await mainText(page)).toContain('Your keys were issued before.')
    for (const key of keys) expect(await page.content()).not.toContain(key)

    await page.goto('/console/first-call')
    const { status } = await check(stage.url, keys[0] ?? '', face)
    expect(status).toBe(200)
    // With script the line asks for itself every 3 seconds, else the page loads anew after 10.
    await page.locator('#first-call.done').waitFor({ timeout: 15_000 })
    expect(await mainText(page)).toContain('Your first call arrived on')
    await page.getByRole('link', { name: 'Show the overview' }).click()
    expect(await mainText(page)).toContain('1 of 5,000 credits used.')

    expect((await page.goto(link))?.status()).toBe(404)
    expect(await mainText(page)).toContain('This link no longer works')
  })
})
