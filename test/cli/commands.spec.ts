/** The command line as an operator has it: child processes on a data directory, with and without a running start. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { packageRoot } from '../../src/built.ts'
import { addCustomerCommands } from '../../src/cli/customer.ts'
import { reachableFolder } from '../support/folder.ts'
import { commandsHere } from '../support/here.ts'
import { check, createCustomer, eventsOf, face, liveness, startProduct } from '../support/product.ts'

const folder = reachableFolder('liveness-cli-')
const env = { DATA_DIR: join(folder, 'data') }
const command = fileURLToPath(new URL('dist/cli.js', packageRoot))

/** Without a process of its own. */
const here = commandsHere(addCustomerCommands)

/** How a command that must fail ended. */
async function failure(environment: Record<string, string>, ...args: string[]) {
  try {
    const { NODE_ENV: _, ...inherited } = process.env
    await promisify(execFile)(process.execPath, [command, ...args], { env: { ...inherited, ...environment } })
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, stdout, stderr }
  }
  throw new Error(`liveness ${args.join(' ')} succeeded`)
}

/** A command ends with a sentence and nothing else. */
async function refuses(args: string[], sentence: string) {
  const { code, stdout, stderr } = await failure(env, ...args)
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain(sentence)
  expect(stderr).not.toMatch(/^\s+at /m)
}

/** create → show → usage → events → key → cap → plan → list → deactivate. */
async function roundTrip() {
  const created = JSON.parse(await liveness(env, 'customer', 'create', '--plan', 'standard', '--limit', '7', '--json'))
  const id = created.customer_id
  expect(created).toEqual({
    customer_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    plan: 'standard',
    monthly_limit: 7,
    keys: { primary: expect.stringMatching(/^lc_\w{29}$/), secondary: expect.stringMatching(/^lc_\w{29}$/) },
  })
  const month = new Date().toISOString().slice(0, 7)
  expect(JSON.parse(await liveness(env, 'usage', id, '--json'))).toEqual({
    year_month: month,
    total_calls: 0,
    monthly_limit: 7,
    remaining_calls: 7,
    over_limit_calls: 0,
    plan: 'standard',
    hard_cap_enabled: false,
  })
  const renewed = JSON.parse(await liveness(env, 'key', 'regenerate', id, 'primary', '--json'))
  expect(renewed).toMatchObject({ customer_id: id, slot: 'primary', key: expect.stringMatching(/^lc_\w{29}$/) })
  const capped = JSON.parse(await liveness(env, 'customer', 'set-cap', id, 'on', '--json'))
  expect(capped).toMatchObject({ customer_id: id, hard_cap: true })
  const upgraded = JSON.parse(await liveness(env, 'customer', 'set-plan', id, '--plan', 'business', '--json'))
  expect(upgraded).toMatchObject({ plan: 'business', monthly_limit: 30_000, status: 'active' })
  expect(upgraded.keys.map(({ prefix }: { prefix: string }) => prefix)).toContain(`${renewed.key.slice(0, 8)}…`)
  expect(await liveness(env, 'customer', 'list')).toContain(id)

  const deactivated = JSON.parse(await liveness(env, 'customer', 'deactivate', id, '--json'))
  expect(deactivated).toMatchObject({ status: 'deactivated' })
  const events = await eventsOf(env, id)
  expect(events.map(({ type }) => type)).toEqual([
    'CustomerRegistered',
    'MonthlyCreditsGranted',
    'ApiKeyIssued',
    'ApiKeyIssued',
    'ApiKeyRegenerated',
    'HardCapEnabled',
    'PlanChanged',
    'CustomerDeactivated',
  ])
  expect(events.map(({ revision }) => revision)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  expect(Object.keys(events[0] ?? {})).toEqual(['type', 'revision', 'created', 'data', 'metadata'])
  const log = JSON.stringify(events)
  for (const secret of [created.keys.primary, created.keys.secondary, renewed.key]) expect(log).not.toContain(secret)
}

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('without a running start', () => {
  test('commands start the servers for the moment, wait for each other, and leave nothing running', async () => {
    const args = ['customer', 'create', '--plan', 'starter', '--email', 'ada@example.com', '--json']
    const [made] = await Promise.all([liveness(env, ...args), createCustomer(env, '--plan', 'free')])
    const created = JSON.parse(made)
    // With --email no keys are made, and the address is kept out of the log.
    expect(created).toMatchObject({ plan: 'starter', monthly_limit: 1_000, keys: null })
    const events = await eventsOf(env, created.customer_id)
    expect(events.map(({ type }) => type)).toEqual(['CustomerRegistered', 'MonthlyCreditsGranted'])
    expect(JSON.stringify(events)).not.toContain('ada@')
    expect(existsSync(join(env.DATA_DIR, 'runtime.json'))).toBe(false)
    expect(existsSync(join(env.DATA_DIR, 'postgres/data/postmaster.pid'))).toBe(false)
  }, 120_000)
})

const unknown = '00000000-0000-4000-8000-000000000000'
describe('errors are one sentence on stderr, and the exit code says so', () => {
  test.each([
    [['customer', 'show', 'me'], "a customer's id"],
    [['customer', 'create', '--plan', 'gold'], 'Allowed choices are free'],
    [['customer', 'create', '--plan', 'free', '--limit', '0'], 'a whole number from 1'],
    [['customer', 'create'], "required option '--plan <plan>'"],
    [['key', 'regenerate', unknown, 'third'], 'Allowed choices are primary, secondary'],
    [['demo', 'no-such.jpg'], 'There is no file no-such.jpg.'],
    [['nothing'], "unknown command 'nothing'"],
  ])('%j', refuses)

  test.each([
    [{ PORT: 'http' }, 'PORT must be a port number from 0 to 65535 (0: any free one), but is "http"'],
    [{ ROLES: 'api,relay' }, 'ROLES names relay, which needs KAFKA_BROKERS'],
    [{ METERING_WINDOW_HOURS: '1' }, 'METERING_WINDOW_HOURS must be'],
    [{ DATABASE_URL: 'postgres://127.0.0.1:1/none' }, 'must be set when DATABASE_URL is'],
    [{ MODEL_SET: 'none' }, 'MODEL_SET must be one of own, ensemble, but is "none"'],
    [{ MODELS_DIR: folder, MODEL_SET: 'ensemble' }, 'is missing. Looked in'],
    [
      { MODELS_DIR: '/none/such' },
      'MODELS_DIR must be a folder that this user may read, but /none/such does not exist',
    ],
  ])(
    'start with %j refuses',
    async (wrong, sentence) => {
      const { code, stderr } = await failure({ ...env, PORT: '0', ...wrong }, 'start')
      expect(code).toBe(1)
      expect(stderr).toContain(sentence)
    },
    60_000,
  )

  test('every command explains itself', async () => {
    const all = await liveness(env, '--help')
    for (const name of ['start', 'demo', 'customer', 'key', 'usage', 'events', 'projections', 'models', 'config']) {
      expect(all).toMatch(new RegExp(`^  ${name}\\b.* {2}\\w`, 'm'))
    }
    // One alone is loaded when it is called.
    for (const name of ['customer', 'restore']) {
      expect(await liveness(env, name, '--help')).toContain(`liveness ${name}`)
    }
  })
})

test('config shows every value with its source, and no secret', async () => {
  const text = await liveness({ ...env, PORT: '9000', KAFKA_SASL_PASSWORD: 'hunter2' }, 'config', '--json')
  const report = JSON.parse(text) as { name: string; value: string | null; from: string }[]
  expect(report.find(({ name }) => name === 'PORT')).toMatchObject({ value: '9000', from: 'environment' })
  expect(text).not.toContain('hunter2')
})

describe('beside a running start', () => {
  let app: Awaited<ReturnType<typeof startProduct>>
  beforeAll(async () => {
    app = await startProduct(env)
  }, 60_000)
  afterAll(() => app?.kill('SIGTERM'))

  test('commands attach to it', async () => {
    // It serves a moment before it has written where its servers are.
    await expect.poll(() => existsSync(join(env.DATA_DIR, 'runtime.json'))).toBe(true)
    await roundTrip()
    expect(app.process.exitCode).toBeNull()
  }, 60_000)

  test.each([
    [['usage', unknown], `Customer ${unknown} is unknown`],
    [['events', unknown], `There is no customer ${unknown}`],
    [['key', 'regenerate', unknown, 'primary'], 'There is no such customer.'],
    [
      ['customer', 'create', '--plan', 'free', '--email', 'Ada@example.com'],
      'There is an account with the address Ada@example.com already.',
    ],
  ])('they refuse %j', refuses)

  test('a key just made works at once, and one just regenerated does not', async () => {
    const { customer_id, keys } = await createCustomer(env, '--plan', 'free')
    expect((await check(app.url, keys.primary, face)).status).toBe(200)
    const renewed = JSON.parse(await liveness(env, 'key', 'regenerate', customer_id, 'primary', '--json'))
    expect((await check(app.url, keys.primary, face)).status).toBe(401)
    expect((await check(app.url, renewed.key, face)).status).toBe(200)
  })

  test('the present plan takes back a scheduled downgrade and says so; an id in capitals is the same', async () => {
    const { customer_id: id } = JSON.parse(
      (await here(env, 'customer', 'create', '--plan', 'standard', '--json')).printed,
    )
    const plan = async (name: string, ...more: string[]) => {
      const { printed, failure } = await here(env, 'customer', 'set-plan', id.toUpperCase(), '--plan', name, ...more)
      expect(failure).toBe('')
      return printed
    }
    expect(JSON.parse(await plan('free', '--json'))).toMatchObject({ scheduled_change: { plan: 'free' } })
    expect(await plan('standard')).toMatch(/^The change to free that was scheduled for \d{4}-\d\d is cancelled\.$/m)
    expect(JSON.parse(await plan('standard', '--json'))).toMatchObject({ customer_id: id, scheduled_change: null })
  })

  test('a second start on the same data directory refuses with a sentence', async () => {
    const { code, stderr } = await failure({ ...env, PORT: '0' }, 'start')
    expect(code).toBe(1)
    expect(stderr).toMatch(/The data directory .* is in use by process \d+\. Stop that process first/)
  })

  test('a rebuild of the read models goes on beside it and gives the same figures', async () => {
    const before = await liveness(env, 'customer', 'list', '--json')
    expect(JSON.parse(await liveness(env, 'projections', 'rebuild', '--json')).events).toBeGreaterThan(10)
    expect(await liveness(env, 'customer', 'list', '--json')).toBe(before)
    expect(JSON.parse(await liveness(env, 'projections', 'status', '--json'))).toMatchObject({
      state: 'live',
      compared_with_program: 'same',
      events_behind: 0,
    })
  }, 60_000)

  test('the demonstration customer is made on the first start only, and its key stands nowhere on disk', async () => {
    // It serves a moment before it has said all it has to say.
    await expect.poll(() => app.output(), { timeout: 10_000 }).toMatch(/^ {2}lc_\w{29}$/m)
    const key = /^ {2}(lc_\w{29})$/m.exec(app.output())?.[1] ?? 'none was printed'
    expect((await check(app.url, key, face)).status).toBe(200)
    const id = readFileSync(join(env.DATA_DIR, 'demonstration-customer'), 'utf8').trim()
    expect(JSON.stringify(await eventsOf(env, id))).not.toContain(key)
    await app.kill('SIGTERM')
    expect(app.process.exitCode).toBe(0)
    app = await startProduct(env)
    await expect.poll(() => app.output(), { timeout: 10_000 }).toContain('npx liveness customer create')
    expect(app.output()).not.toContain('lc_')
  }, 60_000)
})
