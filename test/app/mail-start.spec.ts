/** SMTP_URL at a start: STARTTLS, an authority of one's own, a password, and the sentences for what is wrong. */
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Certificates, makeCertificates } from '../support/certificates.ts'
import { reachableFolder } from '../support/folder.ts'
import { command, environment } from '../support/product.ts'
import { type SmtpServer, startSmtpServer } from '../support/smtp.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'

const run = promisify(execFile)
const there = spawnSync('openssl', ['version']).status === 0
if (!there) console.warn('SKIPPED: mail by STARTTLS needs the command openssl')

describe.skipIf(!there)('a start with SMTP_URL', () => {
  const folder = reachableFolder('liveness-smtp-')
  let stack: TestStack
  let certificates: Certificates
  let server: SmtpServer
  let plainServer: SmtpServer

  beforeAll(async () => {
    certificates = makeCertificates(folder, 'ours')
    stack = await startTestStack()
    server = await startSmtpServer({
      key: readFileSync(certificates.keyFile),
      cert: readFileSync(certificates.certFile),
      onAuth({ username, password }, _, done) {
        if (username === 'ada' && password === 'right') done(null, { user: username })
        else done(new Error('wrong password'))
      },
    })
    plainServer = await startSmtpServer()
  })
  afterAll(async () => {
    await Promise.all([server?.stop(), plainServer?.stop()])
    await stack?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** What a start would do with this mail server (test/app/mail-child.mjs), as one process: an authority is added to a whole one. */
  const check = async (env: Record<string, string>): Promise<string> => {
    const { stdout } = await run(process.execPath, [fileURLToPath(new URL('mail-child.mjs', import.meta.url))], {
      env: environment(env),
    })
    return stdout
  }
  const trusting = () => ({ NODE_EXTRA_CA_CERTS: certificates.caFile })
  const urlOf = ({ port }: SmtpServer, password = 'right') => `smtp://ada:${password}@localhost:${port}?requireTLS=true`

  test('STARTTLS by an authority of one’s own, and the password: letters arrive that way', async () => {
    expect(await check({ ...trusting(), SMTP_URL: urlOf(server) })).toBe('sent\n')
    expect(server.received).toMatchObject([{ to: ['eve@example.com'], secure: true, user: 'ada' }])
  })

  test.each([
    [
      'another authority',
      () => ({ SMTP_URL: urlOf(server) }),
      /^SMTP_URL: the server's certificate is not trusted \(.*\)\. .*NODE_EXTRA_CA_CERTS=FILE adds an authority/,
    ],
    [
      'a server without STARTTLS where the address requires it',
      () => ({ ...trusting(), SMTP_URL: urlOf(plainServer) }),
      /^SMTP_URL: the server offers no TLS, which the address requires\. requireTLS=true/,
    ],
  ] as const)('%s is a sentence that names the setting and no secret', async (_, env, sentence) => {
    const said = await check(env())
    expect(said).toMatch(sentence)
    expect(said).not.toContain('right')
  })

  test('a wrong password ends `liveness start` with a sentence that names the setting and not the password', async () => {
    const env = { ...stack.env, ...trusting(), SMTP_URL: urlOf(server, 'hunter2') }
    const end: { code?: number; stderr?: string } = await run(
      process.execPath,
      [command, 'start', '--roles', 'projections'],
      { env: environment(env) },
    ).catch((error) => error)
    expect([end.code, end.stderr]).toEqual([
      1,
      expect.stringMatching(
        /^liveness: SMTP_URL: the server refuses the user name or the password\. .*user and password stand there.*\n$/,
      ),
    ])
    expect(end.stderr).not.toContain('hunter2')
  })
})
