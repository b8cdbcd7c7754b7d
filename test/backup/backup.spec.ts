/** `liveness backup` of a running product under load, and `liveness restore` to one that serves. */
import { appendFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { reachableFolder } from '../support/folder.ts'
import {
  type Answer,
  check,
  createCustomer,
  eventsOf,
  haveShared,
  liveness,
  photograph,
  type Running,
  startProduct,
  usage,
} from '../support/product.ts'

const there = haveShared('backup and restore')
const folder = reachableFolder('liveness-backup-')
const [one, two, copy] = ['one', 'two', 'copy'].map((name) => join(folder, name)) as [string, string, string]
const env = { DATA_DIR: one, RATE_LIMIT: '10000' }
const restored = { DATA_DIR: two, ANCHOR_DIR: join(folder, 'none') }
const failureOf = (run: Promise<string>): Promise<string> =>
  run.then(
    () => 'it did not fail',
    ({ stderr }: { stderr: string }) => stderr,
  )
let running: Running | undefined
afterAll(async () => {
  await running?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

test.skipIf(!there)(
  'a backup taken under load comes back: it serves, agrees with itself, and an anchor taken later tells what it lacks',
  async () => {
    running = await startProduct(env)
    const { customer_id, keys } = await createCustomer(env, '--plan', 'standard')
    const face = photograph('live/t1.jpg')
    const answers: Answer[] = []
    let loading = true
    const { url } = running
    const clients = Array.from({ length: 3 }, async () => {
      while (loading) answers.push(await check(url, keys.primary, face))
    })
    await expect.poll(() => answers.length, { timeout: 60_000 }).toBeGreaterThan(5)
    const before = answers.filter(({ status }) => status === 200).length
    const taken = JSON.parse(await liveness(env, 'backup', copy, '--json'))
    const after = answers.length
    await expect.poll(() => answers.length, { timeout: 60_000 }).toBeGreaterThan(after + 3)
    loading = false
    await Promise.all(clients)
    const anchor = join(folder, 'kept.json')
    await liveness(env, 'audit', 'anchor', '--into', anchor)
    const whole = await eventsOf(env, customer_id)
    await running.kill('SIGTERM')

    await liveness(restored, 'restore', copy)
    running = await startProduct(restored)
    const part = await eventsOf(restored, customer_id)
    expect(part).toEqual(whole.slice(0, part.length))
    const billed = part.filter(({ type }) => type === 'DetectionSucceeded').length
    expect(billed).toBeGreaterThanOrEqual(before)
    expect(billed).toBeLessThan(whole.filter(({ type }) => type === 'DetectionSucceeded').length)
    expect(part.length).toBeLessThanOrEqual(taken.events + after + 3)
    expect((await usage(running.url, keys.primary)).body.data.total_calls).toBe(billed)
    expect((await check(running.url, keys.secondary, face)).status).toBe(200)
    expect(JSON.parse(await liveness(restored, 'audit', 'verify', '--json'))).toMatchObject({ agrees: true })
    expect(await failureOf(liveness(restored, 'audit', 'verify', '--anchor', anchor))).toMatch(/differences/)
    await running.kill('SIGTERM')
  },
  400_000,
)

test.skipIf(!there)(
  'a backup of what does not run; a damaged or half-restored one is refused',
  async () => {
    const [second, third] = [join(folder, 'second'), join(folder, 'third')]
    await liveness({ DATA_DIR: two }, 'backup', second)
    expect(await failureOf(liveness({ DATA_DIR: two }, 'backup', second))).toMatch(/is not empty/)
    expect(await failureOf(liveness({ DATA_DIR: two }, 'backup', join(two, 'inside')))).toMatch(/lies in the data dir/)
    expect(await failureOf(liveness({ DATA_DIR: two }, 'restore', second))).toMatch(/is not empty/)
    appendFileSync(join(second, 'postgres', 'PG_VERSION'), ' ')
    expect(await failureOf(liveness({ DATA_DIR: third }, 'restore', second))).toMatch(/is not the file that was backed/)
    expect(existsSync(join(third, 'postgres', 'data'))).toBe(false)
    expect(await failureOf(liveness({ DATA_DIR: third }, 'customer', 'list'))).toMatch(/did not end/)
    writeFileSync(join(second, 'backup.json'), '{')
    expect(await failureOf(liveness({ DATA_DIR: join(folder, 'x') }, 'restore', second))).toMatch(/no complete backup/)
    expect(readdirSync(join(folder, 'x')).every((name) => name.startsWith('lock.'))).toBe(true)
  },
  240_000,
)
