/** A customer checks their own bill: the bundle from the statement's page, verified by the command and a public key. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { check, face, liveness } from '../support/product.ts'
import { haveChromium, mainText, signIn, useChromium } from './browser.ts'
import { password, useStage } from './stage.ts'

const suite = 'the bundle in a browser'
const there = haveChromium(suite)
const stage = useStage(there)
const { visitor } = useChromium(there)

describe.skipIf(!there)('the signed bundle', () => {
  test('is not there before the log is signed, and is a file that verifies from then on', async () => {
    const person = await stage.person({ limit: 2 })
    const page = await visitor(stage.url, { script: false })
    expect(await signIn(page, { ...person, password, code: await stage.nextCode(person) })).toBe(303)
    for (let i = 0; i < 3; i++) {
      expect((await check(stage.url, person.keys.primary, face)).status).toBe(200)
    }
    const month = new Date().toISOString().slice(0, 7)
    const link = page.getByRole('link', { name: 'Download the signed bundle' })
    await page.goto(`/console/usage/${month}/statement`)
    await link.click()
    expect(await mainText(page)).toContain('Not signed yet')
    await page.getByRole('link', { name: 'Show the statement' }).click()

    await liveness(stage.env, 'audit', 'anchor')
    const [file] = await Promise.all([page.waitForEvent('download'), link.click()])
    expect(file.suggestedFilename()).toBe(`liveness-${month}-${person.customerId}.ndjson`)
    const key = join(stage.env.DATA_DIR, 'public.pem')
    await writeFile(key, await liveness(stage.env, 'audit', 'public-key'))
    const report = await liveness({}, 'audit', 'verify-bundle', await file.path(), '--public-key', key, '--json')
    expect(JSON.parse(report)).toMatchObject({ agrees: true })
  })
})
