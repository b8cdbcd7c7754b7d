import { expect, test } from 'vitest'
import { createWorld } from './harness.ts'

test('health is exactly the object of the contract, without key and without metadata', async () => {
  const { app } = await (await createWorld()).instance()
  const response = await app.inject('/v1/health')
  expect(response.statusCode).toBe(200)
  expect(response.body).toBe('{"status":"ok"}')
})

test.each(['database unavailable', 'event store unavailable'] as const)('health says: %s', async (message) => {
  const { app } = await (await createWorld({}, { health: async () => message })).instance()
  const response = await app.inject('/v1/health')
  expect(response.statusCode).toBe(503)
  expect(response.body).toBe(JSON.stringify({ status: 'error', message }))
})

test('ready shows roles, models, clock and lag, and is 503 while not ready', async () => {
  const world = await createWorld()
  const { app, deps } = await world.instance()
  const response = await app.inject('/ready')
  expect(response.statusCode).toBe(200)
  expect(response.json()).toEqual({
    ready: true,
    reasons: [],
    roles: ['api'],
    model_set: { name: 'stand-in', version: '1' },
    clock_offset_ms: 3,
    read_models_lag_ms: 0,
    lag: { usage: 0 },
    inference_queue_depth: 0,
  })
  const ready = async () => ({ ...(await deps.ready()), ready: false, reasons: ['database unavailable'] })
  const unready = await (await world.instance({ ready })).app.inject('/ready')
  expect(unready.statusCode).toBe(503)
  expect(unready.json()).toMatchObject({ ready: false, reasons: ['database unavailable'] })
})

test('metrics count answers, commands and stages, and name no customer and no key', async () => {
  const world = await createWorld()
  const { app, check } = await world.instance()
  await check()
  await check({ body: {} })
  await app.inject('/nothing/here')
  const { body } = await app.inject('/metrics')
  const route = 'method="POST",route="/v1/check/liveness"'
  expect(body).toContain(`liveness_http_requests_total{${route},status="200",code=""} 1`)
  expect(body).toContain(`liveness_http_requests_total{${route},status="400",code="invalid_request"} 1`)
  expect(body).toContain('route="unknown",status="404",code="not_found"} 1')
  expect(body).toContain('liveness_commands_total{command="RecordDetection",outcome="done"} 1')
  expect(body).toContain('liveness_check_stage_seconds_count{stage="commit"} 1')
  expect(body).toContain('liveness_inference_queue_depth 0')
  expect(body).not.toContain(world.customerId)
  expect(body).not.toContain(world.primary.key.prefix)
  expect(body).not.toContain('nothing/here')
})
