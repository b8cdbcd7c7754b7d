/**
 * The stand-in as a process of its own, for tests that kill processes:
 *   startChild(new URL('../aws/main.ts', import.meta.url), [], { env: { ...process.env, NODE_OPTIONS: '--import tsx' } })
 * It says {"url", "queueUrl", "env", "control"} on a line and runs until SIGTERM. Behind `control`:
 *   GET  /_/ledger, /_/billed-twice, /_/calls, /_/queue
 *   POST /_/products {productCode, dimensions}     POST /_/subscriptions (NewSubscription)
 *   POST /_/end {id, at?}                          POST /_/tokens {token, subscriptionId, expiresAt?, usesLeft?}
 *   POST /_/entitlements [Entitlement]             POST /_/messages {body, deliveries?}
 *   POST /_/faults {operation?, next?: [Fault], rates?, seed?}; {} forgets all faults
 *   POST /_/clock {now}: ISO 8601; the clock goes on from there   POST /_/stop, /_/start: the service's outage
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { z } from 'zod'
import { fault, faultRates } from './faults.ts'
import { entitlement, newToken } from './onboarding.ts'
import { startAwsStandIn } from './stand-in.ts'
import { newSubscription } from './state.ts'

let lead = 0
const standIn = await startAwsStandIn({ now: () => Date.now() + lead })

const faults = z.object({
  operation: z.string().default('BatchMeterUsage'),
  next: z.array(fault).default([]),
  rates: faultRates.optional(),
  seed: z.int().optional(),
})

const routes: Record<string, (body: unknown) => unknown> = {
  'GET /_/ledger': () => standIn.ledger(),
  'GET /_/billed-twice': () => standIn.billedTwice(),
  'GET /_/calls': () => standIn.calls,
  'GET /_/queue': () => standIn.queuedMessages(),
  'POST /_/products': (body) => {
    const product = z.object({ productCode: z.string(), dimensions: z.array(z.string()) }).parse(body)
    standIn.addProduct(product.productCode, product.dimensions)
  },
  'POST /_/subscriptions': (body) => standIn.addSubscription(newSubscription.parse(body)),
  'POST /_/end': (body) => {
    const { id, at } = z.object({ id: z.string(), at: z.int().optional() }).parse(body)
    standIn.endSubscription(id, at)
  },
  'POST /_/tokens': (body) => standIn.addRegistrationToken(newToken.parse(body)),
  'POST /_/entitlements': (body) => standIn.setEntitlements(z.array(entitlement).parse(body)),
  'POST /_/messages': (body) => {
    const message = z.object({ body: z.string(), deliveries: z.int().default(1) }).parse(body)
    return standIn.sendMessage(message.body, { deliveries: message.deliveries })
  },
  'POST /_/faults': (body) => {
    const { operation, next, rates, seed } = faults.parse(body)
    if (next.length === 0 && rates === undefined) standIn.faults.none()
    standIn.faults.next(operation, ...next)
    if (rates !== undefined) standIn.faults.rates(rates, seed)
  },
  'POST /_/clock': (body) => {
    const { now } = z.object({ now: z.iso.datetime() }).parse(body)
    lead = Date.parse(now) - Date.now()
  },
  'POST /_/stop': () => standIn.stop(),
  'POST /_/start': () => standIn.start(),
}

const control = createServer(async (request, response) => {
  try {
    const text = Buffer.concat(await request.toArray()).toString()
    const route = routes[`${request.method} ${request.url}`]
    if (route === undefined) throw new Error(`There is no ${request.method} ${request.url}`)
    const result = await route(text === '' ? {} : JSON.parse(text))
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result ?? {}))
  } catch (cause) {
    response.writeHead(400).end(String(cause))
  }
}).listen(0, '127.0.0.1')
await once(control, 'listening')
const address = control.address()
if (address === null || typeof address === 'string') throw new Error('The control endpoint has no port')

// A test that is killed cannot end it.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) process.exit(1)
}, 1_000).unref()
process.once('SIGTERM', () => {
  void standIn.stop()
  control.close()
  control.closeAllConnections()
})
const { url, queueUrl, env } = standIn
process.stdout.write(`${JSON.stringify({ url, queueUrl, env, control: `http://127.0.0.1:${address.port}` })}\n`)
