/** An event store behind a network that fails: what clients were told is what is billed, whoever settles it. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agreement, bodyOf, call, type Note, startLoad } from '../support/load.ts'
import { createCustomer, eventsOf, face, type Running, startProduct } from '../support/product.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'

let stack: TestStack
let proxy: TcpProxy
let instance: Running

beforeAll(async () => {
  stack = await startTestStack()
  proxy = await startProxy(Number(new URL(stack.env.EVENTSTORE_URL ?? '').port))
})
afterAll(async () => {
  await instance?.kill('SIGTERM')
  await proxy?.stop()
  await stack?.stop()
}, 60_000)

test('a network that swallows answers and cuts connections: every 503 is, once settled, not billed', async () => {
  const { PORT: _, OPERATIONS_PORT: __, ...env } = stack.env
  const EVENTSTORE_URL = `esdb://127.0.0.1:${proxy.port}?tls=false`
  // The verdict means nothing here, and the set `own` is the faster one.
  const through = { ...env, EVENTSTORE_URL, RATE_LIMIT: '10000', MODEL_SET: 'own' }
  const start = () => startProduct({ ...through, DATA_DIR: join(stack.env.DATA_DIR ?? '', 'instance') })
  instance = await start()
  const { customer_id, keys } = await createCustomer(env, '--plan', 'standard', '--limit', '1000')
  let load = startLoad([instance.url], keys.primary, face, 6)
  const notes: Note[] = []
  /** Resolves once a check gets this answer from now on; one that was made since `begun`, and not in the round before. */
  const answered = (wanted: number, begun: number) => {
    const from = Date.now()
    const isOne = ({ method, status, at, tookMs }: Note) =>
      method === 'POST' && status === wanted && at >= from && at - tookMs >= begun
    return expect.poll(() => load.notes.some(isOne), { timeout: 60_000 }).toBe(true)
  }
  for (let round = 0; round < 2; round++) {
    const begun = Date.now()
    await answered(200, begun)
    proxy.swallowAnswers()
    // Longer than an attempt's patience: callers are told 503 and their attempts lie in doubt.
    await answered(503, begun)
    if (round === 1) {
      // kill −9 between the 503 and its settlement: another process settles it.
      await instance.kill('SIGKILL')
      notes.push(...(await load.stop()))
      proxy.pass()
      instance = await start()
      load = startLoad([instance.url], keys.primary, face, 6)
    }
    proxy.cut()
    proxy.pass()
    await answered(200, Date.now())
  }
  for (let cuts = 0; cuts < 10; cuts++) {
    proxy.cut()
    await pause(150)
  }
  notes.push(...(await load.stop()))
  // A call that is answered sees a settled stream.
  const body = bodyOf(face)
  const another = async () => {
    const note = await call(instance.url, keys.primary, body)
    notes.push(note)
    return note.status
  }
  await expect.poll(another, { timeout: 30_000 }).toBe(200)
  const found = agreement(notes, await eventsOf(env, customer_id))
  console.info('a network that fails', found)
  expect(found.told['POST 503']).toBeGreaterThan(0)
}, 240_000)
