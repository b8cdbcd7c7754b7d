/** Processes of every role have a port for operators: readiness, health and metrics, with what their roles know. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Clocks } from '../../src/app/system.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logging.ts'
import { startApp } from '../../src/main.ts'
import { startProxy } from '../support/proxy.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'

let stack: TestStack
beforeAll(async () => {
  stack = await startTestStack()
})
afterAll(() => stack?.stop())

/** Runs `use` beside an application with these settings, and hands it an address of the operators' port. */
async function withApp(
  settings: Record<string, string>,
  use: (url: string) => Promise<void>,
  clocks: Clocks = {},
): Promise<void> {
  const log = createLogger('warn', { write: () => {} })
  const app = await startApp(loadConfig({ ...stack.env, ...settings }, '/nowhere'), { log, ...clocks })
  try {
    expect(app.url).toBeUndefined()
    // Logged as the program's own parts log it.
    log.error({ alarm: 'clock' }, 'a test')
    log.child({ part: 'a part' }).error({ alarm: 'clock' }, 'a test')
    await use(app.operationsUrl ?? '')
  } finally {
    await app.stop()
  }
}
/** To be asked again: on a busy machine a look at the servers may take longer than it is given. */
async function answer(url: string): Promise<[status: number, body: unknown]> {
  const response = await fetch(url)
  return [response.status, await response.json()]
}
const metrics = async (url: string) => (await fetch(`${url}/metrics`)).text()

test('a process that projects answers on its port though it has no API', async () => {
  await withApp({ ROLES: 'projections' }, async (url) => {
    await expect.poll(() => answer(`${url}/v1/health`)).toEqual([200, { status: 'ok' }])
    const ready = { ready: true, roles: ['projections'], model_set: null, inference_queue_depth: null }
    await expect.poll(() => answer(`${url}/ready`)).toEqual([200, expect.objectContaining(ready)])
    await expect.poll(() => metrics(url)).toMatch(/^liveness_ready 1$/m)
    const text = await metrics(url)
    expect(text).toMatch(/^liveness_info\{version="[^"]+",roles="projections"\} 1$/m)
    expect(text).toMatch(/^liveness_projections_lag_seconds 0$/m)
    expect(text).toMatch(/^liveness_attempts_in_doubt 0$/m)
    expect(text).toMatch(/^liveness_attempts_in_doubt_oldest_seconds 0$/m)
    expect(text).toMatch(/^liveness_appends_total\{category="customer",outcome="conflict"\} 0$/m)
    expect(text).not.toContain('liveness_metering_')
    expect(text).not.toContain('liveness_http_')
  })
})

test('while the clock is out of service health is 503, so that a balancer sends nothing to an instance that answers nothing', async () => {
  const check = async (url: string) => {
    const outOfService = { status: 'error', message: 'clock out of service' }
    await expect.poll(() => answer(`${url}/v1/health`)).toEqual([503, outOfService])
    const reasons = ['The clock differs from Postgres.']
    await expect.poll(() => answer(`${url}/ready`)).toEqual([503, expect.objectContaining({ reasons })])
  }
  await withApp({ ROLES: 'projections' }, check, { systemClock: () => Date.now() + 60_000 })
})

test('alarms in the log are counted, and those that never rang are there at 0', async () => {
  await withApp({ ROLES: 'projections' }, async (url) => {
    const text = await metrics(url)
    expect(text).toMatch(/^liveness_alarms_total\{alarm="clock"\} 2$/m)
    expect(text).toMatch(/^liveness_alarms_total\{alarm="metering_unbillable"\} 0$/m)
  })
})

test('relay and metering show their figures and what is missing, while Kafka is not there and while it hangs', async () => {
  const kafka = await startProxy(Number(new URL(stack.env.EVENTSTORE_URL ?? '').port)) // to anything: nothing passes
  kafka.refuse()
  onTestFinished(() => kafka.stop())
  await withApp({ ROLES: 'relay,metering', KAFKA_BROKERS: `127.0.0.1:${kafka.port}` }, async (url) => {
    for (const misbehave of ['refuse', 'freeze'] as const) {
      kafka[misbehave]()
      const since = performance.now()
      const ready = await fetch(`${url}/ready`)
      expect(ready.status).toBe(503)
      expect(await ready.json()).toMatchObject({ reasons: ['no Kafka broker answers'] })
      expect(performance.now() - since).toBeLessThan(4_000) // twice what a probe may take, for a busy machine
    }
    kafka.refuse() // what hangs would hold up the stop
    const text = await metrics(url)
    for (const name of ['relay_leading', 'relay_lag_seconds', 'metering_leading', 'metering_watermark_age_seconds']) {
      expect(text).toContain(`liveness_${name} `)
    }
    expect(text).toMatch(/^liveness_metering_records\{state="sealed"\} 0$/m)
    expect(text).not.toContain('liveness_projections_')
  })
})

test('an occupied port, a host that is not ours and an unknown model set are said in words', async () => {
  await withApp({ ROLES: 'projections' }, async (url) => {
    const failure = (settings: Record<string, string>) =>
      startApp(loadConfig({ ...stack.env, ROLES: 'projections', ...settings }, '/nowhere'), {
        log: createLogger('silent'),
      }).then(
        () => 'it started',
        (error: Error) => error.message,
      )
    expect(await failure({ OPERATIONS_PORT: new URL(url).port })).toMatch(/^OPERATIONS_PORT \d+ .*in use/)
    // An address for documentation, which no machine has (RFC 5737).
    expect(await failure({ HOST: '192.0.2.1' })).toMatch(/^HOST 192\.0\.2\.1 is no address of this machine/)
    expect(await failure({ ROLES: 'api', MODEL_SET: 'best' })).toMatch(/^MODEL_SET must be one of .*own.* is "best"/)
  })
})
