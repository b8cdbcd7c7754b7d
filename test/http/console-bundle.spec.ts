/** A customer's own audit bundle from the console: whose it is, when there is one, and that its bytes verify. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { checkBundle } from '../../src/audit/check-bundle.ts'
import { makeApiKey } from '../../src/commands/keys.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { uuid } from '../support/given.ts'
import { consoleWorld } from './console-identity.ts'
import { createConsole, text } from './console-pages.ts'

const identity = consoleWorld()
const url = '/console/usage/2026-05/bundle'

async function anchored() {
  const console = await createConsole({ monthlyLimit: 2 })
  await console.detect(3)
  await console.bundles.anchor()
  return console
}

const verified = (bytes: Buffer, console: Awaited<ReturnType<typeof anchored>>) =>
  checkBundle(Readable.from([bytes]), console.bundles.keys)

async function anotherCustomer(console: Awaited<ReturnType<typeof anchored>>): Promise<string> {
  const customerId = uuid()
  const keys = { primary: makeApiKey().key, secondary: makeApiKey().key }
  const registration = { plan: 'standard', hardCap: false, licence: { kind: 'none' }, keys } as const
  await console.command({ type: 'RegisterCustomer', customerId, ...registration }, customerId)
  return customerId
}

test('the statement leads to the bundle, and says how to verify it and whom to ask for the key', async () => {
  const console = await anchored()
  const { body } = await console.get('/console/usage/2026-05/statement')
  expect(body).toContain(`href="${url}"`)
  expect(text(body)).toContain('Download the signed bundle')
  expect(text(body)).toContain('Get that key from the operator by another way than this page')
  expect(text(body)).toContain('While the month runs, the bundle reaches up to the last daily signature.')
  console.world.now = '2026-06-02T00:00:00.000Z'
  expect(text((await console.get('/console/usage/2026-05/statement')).body)).not.toContain('While the month runs')
})

test('the bytes verify with the public key alone: the month so far, and all of it once that is signed', async () => {
  const console = await anchored()
  const { statusCode, headers, rawPayload } = await console.get(url)
  expect([statusCode, headers['content-type']]).toEqual([200, 'application/x-ndjson'])
  expect(headers['content-disposition']).toBe(`attachment; filename="liveness-2026-05-${console.customerId}.ndjson"`)
  const { differences, content } = await verified(rawPayload, console)
  expect(differences).toEqual([])
  expect(content).toMatchObject({ customerId: console.customerId, month: '2026-05', monthOver: false })

  console.world.now = '2026-06-01T00:00:30.000Z'
  await console.bundles.anchor()
  const whole = await verified((await console.get(url)).rawPayload, console)
  expect(whole.differences).toEqual([])
  expect(whole.content).toMatchObject({ customerId: console.customerId, monthOver: true })
})

test('what is not signed yet is not there, and the page says from when it is', async () => {
  const console = await createConsole()
  await console.detect(1)
  for (const visit of [1, 2]) {
    const { statusCode, headers, body } = await console.get(url, { accept: 'text/html' })
    expect([visit, statusCode, headers['content-type']]).toEqual([visit, 404, 'text/html; charset=utf-8'])
    expect(headers['content-disposition']).toBeUndefined()
    expect(text(body)).toContain('Not signed yet')
    expect(text(body)).toContain(
      'nothing of your May 2026 is signed yet. The bundle can be downloaded from 5 May 2026 on.',
    )
  }
  const { error } = (await console.get(url, { accept: 'application/json' })).json()
  expect(error).toMatchObject({ code: 'not_found', message: expect.stringContaining('from 5 May 2026 on') })
  expect(console.store.stream('watermark'), 'a customer has no anchor taken').toEqual([])
})

test('a month without events of the customer, and what is no month, are 404', async () => {
  const console = await anchored()
  for (const month of ['2026-04', '2026-06', '2026-13', 'may', '..%2F2026-05']) {
    const { statusCode, headers } = await console.get(`/console/usage/${month}/bundle`)
    expect([month, statusCode]).toEqual([month, 404])
    expect(headers['content-disposition']).toBeUndefined()
  }
})

test("another customer's session gets their own bundle and nothing else, whatever it asks for", async () => {
  const console = await createConsole()
  await console.detect(1)
  const other = await anotherCustomer(console)
  await console.bundles.anchor()
  const { rawPayload, headers } = await console.get(`${url}?customer=${console.customerId}`, { 'x-visitor': other })
  expect(headers['content-disposition']).toContain(other)
  expect((await verified(rawPayload, console)).content).toMatchObject({ customerId: other })
  expect(rawPayload.toString()).not.toContain(console.customerId)

  expect((await console.get(url, { 'x-visitor': uuid() })).statusCode).toBe(404)
})

test('in the served application a visitor is sent to sign in, and headers keep the file from caches', async () => {
  const served = await identity.start()
  const { status, location } = await served.browser().get(url)
  expect([status, location]).toEqual([303, `/console/sign-in?next=${encodeURIComponent(url)}`])
  const refused = await served.app.inject({ url, headers: { accept: 'application/json' } })
  expect([refused.statusCode, refused.headers['cache-control']]).toEqual([403, 'no-store'])
})

test('one at a time for a customer; whoever leaves half-way gives the turn back', async () => {
  const console = await anchored()
  let goOn = () => {}
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const read = console.store.readForward
  // The customer's events stop behind the first, until the gate opens.
  console.store.readForward = async function* (stream, from, maxCount) {
    for await (const event of read(stream, from, maxCount)) {
      yield event
      if (stream === customerStream(console.customerId) && maxCount !== 1) await gate
    }
  }
  await console.app.listen({ port: 0 })
  const { port } = console.app.server.address() as AddressInfo
  const [response] = (await once(get({ port, path: url }), 'response')) as [IncomingMessage]
  expect(response.statusCode).toBe(200)
  const second = await console.get(url)
  expect([second.statusCode, second.json().error.code]).toEqual([503, 'service_unavailable'])
  response.destroy()
  goOn()
  await vi.waitFor(async () => expect((await console.get(url)).statusCode).toBe(200))
})

test('four at once in a process, and a fifth customer is told to come again', async () => {
  const console = await createConsole()
  const others = []
  for (let i = 0; i < 5; i++) others.push(await anotherCustomer(console))
  await console.bundles.anchor()
  const answers = await Promise.all(others.map((other) => console.get(url, { 'x-visitor': other })))
  expect(answers.map(({ statusCode }) => statusCode).toSorted()).toEqual([200, 200, 200, 200, 503])
  expect((await console.get(url)).statusCode).toBe(200)
})

test.for([
  ['bundle', url, { actor: 'somebody else' }],
  ['statement', '/console/usage/2026-05/statement.csv', { hash: 1 }],
] as const)(
  'a log that was changed breaks the %s off instead of ending it, and raises the alarm',
  async ([, path, change]) => {
    const console = await anchored()
    const [, , third] = console.store.stream(customerStream(console.customerId))
    Object.assign(third?.metadata as object, change)
    await console.app.listen({ port: 0 })
    const { port } = console.app.server.address() as AddressInfo
    const file = fetch(`http://localhost:${port}${path}`).then((response) => response.text())
    await expect(file).rejects.toThrow('terminated')
    await vi.waitFor(() => expect(console.alarms()).toEqual({ customer_log: 1 }))
  },
)
