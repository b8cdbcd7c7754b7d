/** `liveness audit verify` and `audit reconcile` as they are typed: what they print, and how they end. */
import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { listAnchors } from '../../src/audit/anchor-files.ts'
import { addAuditVerifyCommands } from '../../src/cli/audit-verify.ts'
import { reachableFolder } from '../support/folder.ts'
import { february } from './february.ts'
import { startSystem, type TamperedSystem } from './system.ts'
import type { World } from './world.ts'

let system: TamperedSystem
let world: World
let customerId: string
const folder = reachableFolder('liveness-audit-')
const [keyFile, trailFile] = [join(folder, 'key.pem'), join(folder, 'trail.json.gz')]
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
  writeFileSync(trailFile, gzipSync(JSON.stringify({ Records: [] })))
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await system?.stop()
  await world?.close()
  await rm(folder, { recursive: true, force: true })
})
afterEach(() => system.restore())

/** What is printed, and the message that it ends with where it does not end well. */
async function run(url: string, ...args: string[]): Promise<{ printed: string; failure: string | null }> {
  vi.stubEnv('DATABASE_URL', url)
  const program = new Command().exitOverride()
  addAuditVerifyCommands(program)
  let printed = ''
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text
    return true
  })
  const failure = await program
    .parseAsync(args, { from: 'user' })
    .then(() => null)
    .catch((error: Error) => error.message)
    .finally(() => write.mockRestore())
  return { printed, failure }
}

test('verify says what it read and ends well where everything agrees', async () => {
  await system.withTables(async (_, url) => {
    const anchors = (await listAnchors(world.anchorDir)).flatMap(({ path }) => ['--anchor', path])
    const { printed, failure } = await run(url, 'verify', '--public-key', keyFile, ...anchors)
    expect(failure).toBeNull()
    expect(printed).toMatch(new RegExp(`^events +${world.store.all().length}$`, 'm'))
    expect(printed).toMatch(/^months +\d+, 2 of them closed$/m)
    expect(printed).toMatch(/^hash chains +0$/m)
    const { printed: json } = await run(url, 'verify', '--json', '--customer', customerId, '--month', '2026-02')
    expect(JSON.parse(json)).toMatchObject({ agrees: true, months: 1, sealed_records: 7, differences: [] })
  })
})

test('verify names what differs and does not end well', async () => {
  await system.withTables(async (pool, url) => {
    await pool.query('update metering.records set metering_record_id = $1 where customer_id = $2', ['x', customerId])
    const { printed, failure } = await run(url, 'verify')
    expect(failure).toMatch(/^\d+ differences\.$/)
    expect(printed).toMatch(/^DIFFERENCE {2}metering_table customer \S+ 2026-02 \[.*metering_record_id is "x"/m)
    const { printed: json } = await run(url, 'verify', '--json')
    expect(JSON.parse(json)).toMatchObject({ agrees: false })
    expect(JSON.parse(json).differences[0]).toMatchObject({ kind: 'metering_table', customer_id: customerId })
  })
})

test('verify does not take a customer who never was for one without a fault', async () => {
  await system.withTables(async (_, url) => {
    const { failure } = await run(url, 'verify', '--customer', '99999999-9999-4999-8999-999999999999')
    expect(failure).toMatch(/is unknown/)
  })
})

test('reconcile reads packed files, names what differs, and says what to do', async () => {
  await system.withTables(async (_, url) => {
    expect((await run(url, 'reconcile')).failure).toMatch(/--cloudtrail or --invoice/)
    const { printed, failure } = await run(url, 'reconcile', '--cloudtrail', trailFile, '--month', '2026-02')
    // An empty file confirms nothing.
    expect(failure).toBe('1 differences.')
    expect(printed).toMatch(
      /^DIFFERENCE {2}AWS: these files do not reach the attempts of \d accepted records, of 2026-02/m,
    )
    expect(printed).toMatch(/^sealed records +7$/m)
    const nothing = await run(url, 'reconcile', '--cloudtrail', trailFile, '--month', '2031-02')
    expect(nothing.failure).toBe('There is nothing of 2031-02, here or in these files.')
    expect((await run(url, 'verify', '--month', '2031-02')).failure).toBe('The log has nothing of 2031-02.')
  })
})
