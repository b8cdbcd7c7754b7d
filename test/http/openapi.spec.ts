import { expect, test } from 'vitest'
import { errorStatus } from '../../src/http/envelope.ts'
import { createWorld } from './harness.ts'

async function documented() {
  const { app } = await (await createWorld()).instance()
  return { app, document: (await app.inject('/openapi.json')).json() }
}

test('the document is OpenAPI 3.1 and describes every route of the contract', async () => {
  const { document } = await documented()
  expect(document.openapi).toMatch(/^3\.1\./)
  expect(document.info.version).toBe('1.2.3')
  expect(document.servers).toEqual([{ url: 'http://localhost:8080' }])
  expect(Object.keys(document.paths)).toEqual(expect.arrayContaining(['/v1/check/liveness', '/v1/usage', '/v1/health']))
  expect(document.components.securitySchemes.apiKey).toEqual({ type: 'apiKey', in: 'header', name: 'X-API-Key' })
})

test('the check documents its fields, its limit and every error it can give, each with an example', async () => {
  const { document } = await documented()
  const check = document.paths['/v1/check/liveness'].post
  const body = check.requestBody.content['application/json'].schema
  expect(body.required).toEqual(['image', 'image_format'])
  expect(body.properties.image.maxLength).toBe(10 * 1024 * 1024)
  expect(check.security).toEqual([{ apiKey: [] }])
  expect(JSON.stringify(check.parameters)).toContain('idempotency-key')
  const exampled = Object.entries(check.responses as Record<string, unknown>).flatMap(([status, response]) =>
    [...JSON.stringify(response).matchAll(/"error":\{"code":"(\w+)"/g)].map(([, code]) => [code, Number(status)]),
  )
  expect(Object.fromEntries(exampled)).toEqual(
    Object.fromEntries(Object.entries(errorStatus).filter(([code]) => code !== 'forbidden' && code !== 'not_found')),
  )
})

test('the example of a used-up month has no credit left', async () => {
  const { document } = await documented()
  const answers = JSON.stringify(document.paths['/v1/check/liveness'].post.responses[429])
  const left = [...answers.matchAll(/"remaining_calls":(\d+)[^}]*\},"error":\{"code":"(\w+)"/g)]
  expect(left.map(([, calls, code]) => [code, Number(calls)])).toEqual([
    ['quota_exceeded', 0],
    ['rate_limited', 3_850],
  ])
})

test('answers are open to fields that a minor version adds, and what is for operators is not described', async () => {
  const { document } = await documented()
  expect(JSON.stringify(document)).not.toContain('"additionalProperties":false')
  expect(Object.keys(document.paths)).not.toContain('/ready')
})

test('the headers of an answer are described', async () => {
  const { document } = await documented()
  const headersOf = (path: string, method: string) =>
    Object.fromEntries(
      Object.entries(document.paths[path][method].responses as Record<string, { headers?: object }>).map(
        ([status, { headers = {} }]) => [status, Object.keys(headers)],
      ),
    )
  const id = 'X-Request-Id'
  const errors = { 400: [id], 401: [id], 500: [id], 429: [id, 'Retry-After'], 503: [id, 'Retry-After'] }
  expect(headersOf('/v1/check/liveness', 'post')).toEqual({ 200: [id, 'Idempotent-Replayed'], ...errors })
  const { 400: _, ...ofUsage } = errors
  expect(headersOf('/v1/usage', 'get')).toEqual({ 200: [id], ...ofUsage })
  expect(headersOf('/v1/health', 'get')).toEqual({ 200: [id], 503: [id] })
  // No header stands among the fields of a body.
  expect(JSON.stringify(document.paths['/v1/usage'].get.responses[200].content)).not.toContain(id)
})

test('the reference page and everything it loads come from here, under a policy without inline scripts', async () => {
  const { app } = await documented()
  const page = await app.inject('/docs/')
  expect(page.statusCode).toBe(200)
  expect(page.headers['content-security-policy']).toContain("script-src 'self';")
  const loaded = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(
    ([, url = '']) => new URL(url, 'http://x/docs/'),
  )
  expect(loaded.length).toBeGreaterThan(3)
  for (const { host, pathname } of loaded) {
    expect(host).toBe('x')
    expect((await app.inject(pathname)).statusCode, pathname).toBe(200)
  }
  expect(page.body).not.toMatch(/<script>[^<]/)
})
