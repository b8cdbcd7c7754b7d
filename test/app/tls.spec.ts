/** Servers that ask for TLS and passwords: what works, and the sentences for what does not. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { naming, refusalOf } from '../../src/app/refusals.ts'
import { loadConfig } from '../../src/config.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { createMail } from '../../src/mail/mail.ts'
import { startEmbeddedPostgres } from '../../src/postgres/embedded.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { kafkaSettings } from '../../src/relay/kafka-settings.ts'
import { type Certificates, makeCertificates } from '../support/certificates.ts'
import { reachableFolder } from '../support/folder.ts'
import { uuid } from '../support/given.ts'
import { freshDatabase } from '../support/postgres.ts'

const there = spawnSync('openssl', ['version']).status === 0
if (!there) console.warn('SKIPPED: connections by TLS need the command openssl')
const folder = reachableFolder('liveness-tls-')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(!there)('TLS and passwords', () => {
  let [ours, others]: [Certificates, Certificates] = [] as never
  beforeAll(() => {
    ;[ours, others] = [makeCertificates(folder, 'ours'), makeCertificates(folder, 'others')]
  })
  const messageOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'nothing was refused',
      (error: Error) => error.message,
    )

  test('Postgres: sslmode=verify-full with sslrootcert; another authority and another password are named', async () => {
    const server = await startEmbeddedPostgres({ dataDir: `${folder}/postgres`, durable: false })
    const { uid, gid } = statSync(server.dataDir)
    chmodSync(ours.keyFile, 0o600)
    if (process.getuid?.() === 0) chownSync(ours.keyFile, uid, gid)
    const admin = new pg.Client({ connectionString: server.url })
    await admin.connect()
    for (const [name, value] of [
      ['ssl_cert_file', ours.certFile],
      ['ssl_key_file', ours.keyFile],
      ['ssl', 'on'],
    ]) {
      await admin.query(`alter system set ${name} = '${value}'`)
    }
    await admin.query('select pg_reload_conf()')
    await expect.poll(async () => (await admin.query('show ssl')).rows[0]?.ssl, { timeout: 20_000 }).toBe('on')
    await admin.end()
    const address = new URL(server.url)
    address.hostname = 'localhost'
    const by = ({ caFile }: Certificates, password = address.password) => {
      const url = new URL(address)
      url.password = password
      url.search = new URLSearchParams({ sslmode: 'verify-full', sslrootcert: caFile }).toString()
      return url.href
    }
    try {
      expect((await naming('DATABASE_URL', migrate(by(ours)))).length).toBeGreaterThan(3)
      const client = new pg.Client({ connectionString: by(ours) })
      await client.connect()
      const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
      expect(rows).toEqual([{ ssl: true }])
      await client.end()
      expect(await messageOf(naming('DATABASE_URL', migrate(by(others))))).toMatch(
        /^DATABASE_URL: the server's certificate is not trusted .*sslrootcert=FILE/,
      )
      const refused = await messageOf(naming('DATABASE_URL', migrate(by(ours, 'hunter2'))))
      expect(refused).toMatch(/^DATABASE_URL: the server refuses the user name or the password/)
      expect(refused).not.toContain('hunter2')
    } finally {
      await server.stop()
    }
  }, 60_000)

  test('event store: tls=true with tlsCAFile through a TLS proxy; another authority is named', async () => {
    const server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
    const options = {
      key: readFileSync(ours.keyFile),
      cert: readFileSync(ours.certFile),
      ALPNProtocols: ['h2'],
    }
    const proxy = createTlsServer(options, (socket) => {
      const behind = connectTcp(Number(new URL(server.url.replace('esdb:', 'http:')).port), '127.0.0.1')
      socket.pipe(behind).pipe(socket)
      const end = () => {
        socket.destroy()
        behind.destroy()
      }
      socket.on('error', end)
      behind.on('error', end)
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const open = ({ caFile }: Certificates) => {
      const { port } = proxy.address() as AddressInfo
      return connectEventStore(`esdb://admin:secret@localhost:${port}?tls=true&tlsCAFile=${caFile}`)
    }
    const [good, bad] = [open(ours), open(others)]
    try {
      const event = { id: uuid(), type: 'Noted', data: {}, metadata: {} }
      const attempt = { stream: 'tls', expectedRevision: 'no_stream', events: [event] } as const
      expect(await good.send(attempt, 10_000)).toEqual({ kind: 'appended', revision: 0n })
      expect(await messageOf(naming('EVENTSTORE_URL', firstOf(bad)))).toMatch(
        /^EVENTSTORE_URL: the server's certificate is not trusted .*tlsCAFile=FILE/,
      )
    } finally {
      await Promise.all([good.close(), bad.close()])
      proxy.close()
      await server.stop()
    }
  }, 60_000)

  test('event store: user name and password are sent, and a refusal is told without them', async () => {
    const seen: string[] = []
    const server = createSecureServer({ key: readFileSync(ours.keyFile), cert: readFileSync(ours.certFile) })
    server.on('stream', (stream, headers) => {
      seen.push(headers.authorization ?? '')
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16', 'grpc-message': 'no' },
        { endStream: true },
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const store = connectEventStore(`esdb://admin:hunter2@localhost:${port}?tls=true&tlsCAFile=${ours.caFile}`)
    try {
      const message = await messageOf(naming('EVENTSTORE_URL', firstOf(store)))
      expect(message).toMatch(/^EVENTSTORE_URL: the server refuses the user name or the password/)
      expect(message).not.toContain('hunter2')
      expect(seen).toContain(`Basic ${Buffer.from('admin:hunter2').toString('base64')}`)
    } finally {
      await store.close()
      server.close()
    }
  })

  test('mail: smtps with an unknown authority is named', async () => {
    const server = createTlsServer({ key: readFileSync(ours.keyFile), cert: readFileSync(ours.certFile) }, (socket) => {
      socket.on('error', () => {})
      socket.write('220 localhost ESMTP\r\n')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const mailAt = (smtpUrl: string) =>
      createMail({ smtpUrl, from: 'a@example.com', outboxDir: folder, log: { info() {} } })
    const mail = await mailAt(`smtps://user:hunter2@localhost:${port}`)
    try {
      const message = await messageOf(naming('SMTP_URL', mail.verify()))
      expect(message).toMatch(/^SMTP_URL: the server's certificate is not trusted/)
      expect(message).not.toContain('hunter2')
    } finally {
      mail.close()
      server.close()
    }
  })

  test('Kafka: an authority of its own, and not without TLS', () => {
    const env = { KAFKA_BROKERS: 'kafka:9093', KAFKA_TLS: 'on', KAFKA_TLS_CA_FILE: ours.caFile }
    const ca = readFileSync(ours.caFile, 'utf8').trim()
    expect(kafkaSettings(loadConfig(env, '/nowhere').config)).toEqual({ brokers: ['kafka:9093'], ssl: { ca } })
    const off = loadConfig({ ...env, KAFKA_TLS: 'off' }, '/nowhere').config
    expect(() => kafkaSettings(off)).toThrow(/^KAFKA_TLS_CA is set/)
  })
})

test('what waiting may cure is no refusal', () => {
  const gone = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' })
  expect(refusalOf(gone)).toBeNull()
  expect(refusalOf(new AggregateError([gone]))).toBeNull()
  expect(refusalOf(new Error('x', { cause: new Error('self-signed certificate in certificate chain') }))).toMatch(
    /self/,
  )
})

async function firstOf(store: ReturnType<typeof connectEventStore>): Promise<void> {
  for await (const _ of store.readAll({ prefixes: [''] })) return
}
