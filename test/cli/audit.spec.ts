/** The auditor's commands on a real data directory, run in this process; customers come from the built command. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { addAuditCommands } from '../../src/cli/audit.ts'
import { reachableFolder } from '../support/folder.ts'
import { liveness } from '../support/product.ts'

const folder = reachableFolder('liveness-audit-')
const env = { DATA_DIR: join(folder, 'data') }
const month = new Date().toISOString().slice(0, 7)
const file = (name: string) => join(folder, name)

let customer = ''
beforeAll(async () => {
  customer = JSON.parse(await liveness(env, 'customer', 'create', '--plan', 'standard', '--json')).customer_id
  await liveness(env, 'customer', 'set-cap', customer, 'on')
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a command wrote to stdout. */
async function audit(...args: string[]): Promise<string> {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const written: string[] = []
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    written.push(String(chunk))
    return true
  })
  const program = new Command()
  addAuditCommands(program)
  try {
    await program.parseAsync(['audit', ...args], { from: 'user' })
  } catch (error) {
    throw Object.assign(error as Error, { written: written.join('') })
  } finally {
    vi.restoreAllMocks()
  }
  return written.join('')
}

test('replay tells the statement for people, as JSON and as CSV, each line with its place in the log', async () => {
  const of = ['--customer', customer, '--month', month]
  const { statement, faults } = JSON.parse(await audit('replay', ...of, '--json'))
  expect(faults).toEqual([])
  expect(statement).toMatchObject({ customerId: customer, month, hardCap: true, creditCalls: 0, overageAmount: '0' })
  expect(statement.changes.at(-1)).toMatchObject({ type: 'HardCapEnabled', revision: '4', actor: 'operator' })
  const text = await audit('replay', ...of)
  expect(text).toContain(`4 ${statement.changes.at(-1).eventId}`)
  expect(text).toContain('Overage 0 USD')
  expect((await audit('replay', ...of, '--csv')).split('\r\n')).toHaveLength(7)
  await expect(audit('replay', '--customer', customer, '--month', '2020-01')).rejects.toThrow('has nothing in 2020-01')
})

test('an anchor, an export and its verification with the public key agree; a changed file does not', async () => {
  expect(await audit('anchor')).toContain(join(env.DATA_DIR, 'anchors'))
  const anchor = JSON.parse(await audit('anchor', '--into', file('kept.json'), '--json'))
  expect(anchor).toMatchObject({ path: file('kept.json'), streams: 3 })
  writeFileSync(file('key.pem'), await audit('public-key'))

  const bundle = file('bundle.ndjson')
  expect(await audit('export', '--customer', customer, '--month', month, '--into', bundle)).toContain(
    'Everything agrees.',
  )
  const arguments_ = ['--public-key', file('key.pem'), '--json']
  expect(JSON.parse(await audit('verify-bundle', bundle, ...arguments_))).toMatchObject({ agrees: true, events: 5 })
  expect(JSON.parse(await audit('verify-bundle', bundle, ...arguments_, '--anchor', file('kept.json')))).toMatchObject({
    agrees: true,
    customerId: customer,
    monthOver: false,
  })

  writeFileSync(bundle, readFileSync(bundle, 'utf8').replace('HardCapEnabled', 'HardCapDisabled'))
  await expect(audit('verify-bundle', bundle, ...arguments_)).rejects.toMatchObject({
    message: expect.stringContaining('does not prove its bill'),
    written: expect.stringContaining('revision 4 (HardCapDisabled'),
  })
  writeFileSync(file('no-key.pem'), 'nothing')
  await expect(audit('verify-bundle', bundle, '--public-key', file('no-key.pem'))).rejects.toThrow(
    'no Ed25519 public key',
  )
  await expect(audit('export', '--customer', customer, '--month', '2020-01', '--into', file('none'))).rejects.toThrow(
    'has nothing in 2020-01',
  )
  expect(existsSync(file('none'))).toBe(false)
})
