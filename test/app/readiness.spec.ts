/** GET /ready speaks the truth about each server, also about one that is frozen, and in time. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logging.ts'
import { type App, startApp } from '../../src/main.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'

let stack: TestStack
let app: App
let postgres: TcpProxy
let eventStore: TcpProxy

const through = (url: string | undefined, { port }: TcpProxy) => (url ?? '').replace(/:\d+(?=[/?])/, `:${port}`)
const portOf = (url: string | undefined) => Number(new URL(url ?? '').port)

beforeAll(async () => {
  stack = await startTestStack()
  const { DATABASE_URL, EVENTSTORE_URL } = stack.env
  postgres = await startProxy(portOf(DATABASE_URL))
  eventStore = await startProxy(portOf(EVENTSTORE_URL))
  const urls = {
    DATABASE_URL: through(DATABASE_URL, postgres),
    EVENTSTORE_URL: through(EVENTSTORE_URL, eventStore),
  }
  const env = { ...stack.env, ...urls, ROLES: 'projections' }
  app = await startApp(loadConfig(env, '/nowhere'), { log: createLogger('silent') })
})
afterAll(async () => {
  await app?.stop()
  await Promise.all([postgres?.stop(), eventStore?.stop()])
  await stack?.stop()
})

async function ready(): Promise<{ status: number; reasons: string[]; tookMs: number }> {
  const since = performance.now()
  const response = await fetch(`${app.operationsUrl}/ready`)
  const { reasons } = (await response.json()) as { reasons: string[] }
  return { status: response.status, reasons, tookMs: performance.now() - since }
}

test.each([
  ['Postgres', () => postgres, 'database unavailable'],
  ['the event store', () => eventStore, 'event store unavailable'],
] as const)(
  'while %s is frozen, and while it refuses connections, the answer is 503 with the reason, in time',
  async (_, proxy, reason) => {
    await expect.poll(async () => (await ready()).status, { timeout: 20_000 }).toBe(200)
    for (const misbehave of ['freeze', 'refuse'] as const) {
      proxy()[misbehave]()
      const { status, reasons, tookMs } = await ready()
      expect([status, ...reasons]).toEqual([503, reason])
      expect(tookMs).toBeLessThan(4_000) // twice what a probe may take, for a busy machine
      proxy().pass()
      await expect.poll(async () => (await ready()).status, { timeout: 20_000 }).toBe(200)
    }
  },
)
