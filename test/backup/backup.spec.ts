/** `liveness backup` of a running product under load, and `liveness restore` to one that serves. */
import { appendFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { addAuditCommands } from '../../src/cli/audit.ts'
import { addBackupCommands } from '../../src/cli/backup.ts'
import { addCustomerCommands } from '../../src/cli/customer.ts'
import { addEventsCommand } from '../../src/cli/events.ts'
import { reachableFolder } from '../support/folder.ts'
import { commandsHere } from '../support/here.ts'
import { startLoad } from '../support/load.ts'
import {
  type Customer,
  check,
  face,
  type LoggedEvent,
  liveness,
  type Running,
  startProduct,
  usage,
} from '../support/product.ts'

const folder = reachableFolder('liveness-backup-')
const [one, two, copy] = ['one', 'two', 'copy'].map((name) => join(folder, name)) as [string, string, string]
// The verdict means nothing here, and the set `own` is the faster one.
const env = { DATA_DIR: one, RATE_LIMIT: '10000', MODEL_SET: 'own' }
const restored = { DATA_DIR: two, ANCHOR_DIR: join(folder, 'none'), MODEL_SET: 'own' }
const here = commandsHere(addBackupCommands, addAuditCommands, addCustomerCommands, addEventsCommand)
async function printedBy(settings: Record<string, string>, ...args: string[]): Promise<string> {
  const { printed, failure } = await here(settings, ...args)
  expect(failure).toBe('')
  return printed
}
const failureOf = async (settings: Record<string, string>, ...args: string[]) => (await here(settings, ...args)).failure
const eventsOf = async (settings: Record<string, string>, customerId: string): Promise<LoggedEvent[]> =>
  (await printedBy(settings, 'events', customerId, '--json'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
const isDetection = ({ type }: LoggedEvent) => type === 'DetectionSucceeded'

let running: Running | undefined
afterAll(async () => {
  await running?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

test('a backup taken under load comes back: it serves, agrees with itself, and an anchor taken later tells what it lacks', async () => {
  running = await startProduct(env)
  const created: Customer = JSON.parse(await printedBy(env, 'customer', 'create', '--plan', 'standard', '--json'))
  const { customer_id, keys } = created
  const load = startLoad([running.url], keys.primary, face, 3)
  const answered = () => load.notes.filter(({ method, status }) => method === 'POST' && status === 200).length
  await expect.poll(answered, { timeout: 60_000 }).toBeGreaterThan(5)
  const before = answered()
  // As a process of its own, as an operator's timer starts it.
  const taken = JSON.parse(await liveness(env, 'backup', copy, '--json'))
  const after = load.notes.length
  await expect.poll(answered, { timeout: 60_000 }).toBeGreaterThan(after + 3)
  await load.stop()
  const anchor = join(folder, 'kept.json')
  await printedBy(env, 'audit', 'anchor', '--into', anchor)
  const whole = await eventsOf(env, customer_id)
  await running.kill('SIGTERM')

  await printedBy(restored, 'restore', copy)
  running = await startProduct(restored)
  const part = await eventsOf(restored, customer_id)
  expect(part).toEqual(whole.slice(0, part.length))
  const billed = part.filter(isDetection).length
  expect(billed).toBeGreaterThanOrEqual(before)
  expect(billed).toBeLessThan(whole.filter(isDetection).length)
  expect(part.length).toBeLessThanOrEqual(taken.events + after + 3)
  expect((await usage(running.url, keys.primary)).body.data.total_calls).toBe(billed)
  expect((await check(running.url, keys.secondary, face)).status).toBe(200)
  expect(JSON.parse(await printedBy(restored, 'audit', 'verify', '--json'))).toMatchObject({ agrees: true })
  expect(await failureOf(restored, 'audit', 'verify', '--anchor', anchor)).toMatch(/differences/)
  await running.kill('SIGTERM')
}, 400_000)

test('a backup of what does not run; a damaged or half-restored one is refused', async () => {
  const [second, third] = [join(folder, 'second'), join(folder, 'third')]
  await printedBy({ DATA_DIR: two }, 'backup', second)
  expect(await failureOf({ DATA_DIR: two }, 'backup', second)).toMatch(/is not empty/)
  expect(await failureOf({ DATA_DIR: two }, 'backup', join(two, 'inside'))).toMatch(/lies in the data dir/)
  expect(await failureOf({ DATA_DIR: two }, 'restore', second)).toMatch(/is not empty/)
  appendFileSync(join(second, 'postgres', 'PG_VERSION'), ' ')
  expect(await failureOf({ DATA_DIR: third }, 'restore', second)).toMatch(/is not the file that was backed/)
  expect(existsSync(join(third, 'postgres', 'data'))).toBe(false)
  expect(await failureOf({ DATA_DIR: third }, 'customer', 'list')).toMatch(/did not end/)
  writeFileSync(join(second, 'backup.json'), '{')
  expect(await failureOf({ DATA_DIR: join(folder, 'x') }, 'restore', second)).toMatch(/no complete backup/)
  expect(readdirSync(join(folder, 'x')).every((name) => name.startsWith('lock.'))).toBe(true)
}, 240_000)
