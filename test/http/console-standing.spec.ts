/** What the pages say to a customer whose calls are not answered, or will not be for long. */
import { expect, test } from 'vitest'
import { makeApiKey } from '../../src/commands/keys.ts'
import { sentToAws } from '../../src/http/console/pages/overview.tsx'
import { createConsole, text } from './console-pages.ts'

const licence = { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:l:1' } as const
const end = { type: 'EndSubscription', licence, reason: 'agreement cancelled' } as const

/** What a reader sees of a page, by its address below /console. */
const reader =
  ({ get }: Awaited<ReturnType<typeof createConsole>>) =>
  async (page: string) =>
    text((await get(`/console/${page}`)).body)

test('a subscription that has ended: nothing past the limit, and no promise of keys after what was paid', async () => {
  const console = await createConsole({ monthlyLimit: 2, licence })
  const read = reader(console)
  await console.detect(1)
  await console.command(end)
  const soon = await read('dashboard')
  expect(soon).toContain(
    'Soon: the subscription has ended. Your keys work until 1 June 2026, 00:00 UTC; from then on every call is answered with 401.',
  )
  expect(soon).toContain('It was $750.00 a month for 2 calls.')

  const plan = await read('plan')
  expect(plan).toContain('Stops at 2 calls, because the subscription has ended.')
  expect(plan).toContain('When it resumes, the hard cap is off')
  expect(plan).toContain('Overage None: the subscription has ended')
  expect(plan).toContain('Switch hard cap on for when the subscription resumes')
  expect(plan).not.toMatch(/keeps answering|keep going|\$0\.15/)
  await console.post('/console/plan/hard-cap', { to: 'on' })
  const on = text((await console.after('/console/plan')).body)
  expect(on).toContain('The hard cap is on for when the subscription resumes.')
  expect(on).toContain('Switch hard cap off for when the subscription resumes')
  await console.post('/console/plan/hard-cap', { to: 'off' })
  const off = text((await console.after('/console/plan')).body)
  expect(off).toContain('The hard cap is off for when the subscription resumes. Until then no call is overage.')
  expect(off).not.toMatch(/keeps going|\$0\.15/)

  await console.detect(1)
  const used = '429, and from 1 June 2026, 00:00 UTC on with 401: the subscription has ended.'
  expect(await read('dashboard')).toContain(`Stopped: the limit of 2 calls is reached. Calls are answered with ${used}`)
  await console.command({ type: 'ResumeSubscription', licence })
  const resumed = 'Soon: all your credits are used. Keeps going past 2 calls, $0.15 for each further call.'
  expect(await read('usage')).toContain(resumed)

  await console.command(end)
  for (const now of ['2026-06-01T00:00:00.000Z', '2026-07-15T12:00:00.000Z']) {
    console.world.now = now
    if (now > '2026-07') await console.command({ type: 'OpenMonth' })
    await expect(console.detect(1)).rejects.toThrow('refused')
    const stopped = 'Since 1 June 2026, 00:00 UTC every call is answered with 401.'
    for (const page of ['dashboard', 'usage', 'plan', 'keys', 'keys/primary/regenerate', 'first-call']) {
      const seen = await read(page)
      expect(seen, page).toContain(stopped)
      expect(seen, page).not.toMatch(/keys work until|left until|credits left|Keeps going|Stops at/)
    }
    const over = await read('dashboard')
    expect(over).toContain(' 0 credits usable ')
    expect(over).toContain('0 of 2 credits used. No key works that could use the rest.')
  }
})

test('overage of a subscription that has ended waits for no hour: its end has sent the rest', () => {
  const metering = { submitted: true, graceSeconds: 600 }
  const ended = { licence, paidUntil: '2026-06-01T00:00:00.000Z', reason: 'agreement cancelled' }
  expect(sentToAws({ licence, ended: null }, metering)).toContain('about 10 minutes after each hour ends')
  expect(sentToAws({ licence, ended }, metering)).toBe(
    'Sent to AWS Marketplace hour by hour, the rest when the subscription ended.',
  )
})

test('a key that has expired says so, and of what is left to do', async () => {
  const console = await createConsole()
  const read = reader(console)
  const expiresAt = '2026-05-10T00:00:00.000Z'
  await console.command({ type: 'RegenerateApiKey', slot: 'secondary', key: makeApiKey().key, expiresAt })
  expect(await read('keys')).toContain('Expires 10 May 2026, 00:00 UTC')
  console.world.now = expiresAt
  const keys = await read('keys')
  expect(keys).toContain('Expired 10 May 2026, 00:00 UTC')
  expect(keys.match(/Calls with this key are answered with 401\./g)).toHaveLength(1)
  expect(await read('keys/secondary/regenerate')).toContain('has expired: calls with it fail already.')
  expect(await read('keys/primary/regenerate')).toContain('fail from that moment on.')
})

test('a deactivated account is offered nothing that would be refused', async () => {
  const console = await createConsole({ licence })
  const read = reader(console)
  await console.command({ type: 'SetPlan', plan: 'starter', origin: 'operator', reason: 'asked for' })
  await console.command({ type: 'DeactivateCustomer', reason: 'asked for' })
  for (const page of ['dashboard', 'usage', 'plan', 'keys', 'keys/primary/regenerate', 'first-call']) {
    expect(await read(page), page).toContain('Stopped: this account is deactivated. Every call is answered with 401.')
    const { body } = await console.get(`/console/${page}`)
    expect(body.match(/action="[^"]*"/g), page).toEqual(['action="/console/sign-out"'])
    expect(body, page).not.toContain('/regenerate"')
  }
  expect(await read('dashboard')).not.toMatch(/credits left|Keeps going|No call yet/)
  expect(await read('keys')).not.toContain('Regenerate')
})

test('the fee of an Enterprise plan is said to be the list price, wherever it stands', async () => {
  const console = await createConsole({ plan: 'enterprise', monthlyLimit: 250_000 })
  const read = reader(console)
  const note = 'The fee of the Enterprise plan is the list price; your contract says what applies.'
  expect(await read('dashboard')).toContain(`From $5,000.00 a month for 250,000 calls. ${note}`)
  expect(await read('plan')).toContain(`from $5,000.00 a month ${note}`)
  const statement = await read('usage/2026-05/statement')
  expect(statement).toContain('Enterprise, from $5,000.00 a month, 250,000 calls, overage $0.05 a call')
  expect(statement).toContain(note)
})
