/** What an end costs: nothing that was answered, nothing that was committed. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { reachableFolder } from '../support/folder.ts'
import { check, createCustomer, eventsOf, face, startProduct } from '../support/product.ts'

const folder = reachableFolder('liveness-stop-')
const env = { DATA_DIR: join(folder, 'data') }
const billed = async (id: string) => {
  const events = await eventsOf(env, id)
  return events.filter(({ type }) => type === 'DetectionSucceeded').map(({ metadata }) => metadata.correlationId)
}
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('shutdown', () => {
  test('SIGTERM: checks in flight finish and are billed, new ones get 503 or no connection', async () => {
    const app = await startProduct(env)
    const { customer_id, keys } = await createCustomer(env, '--plan', 'standard')
    const first = await check(app.url, keys.primary, face)
    const inFlight = Array.from({ length: 12 }, () => check(app.url, keys.primary, face))
    await Promise.race(inFlight) // the others are inside by now: they were sent together
    const ended = app.kill('SIGTERM')
    await vi.waitFor(() => expect(app.output()).toContain('SIGTERM: finishing'), { timeout: 5_000, interval: 5 })
    const late = await check(app.url, keys.primary, face)
    const answers = await Promise.all(inFlight)
    await ended
    expect(app.process.exitCode).toBe(0)
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect([503, null]).toContain(late.status)
    const sent = [first, ...answers].map(({ requestId }) => requestId)
    expect((await billed(customer_id)).sort()).toEqual(sent.sort())
  }, 120_000)

  test('a second SIGTERM stops at once, and every call that was answered is in the log', async () => {
    const app = await startProduct(env)
    const { customer_id, keys } = await createCustomer(env, '--plan', 'standard')
    const inFlight = Array.from({ length: 40 }, () => check(app.url, keys.primary, face))
    await Promise.race(inFlight)
    const ended = app.kill('SIGTERM')
    await new Promise((resolve) => setTimeout(resolve, 600)) // within half a second two signals are one wish
    app.process.kill('SIGTERM')
    await ended
    const answers = await Promise.all(inFlight)
    const log = new Set(await billed(customer_id))
    for (const { status, requestId } of answers) if (status === 200) expect(log).toContain(requestId)
  }, 120_000)
})
