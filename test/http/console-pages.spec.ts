import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { customerStream } from '../../src/events/catalogue.ts'
import { createConsole, text } from './console-pages.ts'

type Console = Awaited<ReturnType<typeof createConsole>>
const head = ({ store, customerId }: Console) => store.stream(customerStream(customerId)).at(-1)

describe('overview', () => {
  test('a new customer sees their credits and is led to the first call', async () => {
    const console = await createConsole()
    const { statusCode, headers, body } = await console.get('/console/dashboard')
    expect(statusCode).toBe(200)
    expect(headers['content-type']).toBe('text/html; charset=utf-8')
    const page = text(body)
    expect(page).toContain('5,000 credits left')
    expect(page).toContain('0 of 5,000 credits used. 5,000 left until 31 May, 23:59 UTC.')
    expect(page).toContain('$750.00 a month for 5,000 calls.')
    expect(page).toContain('Keeps going past 5,000 calls, $0.15 for each further call.')
    expect(page).toContain('28 days')
    expect(page).toContain('No call yet.')
    expect(page).toContain('Liveness Detection API, version 1.2.3')
  })

  test('overage is counted at the price it was sold for, and with licence it is said when it is sent', async () => {
    const licence = { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:l:1' } as const
    const console = await createConsole({ monthlyLimit: 2, licence })
    await console.detect(5)
    const page = text((await console.get('/console/dashboard')).body)
    expect(page).toContain('0 credits left')
    expect(page).toContain('2 of 2 credits used. 3 calls past them as overage.')
    expect(page).toContain('$0.45')
    expect(page).toContain('3 × $0.15.')
    expect(page).toContain('Sent to AWS Marketplace about 10 minutes after each hour ends.')
    expect(page).toContain('Credits used up on 4 May')
    expect(page).not.toContain('No call yet.')
  })

  test('it says soon at 80 % and stopped at the limit with the cap on', async () => {
    const console = await createConsole({ monthlyLimit: 5, hardCap: true })
    await console.detect(4)
    expect(text((await console.get('/console/dashboard')).body)).toContain(
      'Soon: 80 % of your credits are used, 1 left. Stops at 5 calls, never costs more.',
    )
    await console.detect(1)
    expect(text((await console.get('/console/dashboard')).body)).toContain(
      'Stopped: the limit of 5 calls is reached. Calls are answered with 429 until 31 May, 23:59 UTC.',
    )
  })

  test('an idle customer sees the new month as it will open, though nothing is written yet', async () => {
    const console = await createConsole()
    await console.detect(2)
    console.world.now = '2026-06-30T23:00:00.000Z'
    const page = text((await console.get('/console/dashboard')).body)
    expect(page).toContain('Credits, June 2026')
    expect(page).toContain('5,000 credits left')
    expect(page).toContain('Less than a day')
    expect((await console.get('/console/usage')).statusCode).toBe(200)
    expect((await console.get('/console/usage/2026-06/statement')).statusCode).toBe(404)
  })

  test('what comes from outside is text and not markup', async () => {
    const console = await createConsole()
    await console.command({ type: 'DeactivateApiKey', slot: 'secondary', reason: '<script>alert(1)</script>' })
    const { body } = await console.get('/console/activity')
    expect(body).toContain('&lt;script>alert(1)')
    expect(body).not.toContain('<script>alert')
    expect(body).not.toContain('<i>ada')
  })

  test('without a session a browser is sent to sign in, and a client of JSON is refused', async () => {
    const console = await createConsole()
    console.world.signedIn = false
    for (const url of [
      '/console/dashboard',
      '/console/activity',
      '/console/keys',
      '/console/keys/primary/regenerate',
      '/console/usage',
      '/console/usage/2026-05/statement',
      '/console/usage/2026-05/statement.csv',
      '/console/usage/2026-05/bundle',
      '/console/plan',
      '/console/first-call',
    ]) {
      const response = await console.get(url, { accept: 'text/html' })
      expect([url, response.statusCode]).toEqual([url, 303])
      expect(response.headers.location).toMatch(/^\/console\/sign-in\?next=/)
      expect((await console.get(url, { accept: 'application/json' })).statusCode).toBe(403)
    }
    const before = head(console)
    for (const url of [
      '/console/plan/hard-cap',
      '/console/plan/scheduled/cancel',
      '/console/keys/primary/regenerate',
    ]) {
      expect((await console.post(url, { to: 'on', code: '123456' })).statusCode).toBe(303)
    }
    expect(head(console)).toEqual(before)
  })
})

describe('hard cap', () => {
  test('the switch is an event of the console user, and the page after it shows the new state', async () => {
    const console = await createConsole()
    const on = await console.post('/console/plan/hard-cap', { to: 'on' })
    expect([on.statusCode, on.headers.location]).toEqual([303, '/console/plan'])
    expect(head(console)).toMatchObject({
      type: 'HardCapEnabled',
      metadata: { actor: `console:${console.accountId}` },
    })
    const notice = 'The hard cap is on. The API stops at 5,000 calls a month.'
    const unseen = await console.after('/console/plan', { 'x-refresh': '1' })
    expect(text(unseen.body)).not.toContain(notice)
    expect(unseen.cookies).toEqual([])
    const page = text((await console.after('/console/plan')).body)
    expect(page).toContain(notice)
    expect(page).toContain('Stops at 5,000 calls, never costs more.')
    expect(page).toContain('Switch hard cap off: keep going for $0.15 a call')
    expect(text((await console.get('/console/dashboard')).body)).toContain('Hard cap switched on')

    await console.post('/console/plan/hard-cap', { to: 'off' })
    const off = text((await console.after('/console/plan')).body)
    expect(off).toContain('The hard cap is off. The API keeps going past 5,000 calls, $0.15 for each further call.')
    expect(off).toContain('Switch hard cap on: stop at 5,000 calls')
  })

  test('on the free plan the sentence stands without a button, and a forged request is refused', async () => {
    const console = await createConsole({ plan: 'free' })
    const { body } = await console.get('/console/plan')
    expect(text(body)).toContain('Stops at 100 calls, never costs more.')
    expect(text(body)).toContain('always on with the free plan')
    expect(body).not.toContain('/console/plan/hard-cap')
    const forged = await console.post('/console/plan/hard-cap', { to: 'off' })
    expect([forged.statusCode, forged.json().error.code]).toEqual([400, 'invalid_request'])
    expect((await console.post('/console/plan/hard-cap', { to: 'maybe' })).statusCode).toBe(400)
  })
})

describe('scheduled change', () => {
  test("an operator's own is cancelled here; where there is none it is 404 not_found", async () => {
    const console = await createConsole()
    await console.command({ type: 'SetPlan', plan: 'starter', origin: 'operator', reason: 'asked for' })
    const overview = text((await console.get('/console/dashboard')).body)
    expect(overview).toContain('From 1 June 2026 on your plan is Starter: 1,000 calls, $180.00 a month.')
    expect(overview).toContain('Cancel the change to Starter')
    expect((await console.post('/console/plan/scheduled/cancel', {})).statusCode).toBe(303)
    expect(head(console)).toMatchObject({ type: 'ScheduledPlanChangeCancelled' })
    const page = text((await console.after('/console/plan')).body)
    expect(page).toContain('The scheduled change is cancelled. Your plan stays Standard.')
    expect(page).not.toContain('Scheduled change')
    const again = await console.post('/console/plan/scheduled/cancel', {})
    expect([again.statusCode, again.json().error.code]).toEqual([404, 'not_found'])
  })

  test("the marketplace's is cancelled in AWS: the page links there, and a forged request is 404", async () => {
    const licence = { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:l:1' } as const
    const console = await createConsole({ licence })
    await console.command({ type: 'SetPlan', plan: 'starter', origin: 'marketplace', reason: 'agreement' })
    const { body } = await console.get('/console/plan')
    expect(body).not.toContain('/console/plan/scheduled/cancel')
    expect(body).toContain('https://console.aws.amazon.com/marketplace/')
    expect((await console.post('/console/plan/scheduled/cancel', {})).statusCode).toBe(404)
    expect(head(console)).toMatchObject({ type: 'PlanChangeScheduled' })
  })
})

describe('keys', () => {
  test('are listed by prefix, with creation and last use', async () => {
    const console = await createConsole()
    await console.detect(1)
    const { body } = await console.get('/console/keys')
    expect(text(body)).toContain(`${console.primary.key.prefix}…`)
    expect(text(body)).toContain('Last used 4 May 2026, 12:34 UTC')
    expect(text(body)).toContain('Last used Never')
    expect(body).not.toContain(console.primary.secret)
  })

  test('regenerate: behind a code, the new key in that response only, by the console user', async () => {
    const console = await createConsole()
    const confirm = text((await console.get('/console/keys/primary/regenerate')).body)
    expect(confirm).toContain(`Calls with the old key ( ${console.primary.key.prefix}… ) fail from that moment on.`)

    const before = head(console)
    const refused = await console.post('/console/keys/primary/regenerate', { code: '000000' })
    expect(refused.statusCode).toBe(403)
    expect(text(refused.body)).toContain('The code is wrong or was used before.')
    expect(refused.body).toMatch(/aria-invalid="true"/)
    expect(refused.body).not.toContain('000000')
    expect(head(console)).toEqual(before)
    const json = await console.post('/console/keys/primary/regenerate', { code: '0' }, { accept: 'application/json' })
    expect([json.statusCode, json.json().error.code]).toEqual([403, 'forbidden'])

    const { statusCode, body } = await console.post('/console/keys/primary/regenerate', { code: '123456' })
    expect(statusCode).toBe(200)
    const [secret = ''] = body.match(/lc_[0-9A-Za-z]{29}/) ?? []
    expect(secret).not.toBe('')
    expect(text(body)).toContain('This key is not shown again.')
    expect(head(console)).toMatchObject({
      type: 'ApiKeyRegenerated',
      data: { slot: 'primary', replacedKeyId: console.primary.key.keyId, prefix: secret.slice(0, 8) },
      metadata: { actor: `console:${console.accountId}` },
    })
    expect(JSON.stringify(console.store.stream(customerStream(console.customerId)), bigints)).not.toContain(secret)
    for (const url of [
      '/console/keys',
      '/console/keys/primary/regenerate',
      '/console/first-call',
      '/console/activity',
    ]) {
      expect((await console.get(url)).body).not.toContain(secret)
    }
    expect(text((await console.get('/console/keys')).body)).toContain(`${secret.slice(0, 8)}…`)
  })

  test('an empty slot is offered a key; an unknown slot is 404', async () => {
    const console = await createConsole()
    await console.command({ type: 'DeactivateApiKey', slot: 'secondary', reason: 'lost' })
    expect(text((await console.get('/console/keys')).body)).toContain('Issue secondary key')
    await console.post('/console/keys/secondary/regenerate', { code: '123456' })
    expect(head(console)).toMatchObject({ type: 'ApiKeyIssued', data: { slot: 'secondary' } })
    expect((await console.get('/console/keys/tertiary/regenerate')).statusCode).toBe(404)
  })
})

describe('usage and statements', () => {
  test('the chart has its numbers as a table, and marks where cap and plan changed', async () => {
    const console = await createConsole({ monthlyLimit: 3 })
    await console.detect(4)
    await console.command({ type: 'EnableHardCap' })
    await console.command({ type: 'SetPlan', plan: 'business', monthlyLimit: 10, origin: 'operator', reason: 'grows' })
    const { body } = await console.get('/console/usage')
    const page = text(body)
    expect(page).toContain('A 4 May: Hard cap switched on')
    expect(page).toContain('B 4 May: Plan changed from Standard to Business')
    expect(page).toContain('Day Credits Overage Calls 4 May 3 1 4')
    expect(body).toContain('Calls per day in May 2026: 4 calls on 1 day, most on 4 May with 4.')
    expect(page).toContain('May 2026 Business 3 of 10 1 $0.15')
  })

  test('an earlier month is shown as it ended; months that are no months are 404', async () => {
    const console = await createConsole()
    await console.detect(2)
    console.world.now = '2026-06-02T00:00:00.000Z'
    await console.command({ type: 'OpenMonth' })
    const may = text((await console.get('/console/usage/2026-05')).body)
    expect(may).toContain('2 of 5,000 credits were used, 4,998 expired.')
    for (const month of ['2026-13', '0000-01', 'may', '2026-07', '9999-12', '2026-04']) {
      for (const what of ['', '/statement', '/statement.csv']) {
        const address = `/console/usage/${month}${what}`
        expect([address, (await console.get(address)).statusCode]).toEqual([address, 404])
      }
    }
  })

  test('a statement names plan and price as they were, its total, and the digest of the log', async () => {
    const console = await createConsole({ monthlyLimit: 2 })
    await console.detect(4)
    await console.command({ type: 'SetPlan', plan: 'business', origin: 'operator', reason: 'grows' })
    console.world.now = '2026-06-02T00:00:00.000Z'
    await console.command({ type: 'OpenMonth' })
    const { body } = await console.get('/console/usage/2026-05/statement')
    const page = text(body)
    expect(page).toContain('Standard, $750.00 a month, 2 calls, overage $0.15 a call')
    expect(page).toContain('Business, $2,400.00 a month, 30,000 calls, overage $0.08 a call')
    expect(page).toContain('Standard 2 2 $0.15 $0.30 4–7')
    expect(page).toContain('Total 2 2 $0.30')
    expect(page).toContain('Calls are numbered 1 to 4.')
    expect(page).not.toContain('Not final')
    const last = console.store.stream(customerStream(console.customerId))[8]
    expect(page).toContain(`revision 8 of customer-${console.customerId}, event ${last?.id}`)
    expect(body).toContain((last?.metadata as { hash: string } | undefined)?.hash ?? 'no hash')
    expect(text((await console.get('/console/usage/2026-06/statement')).body)).toContain('Not final')
  })

  test('the CSV has a line for every event, and its amounts add up to the total', async () => {
    const console = await createConsole({ monthlyLimit: 2 })
    await console.detect(4)
    const events = console.store.stream(customerStream(console.customerId))
    const taken = events[7]?.data as { detectionId: string; yearMonth: string; funding: 'overage'; bucketKey: string }
    const { detectionId, yearMonth, funding, bucketKey } = taken
    await console.command({
      type: 'VoidDetections',
      detections: [{ detectionId, yearMonth, funding, bucketKey, revision: 7 }],
    })
    const response = await console.get('/console/usage/2026-05/statement.csv')
    expect(response.headers['content-type']).toBe('text/csv; charset=utf-8')
    expect(response.headers['content-disposition']).toBe('attachment; filename="statement-2026-05.csv"')
    const [heading = '', ...lines] = response.body.trimEnd().split('\r\n')
    const columns = heading.split(',')
    const rows = lines.map((line) =>
      Object.fromEntries(
        line.match(/("([^"]|"")*"|[^,]*)(,|$)/g)?.map((cell, i) => [columns[i], cell.replace(/,$/, '')]) ?? [],
      ),
    )
    expect(rows).toHaveLength(9)
    expect(rows.map(({ event_id }) => event_id)).toEqual(
      console.store.stream(customerStream(console.customerId)).map(({ id }) => id),
    )
    expect(rows.map(({ revision }) => revision)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8'])
    expect(rows[7]).toMatchObject({ sequence: '4', funding: 'overage', plan: 'standard', amount_usd: '0.15' })
    expect(rows[8]).toMatchObject({ type: 'DetectionVoided', voids_revision: '7', amount_usd: '-0.15' })
  })

  test('the statement of a customer is asked for by their own session alone: there is no other way to name one', async () => {
    const console = await createConsole()
    const other = randomUUID()
    const { body } = await console.get(`/console/usage/2026-05/statement?customer=${other}`)
    expect(text(body)).toContain(console.customerId)
    expect(body).not.toContain(other)
  })
})

describe('first call and start page', () => {
  test('the samples have the address of the service; the line turns green when the call has come', async () => {
    const console = await createConsole()
    const before = await console.get('/console/first-call')
    expect(before.body).toContain('https://liveness.example/v1/check/liveness')
    expect(text(before.body)).toContain('Waiting for your first call.')
    expect(before.body).toContain('<noscript><meta http-equiv="refresh"')
    await console.detect(1)
    const after = await console.get('/console/first-call')
    expect(text(after.body)).toContain('Your first call arrived on 4 May 2026, 12:34 UTC .')
    expect(after.body).not.toContain('http-equiv="refresh"')
  })

  test('/ leads to the console and to the API page, and says the version', async () => {
    const console = await createConsole()
    const { body, headers } = await console.get('/')
    expect(body).toContain('href="/console/dashboard"')
    expect(body).toContain('href="/docs"')
    expect(text(body)).toContain('version 1.2.3')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(body).not.toMatch(/ style=|<style|<script>| on[a-z]+="/)
  })

  test('stylesheet, script and icon may be kept for ever, and every page names the ones of this version', async () => {
    const console = await createConsole()
    const { body } = await console.get('/console/dashboard')
    const assets = body.match(/\/console\/assets\/[a-z]+\.[0-9a-f]{12}\.(css|js|svg)/g) ?? []
    expect(assets).toHaveLength(3)
    for (const url of assets) {
      const response = await console.get(url)
      expect(response.statusCode).toBe(200)
      expect(response.headers['cache-control']).toContain('immutable')
    }
  })
})

const bigints = (_key: string, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)
