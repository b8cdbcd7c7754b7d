/** `liveness migrate` with its processes, killed in each of its stages. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { openSystem } from '../../src/app/system.ts'
import { addAuditVerifyCommands } from '../../src/cli/audit-verify.ts'
import { addMigrateCommand } from '../../src/cli/migrate.ts'
import { lockDataDir } from '../../src/data-dir.ts'
import { staying, tablesToMove } from '../../src/move/copy-tables.ts'
import { MoveUnfinished } from '../../src/move/marker.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { connect, transaction } from '../../src/postgres/pool.ts'
import { startAwsStandIn } from '../aws/stand-in.ts'
import { reachableFolder } from '../support/folder.ts'
import { commandsHere } from '../support/here.ts'
import { freshDatabase } from '../support/postgres.ts'
import {
  type Customer,
  check,
  command,
  createCustomer,
  environment,
  face,
  liveness,
  startProduct,
  usage,
} from '../support/product.ts'
import { fillDataDir, rawLog, removeFolder, startTarget, told, withServers } from './installation.ts'

const quiet = pino({ level: 'silent' })
const folder = reachableFolder('liveness-migrate-')
const dataDir = join(folder, 'data')
const source = { DATA_DIR: dataDir, LOG_LEVEL: 'warn' }
let target: Awaited<ReturnType<typeof startTarget>>
let settings: Record<string, string>
let customerId: string
let month: string
let keys: Customer['keys']
let close: () => Promise<void>

beforeAll(async () => {
  const filled = await fillDataDir(dataDir)
  ;({ customerId, month } = filled)
  close = () => filled.world.close()
  ;({ keys } = await createCustomer(source, '--plan', 'standard'))
  target = await startTarget()
  settings = {
    ...source,
    EVENTSTORE_URL: target.eventStoreUrl,
    DATABASE_URL: target.databaseUrl,
    SECRETS_KEY_FILE: join(dataDir, 'secrets.key'),
    AUDIT_SIGNING_KEY_FILE: join(dataDir, 'audit-signing.key'),
    ANCHOR_DIR: join(dataDir, 'anchors'),
  }
}, 120_000)
afterAll(async () => {
  await target?.stop()
  await close?.()
  removeFolder(folder)
})

const refusal = (env: Record<string, string>, ...args: string[]): Promise<string> =>
  liveness(env, ...args).then(
    (printed) => `no refusal: ${printed}`,
    ({ stderr }: { stderr: string }) => stderr,
  )

/** The same without a process of its own. */
const here = commandsHere(addMigrateCommand, addAuditVerifyCommands)

const migrating = (): { child: ChildProcess; said: () => string } => {
  const child = spawn(process.execPath, [command, 'migrate', '--json'], {
    env: environment(settings),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', (chunk) => {
    said += chunk
  })
  return { child, said: () => said }
}

async function killedWhile(stage: string): Promise<void> {
  const { child, said } = migrating()
  const reached = () => said().includes(stage) || child.exitCode !== null
  await expect.poll(reached, { timeout: 60_000, interval: 5 }).toBe(true)
  expect(child.exitCode, said()).toBeNull()
  child.kill('SIGKILL')
  await once(child, 'exit')
  const { databaseUrl, eventStoreUrl } = target
  await expect(openSystem({ databaseUrl, eventStoreUrl, log: quiet })).rejects.toThrow(MoveUnfinished)
}

/** Meanwhile a move that has begun cannot mark the target: one that is near its end is still there to be killed. */
async function withoutAnEnd(work: () => Promise<void>): Promise<void> {
  const pool = connect(target.databaseUrl)
  await transaction(pool, async (client) => {
    await client.query('set local idle_in_transaction_session_timeout = 0; select from moved_in for update')
    await work()
    // Or the server would make the mark, once it can, for a client that is gone.
    await client.query(
      `select pg_terminate_backend(pid, 20000) from pg_stat_activity
       where application_name = 'liveness migrate' and datname = current_database()`,
    )
  })
  await pool.end()
}

test('every table is moved, or named among those that stay', async () => {
  await withServers(dataDir, async ({ url }) => {
    const pool = connect(url)
    const { rows } = await pool.query<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'public' order by 1",
    )
    const moved = await tablesToMove(pool)
    await pool.end()
    // A new table fails here: put it into this list, or into `staying` with the reason.
    expect(moved.toSorted()).toEqual([
      'account_links',
      'accounts',
      'attempts_in_doubt',
      'console_sessions',
      'email_changes',
      'failed_attempts',
      'installation',
      'marketplace_messages',
      'marketplace_tokens',
      'marketplace_undecided',
      'password_resets',
      'recovery_codes',
      'usage_alerts',
    ])
    expect(rows.map(({ name }) => name)).toEqual([...moved, ...Object.keys(staying)].toSorted())
    expect(moved.indexOf('accounts')).toBeLessThan(moved.indexOf('account_links'))
  })
})

test('refused in words: no target, another SECRETS_KEY, a target in use, a source that runs', async () => {
  const empty = { DATABASE_URL: await freshDatabase(inject('postgresUrl')) }
  const because = async (more: Record<string, string>) =>
    (await here({ ...settings, ...empty, ...more }, 'migrate')).failure
  expect(await because({ EVENTSTORE_URL: '' })).toMatch(/^Set EVENTSTORE_URL and DATABASE_URL/)
  expect(await because({ DATA_DIR: join(folder, 'nothing') })).toMatch(/there is nothing to move/)
  const SECRETS_KEY = Buffer.alloc(32, 9).toString('base64')
  expect(await because({ SECRETS_KEY, SECRETS_KEY_FILE: '' })).toMatch(/^SECRETS_KEY is not the one/)
  await migrate(empty.DATABASE_URL)
  const pool = connect(empty.DATABASE_URL)
  await pool.query("insert into failed_attempts values ('somebody', 1)")
  expect(await because({})).toMatch(/its table failed_attempts holds rows/)
  await pool.query('delete from failed_attempts')
  await pool.query("insert into moved_in values (true, 'another')")
  expect(await because({})).toMatch(/moved from another data directory/)
  await pool.end()
  const lock = await lockDataDir(dataDir)
  expect(await because({})).toMatch(/is in use by process/)
  await lock.release()
  expect(await rawLog(target.logUrl)).toEqual([])
})

test('killed in its stages it goes on; log, tables, usage and statements are identical; the source is closed', async () => {
  const before = await withServers(dataDir, ({ url, eventStoreUrl }) => told(url, eventStoreUrl, customerId, month))
  expect(before.statements).toEqual([expect.objectContaining({ month: '2026-02' }), expect.objectContaining({ month })])
  await killedWhile('copying')
  await withoutAnEnd(() => killedWhile('verifying'))
  const moved = JSON.parse((await here(settings, 'migrate', '--json')).printed)
  expect(moved).toMatchObject({ moved: true, rows: 13, appended: 1 }) // its own tick
  // What a crash between the two marks leaves: neither side starts, and the same command ends it.
  const pool = connect(target.databaseUrl)
  await pool.query('update moved_in set finished_at = null')
  const elsewhere = { ...settings, DATA_DIR: join(folder, 'new') }
  expect((await here(elsewhere, 'verify')).failure).toMatch(/has not ended/)
  expect(JSON.parse((await here(settings, 'migrate', '--json')).printed)).toMatchObject({ moved: true })
  await pool.end()
  expect(JSON.parse((await here(settings, 'migrate', '--json')).printed)).toMatchObject({ already: true })

  await withServers(dataDir, async ({ url, logUrl }) => {
    const [from, to] = [await rawLog(logUrl), await rawLog(target.logUrl)]
    expect(from.length).toBeGreaterThanOrEqual(moved.events)
    expect(to).toEqual(from)
    const [ours, theirs] = [connect(url), connect(target.databaseUrl)]
    for (const table of moved.tables) {
      const rowsOf = async (pool: typeof ours) => (await pool.query(`select t::text from ${table} t order by 1`)).rows
      expect(await rowsOf(theirs), table).toEqual(await rowsOf(ours))
    }
    expect((await theirs.query('select from relay')).rowCount).toBe(0)
    await ours.end()
    await theirs.end()
  })
  expect(await told(target.databaseUrl, target.eventStoreUrl, customerId, month)).toEqual(before)
  expect(await refusal(source, 'start')).toMatch(/was moved on .* nothing is billed here any more/)
  const { printed: verified, failure } = await here(elsewhere, 'verify', '--json')
  expect(failure).toBe('')
  expect(JSON.parse(verified)).toMatchObject({ agrees: true, anchors: [expect.any(String)] })
}, 180_000)

test('started on the target it takes the old keys, sends what was not sent, and nothing that AWS had accepted', async () => {
  const aws = await startAwsStandIn()
  const records = () =>
    aws.calls.flatMap(({ body }) => (JSON.parse(body) as { UsageRecords: { Timestamp: number }[] }).UsageRecords)
  const known = await meteringEvents()
  expect(known.filter(({ type }) => type === 'RecordSealed').length - known.filter(isEnd).length).toBe(1)
  const env = { ...settings, ...aws.env, METERING_SUBMIT: 'on' }
  const running = await startProduct(env)
  try {
    // The stand-in does not know the licence, so the record is refused or held: an answer is all that is wanted.
    await expect
      .poll(async () => (await meteringEvents()).length, { timeout: 30_000 })
      .toBeGreaterThan(known.length + 1)
    const sealed = known.filter(({ type }) => type === 'RecordSealed').at(-1)
    const sent = new Set(records().map(({ Timestamp }) => Timestamp))
    expect([...sent]).toEqual([Date.parse(sealed?.data.timestamp ?? '') / 1_000])
    const answers = await Promise.all([keys.primary, keys.secondary].map((key) => check(running.url, key, face)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect((await usage(running.url, keys.primary)).body.data).toMatchObject({ total_calls: 2 })
  } finally {
    await running.kill('SIGTERM')
    await aws.stop()
  }
}, 60_000)

const isEnd = ({ type }: { type: string }) => /^Record(Accepted|CarriedForward|Unbillable|Refused)$/.test(type)

async function meteringEvents(): Promise<{ type: string; data: { timestamp?: string } }[]> {
  return (await rawLog(target.logUrl)).flatMap((line) => {
    const [stream = '', , type = '', , ...json] = line.split('\t')
    return stream === `metering-${customerId}` ? [{ type, data: JSON.parse(json[0] ?? '{}') }] : []
  })
}
