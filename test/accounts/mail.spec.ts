import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createMail, MailFailed } from '../../src/mail/mail.ts'
import { startSmtpServer } from '../support/smtp.ts'

const from = 'Liveness Detection API <no-reply@example.com>'
const letter = { to: 'ada@example.com', subject: 'Grüße', text: 'Hello,\n\n.a line that begins with a dot\n' }

async function mailer(smtpUrl?: string) {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-mail-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const outboxDir = join(folder, 'outbox')
  const logged: unknown[] = []
  const log = { info: (...line: unknown[]) => void logged.push(line) }
  const mail = await createMail({ smtpUrl, from, outboxDir, log })
  onTestFinished(() => mail.close())
  return { mail, outboxDir, logged }
}

describe('without SMTP_URL', () => {
  test('a letter lies in the outbox, for its owner only, and the log says where without saying whose', async () => {
    const { mail, outboxDir, logged } = await mailer()
    await mail.send({ ...letter, messageId: '<one@example.com>' })
    const [name = '', ...others] = await readdir(outboxDir)
    expect(others).toEqual([])
    expect(name).toMatch(/\.eml$/)
    expect((await stat(join(outboxDir, name))).mode & 0o777).toBe(0o600)
    expect((await stat(outboxDir)).mode & 0o777).toBe(0o700)
    const text = await readFile(join(outboxDir, name), 'utf8')
    expect(text).toMatch(/^To: ada@example\.com$/m)
    expect(text).toMatch(/^From: Liveness Detection API <no-reply@example\.com>$/m)
    expect(text).toMatch(/^Message-ID: <one@example\.com>$/m)
    expect(text).toContain('Hello,')
    expect(JSON.stringify(logged)).toContain(name)
    expect(JSON.stringify(logged)).not.toContain('ada')
  })

  test('a folder that is there already is used', async () => {
    const { mail, outboxDir } = await mailer()
    await mkdir(outboxDir)
    await mail.send(letter)
    await mail.send(letter)
    expect(await readdir(outboxDir)).toHaveLength(2)
  })
})

async function smtpServer(options?: Parameters<typeof startSmtpServer>[0]) {
  const server = await startSmtpServer(options)
  onTestFinished(() => server.stop())
  return { ...server, url: `smtp://127.0.0.1:${server.port}` }
}

describe('with SMTP_URL', () => {
  test('letters go to the mail server, over one connection, and none into the outbox', async () => {
    const server = await smtpServer()
    const { mail, outboxDir } = await mailer(server.url)
    await mail.send({ ...letter, messageId: '<one@example.com>' })
    await mail.send(letter)
    expect(server.received).toHaveLength(2)
    expect(new Set(server.received.map(({ session }) => session)).size).toBe(1)
    const [first] = server.received
    expect(first).toMatchObject({ from: 'no-reply@example.com', to: ['ada@example.com'] })
    expect(first?.text).toMatch(/^Message-ID: <one@example\.com>$/m)
    expect(first?.text).toMatch(/^\.a line that begins with a dot$/m)
    await expect(readdir(outboxDir)).rejects.toThrow('ENOENT')
  })

  test('a refusal is an error that names no address', async () => {
    const server = await smtpServer({
      onRcptTo({ address }, _, done) {
        done(Object.assign(new Error(`no mailbox ${address} here`), { responseCode: 550 }))
      },
    })
    const { mail } = await mailer(server.url)
    const error = await mail.send(letter).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(MailFailed)
    expect(String(error)).toContain('550')
    expect(String(error)).not.toContain('ada')
  })

  test('a server that is not there is an error', async () => {
    const { mail } = await mailer('smtp://127.0.0.1:1')
    await expect(mail.send(letter)).rejects.toThrow(MailFailed)
  })
})
