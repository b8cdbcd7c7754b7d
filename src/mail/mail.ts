/** Sends mail by SMTP, or puts it into an outbox folder where no mail server is set. */
import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Letter {
  readonly to: string
  readonly subject: string
  /** Plain text; lines are kept as they are. */
  readonly text: string
  /** `<…@…>`. The same for a letter that is sent again, so that mail programs show it once. Default: a new one. */
  readonly messageId?: string | undefined
}

export interface Mail {
  /** Resolves when the mail server, or the disk, has taken the letter. @throws MailFailed */
  send(letter: Letter): Promise<void>
  /** Signs in to the mail server and sends nothing. Rejects with what the server, or the way to it, said. */
  verify(): Promise<void>
  close(): void
}

/** The letter was not taken. The message names no address: it goes into the log. */
export class MailFailed extends Error {
  override name = 'MailFailed'
}

export interface MailOptions {
  /** `smtp://` or `smtps://`; without one letters go to the outbox. */
  readonly smtpUrl: string | undefined
  readonly from: string
  /** Made when the first letter goes there, for its owner only. */
  readonly outboxDir: string
  /** Told where a letter was put. */
  readonly log: { info(facts: { readonly file: string }, message: string): void }
}

/** A mail server that says nothing must not hold up a shutdown for long. In milliseconds. */
const patience = { connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 20_000 }

export async function createMail({ smtpUrl, from, outboxDir, log }: MailOptions): Promise<Mail> {
  // Nothing of a letter's content is an address of a file or of a site, and nothing of it may become one.
  const safety = { disableFileAccess: true, disableUrlAccess: true }
  if (smtpUrl === undefined) {
    return {
      async send(letter) {
        const { createTransport } = await import('nodemailer') // not at every start: most have no letter to write
        const writer = createTransport({ streamTransport: true, buffer: true, newline: 'unix', ...safety }, { from })
        const { message } = await writer.sendMail({ ...letter })
        await mkdir(outboxDir, { recursive: true, mode: 0o700 })
        const file = join(outboxDir, `${new Date().toISOString().replaceAll(':', '-')}-${randomUUID().slice(0, 8)}.eml`)
        // Written under another name first: whoever watches the folder finds whole letters only.
        await writeFile(`${file}.part`, message, { mode: 0o600, flag: 'wx' })
        await rename(`${file}.part`, file)
        log.info({ file }, 'no SMTP_URL is set: a letter was put into the outbox')
      },
      async verify() {},
      close() {},
    }
  }
  const { createTransport } = await import('nodemailer')
  const transport = createTransport({ url: smtpUrl, pool: true, maxConnections: 2, ...patience, ...safety }, { from })
  return {
    async send(letter) {
      await transport.sendMail({ ...letter }).catch((error: Error & { code?: string; responseCode?: number }) => {
        // A server's refusal quotes the address, so its text stays out of the error.
        const { code = 'unknown', responseCode } = error
        throw new MailFailed(
          `the mail server did not take a letter (${code}${responseCode ? `, ${responseCode}` : ''})`,
        )
      })
    },
    async verify() {
      await transport.verify()
    },
    close: () => transport.close(),
  }
}
