/** `liveness audit verify` and `audit reconcile` as they are typed: what they print, and how they end. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { listAnchors } from '../../src/audit/anchor-files.ts'
import { addAuditCommands } from '../../src/cli/audit.ts'
import { reachableFolder } from '../support/folder.ts'
import { february } from './february.ts'
import { startSystem, type TamperedSystem } from './system.ts'
import type { World } from './world.ts'

let system: TamperedSystem
let world: World
let customerId: string
const folder = reachableFolder('liveness-audit-')
const [keyFile, trailFile] = [join(folder, 'key.pem'), join(folder, 'trail.json.gz')]
/** A key of somebody else. */
const foreign = join(folder, 'foreign.pem')
beforeAll(async () => {
  ;({ world, customerId } = await february())
  system = await startSystem(world.store.all())
  const env = {
    DATA_DIR: folder,
    EVENTSTORE_URL: system.eventStoreUrl,
    AUDIT_SIGNING_KEY: world.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
    LOG_LEVEL: 'error',
  }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  writeFileSync(keyFile, world.keys[0].export({ type: 'spki', format: 'pem' }))
  writeFileSync(foreign, generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }))
  writeFileSync(trailFile, gzipSync(JSON.stringify({ Records: [] })))
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await system?.stop()
  await world?.close()
  await rm(folder, { recursive: true, force: true })
})

/** What is printed, and the message that it ends with where it does not end well. */
async function runOn(url: string, ...args: string[]): Promise<{ printed: string; failure: string | null }> {
  vi.stubEnv('DATABASE_URL', url)
  const program = new Command().exitOverride()
  addAuditCommands(program)
  let printed = ''
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text
    return true
  })
  const failure = await program
    .parseAsync(['audit', ...args], { from: 'user' })
    .then(() => null)
    .catch((error: Error) => error.message)
    .finally(() => write.mockRestore())
  return { printed, failure }
}

/** On the tables as the log has them. */
const run = (...args: string[]) => runOn(system.untouched.url, ...args)

test('verify says what it read and ends well where everything agrees', async () => {
  const anchors = (await listAnchors(world.anchorDir)).flatMap(({ path }) => ['--anchor', path])
  const { printed, failure } = await run('verify', '--public-key', keyFile, ...anchors)
  expect(failure).toBeNull()
  expect(printed).toMatch(new RegExp(`^events +${world.store.all().length}$`, 'm'))
  expect(printed).toMatch(/^months +\d+, 2 of them closed$/m)
  expect(printed).toMatch(/^hash chains +0$/m)
  expect(printed).not.toMatch(/Without an anchor/)
  const { printed: json } = await run('verify', '--json', '--customer', customerId, '--month', '2026-02')
  expect(JSON.parse(json)).toMatchObject({ agrees: true, months: 1, sealed_records: 7, differences: [] })
})

test('verify names what differs and does not end well', async () => {
  await system.withTables(async (pool, url) => {
    const record = '(select record_id from metering.records where customer_id = $2 and metering_record_id > $1 limit 1)'
    await pool.query(`update metering.records set metering_record_id = $1 where record_id = ${record}`, [
      '',
      customerId,
    ])
    const { printed, failure } = await runOn(url, 'verify')
    expect(failure).toBe('1 difference.')
    expect(printed).toMatch(/^DIFFERENCE {2}metering_table customer \S+ 2026-0\d \[.*metering_record_id is ""/m)
    const { printed: json } = await runOn(url, 'verify', '--json')
    expect(JSON.parse(json)).toMatchObject({ agrees: false })
    expect(JSON.parse(json).differences).toMatchObject([{ kind: 'metering_table', customer_id: customerId }])
  })
})

test('verify does not take a customer who never was for one without a fault', async () => {
  const { failure } = await run('verify', '--customer', '99999999-9999-4999-8999-999999999999')
  expect(failure).toMatch(/is unknown/)
})

describe('ANCHOR_DIR', () => {
  const dir = join(folder, 'kept')
  beforeAll(() => vi.stubEnv('ANCHOR_DIR', dir))
  afterAll(() => vi.stubEnv('ANCHOR_DIR', undefined))
  const newest = async () => (await listAnchors(world.anchorDir)).at(-1)?.path ?? ''

  test('empty, or not there at all: verify says what is not to be seen then', async () => {
    for (const make of [() => {}, () => mkdirSync(dir)]) {
      make()
      const { printed, failure } = await run('verify', '--no-streams')
      expect(failure).toBeNull()
      expect(printed).toMatch(/^anchors +none$/m)
      expect(printed).toMatch(/^Without an anchor a tail that was cut off.* is not to be seen\.$/m)
    }
  })

  test('with an anchor of another key than those given: it is a difference, though this installation signed it', async () => {
    const path = join(dir, basename(await newest()))
    writeFileSync(path, readFileSync(await newest()))
    const { printed, failure } = await run('verify', '--no-streams', '--json', '--public-key', foreign)
    expect(failure).toBe('1 difference.')
    const where = { kind: 'anchor', row: path, fault: 'it is signed with another key' }
    expect(JSON.parse(printed)).toMatchObject({ anchors: [], differences: [where] })
    // Old keys are given beside the present one.
    const both = await run('verify', '--no-streams', '--public-key', foreign, '--public-key', keyFile)
    expect(both.failure).toBeNull()
    expect((await run('verify', '--no-streams')).failure).toBeNull()
    rmSync(path)
  })

  test('with an anchor that was damaged since: verify goes on, and the anchor is a difference', async () => {
    const path = join(dir, basename(await newest()))
    const anchor = JSON.parse(readFileSync(await newest(), 'utf8'))
    const [[stream, revision]] = anchor.heads
    for (const [content, fault] of [
      ['{"format"', 'it is damaged, or no anchor at all'],
      [JSON.stringify({ ...anchor, heads: [[stream, revision, 'a'.repeat(64)], ...anchor.heads.slice(1)] }), /root/],
      [JSON.stringify({ ...anchor, through: '2026-02-01T00:00:00.000Z' }), 'its signature is wrong'],
    ] as const) {
      writeFileSync(path, content)
      const { printed, failure } = await run('verify', '--no-streams', '--json')
      expect(failure).toBe('1 difference.')
      const where = { kind: 'anchor', row: path, fault: expect.stringMatching(fault) }
      expect(JSON.parse(printed).differences).toMatchObject([where])
    }
    rmSync(path)
  })
})

test('a file that is not there, a folder, or of somebody else: each is named, and what is wrong with it', async () => {
  const nothing = join(folder, 'nothing')
  const anchor = (await listAnchors(world.anchorDir)).at(-1)?.path ?? ''
  const bundle = join(folder, 'bundle.ndjson')
  writeFileSync(bundle, await world.export(customerId, '2026-02'))
  const elsewhere = await february()
  await elsewhere.world.close()
  const theirs = join(folder, 'theirs.json')
  writeFileSync(theirs, JSON.stringify(await elsewhere.world.anchor()))

  for (const [args, message] of [
    [['verify', '--anchor', nothing], `${nothing} cannot be read: there is no such file.`],
    [['verify', '--anchor', folder], `${folder} cannot be read: it is a folder.`],
    [['verify', '--anchor', keyFile], `the anchor ${keyFile} cannot be trusted: it is damaged, or no anchor at all`],
    [['verify', '--anchor', theirs], `the anchor ${theirs} cannot be trusted: it is signed with another key`],
    [['verify', '--public-key', foreign, '--anchor', anchor], /cannot be trusted: it is signed with another key/],
    [['verify-bundle', nothing, '--public-key', keyFile], `${nothing} cannot be read: there is no such file.`],
    [['verify-bundle', folder, '--public-key', keyFile], `${folder} cannot be read: it is a folder.`],
    [['verify-bundle', bundle, '--public-key', nothing], `${nothing} cannot be read: there is no such file.`],
    [['verify-bundle', bundle, '--public-key', bundle], `${bundle} holds no Ed25519 public key in PEM.`],
    [['verify-bundle', keyFile, '--public-key', keyFile], /differences?: this bundle does not prove its bill/],
    [['reconcile', '--cloudtrail', nothing], `${nothing} cannot be read: there is no such file.`],
    [['reconcile', '--cloudtrail', bundle], `${bundle} is no log file of CloudTrail`],
    [['reconcile', '--invoice', trailFile], `${trailFile} is no answer of ListAgreementInvoiceLineItems`],
  ] as const) {
    expect((await run(...args)).failure, args.join(' ')).toMatch(message)
  }
  expect((await run('verify-bundle', bundle, '--public-key', keyFile)).failure).toBeNull()
  await elsewhere.world.close()
})

test('reconcile reads packed files, names what differs, and says what to do', async () => {
  expect((await run('reconcile')).failure).toMatch(/--cloudtrail or --invoice/)
  const { printed, failure } = await run('reconcile', '--cloudtrail', trailFile, '--month', '2026-02')
  // An empty file confirms nothing.
  expect(failure).toBe('1 difference.')
  expect(printed).toMatch(
    /^DIFFERENCE {2}AWS: these files do not reach the attempts of \d accepted records, of 2026-02/m,
  )
  expect(printed).toMatch(/^sealed records +7$/m)
  const nothing = await run('reconcile', '--cloudtrail', trailFile, '--month', '2031-02')
  expect(nothing.failure).toBe('There is nothing of 2031-02, here or in these files.')
  expect((await run('verify', '--month', '2031-02')).failure).toBe('The log has nothing of 2031-02.')
})
