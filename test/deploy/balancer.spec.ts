/** The balancer of docker-compose.yml, run for real: whatever happens to an instance, no POST is sent twice. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { errorAnswer } from '../../src/http/schemas.ts'
import { version } from '../../src/version.ts'
import { freePort } from '../support/ports.ts'
import { compose, ours, root } from './compose-file.ts'
import { haveTool } from './tools.ts'

const caddyfile = join(root, 'deploy/Caddyfile')
const text = readFileSync(caddyfile, 'utf8')

describe('the balancer’s file', () => {
  test('sends to every instance of the API, at the port it has', () => {
    const upstreams = /\{\$UPSTREAMS:([^}]+)\}/.exec(text)?.[1]?.split(' ')
    const instances = ours.filter(([, { environment }]) => environment?.ROLES === 'api')
    expect(upstreams).toEqual(instances.map(([name, { environment }]) => `${name}:${environment?.PORT}`))
    expect(compose.services.balancer?.healthcheck?.test.join(' ')).toContain('http://127.0.0.1:8081/')
    expect(text).toContain(':{$HEALTH_PORT:8081} {')
  })

  test('leaves idle connections before the instances do, and does not widen what is retried', () => {
    const idle = /keepAliveTimeout: (\d+)_000/.exec(readFileSync(join(root, 'src/http/server.ts'), 'utf8'))?.[1]
    const keep = /keepalive (\d+)s/.exec(text)?.[1]
    expect(Number(keep)).toBeLessThan(Number(idle))
    expect(text).not.toMatch(/^\s*lb_retry_match/m)
    expect(text).toContain(`"ver":"${version}"`)
  })
})

describe.skipIf(!haveTool('caddy', 'the balancer'))('Caddy before two instances', () => {
  /** What an instance does with a request: answer, die when it has it whole, or die after the first half of its answer. */
  type Manner = 'answer' | 'die when it has it' | 'die in mid-answer'
  let manner: Manner = 'answer'
  let unhealthy: number | undefined
  /** How often each request reached any instance, by its id, and the ports of the instances. */
  const seen = new Map<string, number[]>()
  const instances: Server[] = []
  const folder = mkdtempSync(join(tmpdir(), 'liveness-caddy-'))
  let caddy: ChildProcess
  let url = ''
  let refused = 0

  const portOf = (server: Server) => (server.address() as AddressInfo).port
  const listening = (server: Server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  beforeAll(async () => {
    for (let i = 0; i < 2; i++) {
      const instance: Server = createServer((request, response) => {
        if (request.url === '/v1/health') {
          response.writeHead(unhealthy === portOf(instance) ? 503 : 200).end()
          return
        }
        request.resume().once('end', () => {
          const id = String(request.headers['x-request-id'])
          const before = seen.get(id) ?? []
          seen.set(id, [...before, portOf(instance)])
          // Dead for good, for this request: Go's transport itself repeats a GET at the same address.
          const mine = before.length === 0 || before[0] === portOf(instance)
          if (manner === 'answer' || !mine) return response.writeHead(200).end('done')
          if (manner === 'die in mid-answer') response.writeHead(200, { 'content-length': '8' }).write('done')
          setTimeout(() => request.socket.resetAndDestroy(), 20)
          return
        })
      })
      await listening(instance)
      instances.push(instance)
    }
    refused = await freePort()
    url = `http://127.0.0.1:${await freePort()}`
    caddy = spawn('caddy', ['run', '--config', caddyfile, '--adapter', 'caddyfile'], {
      env: {
        ...process.env,
        HOME: folder,
        XDG_CONFIG_HOME: folder,
        XDG_DATA_HOME: folder,
        SITE_ADDRESS: url,
        HEALTH_PORT: String(await freePort()),
        // And a third one that nobody listens at, as while an instance is being replaced.
        UPSTREAMS: [...instances.map(portOf), refused].map((port) => `127.0.0.1:${port}`).join(' '),
      },
      stdio: 'ignore',
    })
    const answers = () =>
      fetch(`${url}/`, { headers: { 'x-request-id': 'warm' } }).then(
        ({ ok }) => ok,
        () => false,
      )
    for (const deadline = Date.now() + 30_000; !(await answers()); await pause(50)) {
      if (Date.now() > deadline) throw new Error('Caddy does not serve')
    }
  }, 60_000)

  afterAll(async () => {
    const ended = new Promise((resolve) => caddy.once('exit', resolve))
    caddy.kill('SIGKILL')
    await ended
    for (const instance of instances) {
      instance.closeAllConnections()
      instance.close()
    }
    rmSync(folder, { recursive: true, force: true })
  })

  beforeEach(async () => {
    manner = 'answer'
    unhealthy = undefined
    // An instance that failed is left out for two seconds: each test begins with both of them.
    for (const deadline = Date.now() + 30_000; (await asked()).size < 2; await pause(100)) {
      if (Date.now() > deadline) throw new Error('Caddy does not send to both instances')
    }
  }, 40_000)

  /** The instances that get calls just now. */
  async function asked(): Promise<Set<number>> {
    const calls = await Promise.all(Array.from({ length: 8 }, () => send('POST')))
    return new Set(calls.flatMap(({ sightings }) => sightings))
  }

  async function send(
    method: 'GET' | 'POST',
    headers: Record<string, string> = {},
    body: RequestInit['body'] = '{"image": ""}',
  ) {
    const id = randomUUID()
    const response = await fetch(`${url}/v1/check/liveness`, {
      method,
      headers: { 'x-request-id': id, 'content-type': 'application/json', ...headers },
      ...(method === 'POST' ? { body, duplex: 'half' as const } : {}),
    }).catch(() => null)
    const answer = await response?.text().catch(() => null)
    return { status: response?.status, headers: response?.headers, answer, sightings: seen.get(id) ?? [] }
  }

  test('the file is valid', () => {
    const run = () =>
      execFileSync('caddy', ['validate', '--config', caddyfile, '--adapter', 'caddyfile'], { stdio: 'pipe' })
    expect(run).not.toThrow()
  })

  test.each([
    ['', {}, undefined],
    [' with an idempotency key', { 'idempotency-key': 'once' }, undefined],
    [' sent in chunks', {}, 'chunks'],
    [' of 10 MB', {}, 'x'.repeat(10 * 1024 * 1024)],
  ])(
    'a POST%s whose instance dies when it has it is answered 503 and sent to nobody else',
    async (_, headers, body) => {
      await send('GET') // so that there are connections to be used again
      manner = 'die when it has it'
      const stream = () => new Blob(['{"image": ', '""}']).stream()
      const {
        status,
        headers: got,
        answer,
        sightings,
      } = await send('POST', headers, body === 'chunks' ? stream() : body)
      expect(sightings).toHaveLength(1)
      expect(status).toBe(503)
      expect(got?.get('retry-after')).toBe('2')
      // In the words of the contract, so that a client handles it like any other 503.
      expect(errorAnswer.parse(JSON.parse(answer ?? ''))).toMatchObject({ error: { code: 'service_unavailable' } })
    },
  )

  test('a POST whose instance dies in mid-answer breaks off, and is sent to nobody else', async () => {
    manner = 'die in mid-answer'
    const { answer, sightings } = await send('POST')
    expect(sightings).toHaveLength(1)
    expect(answer).toBeNull()
  })

  test('a GET whose instance dies is answered by the other one', async () => {
    manner = 'die when it has it'
    const { status, sightings } = await send('GET')
    expect(status).toBe(200)
    expect(sightings.at(-1)).not.toBe(sightings[0])
  })

  test('a POST goes to another instance where no connection can be made, and each arrives once', async () => {
    const all = await Promise.all(Array.from({ length: 30 }, () => send('POST')))
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 200))
    expect(all.map(({ sightings }) => sightings.length)).toEqual(all.map(() => 1))
  })

  test('an instance that says it stops gets no more calls', async () => {
    const [leaving, staying] = instances.map(portOf)
    unhealthy = leaving
    await expect.poll(asked, { timeout: 20_000, interval: 300 }).toEqual(new Set([staying]))
  })

  test.each(['/metrics', '/ready'])('%s is not for the outside', async (path) => {
    const id = randomUUID()
    expect((await fetch(`${url}${path}`, { headers: { 'x-request-id': id } })).status).toBe(404)
    expect(seen.has(id)).toBe(false)
  })
})
