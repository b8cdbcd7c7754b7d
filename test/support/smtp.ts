/** A mail server for tests: real SMTP, STARTTLS and passwords, by the author of the client that the product uses. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export interface ReceivedLetter {
  readonly from: string
  readonly to: readonly string[]
  /** Header and text, as it came, with `\n` for line ends. */
  readonly text: string
  /** Whether it came by TLS, and signed in as whom. */
  readonly secure: boolean
  readonly user: string | undefined
  /** Of the connection. */
  readonly session: string
}

export interface SmtpServer {
  readonly port: number
  readonly received: readonly ReceivedLetter[]
  stop(): Promise<void>
}

/** Listens on 127.0.0.1. By default without TLS and open to everybody. */
export async function startSmtpServer(options: SMTPServerOptions = {}): Promise<SmtpServer> {
  const received: ReceivedLetter[] = []
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    ...(options.key === undefined ? { disabledCommands: ['STARTTLS'] } : {}),
    ...options,
    async onData(stream, { envelope, secure, user, id }, done) {
      const text = Buffer.concat(await stream.toArray()).toString()
      received.push({
        from: envelope.mailFrom === false ? '' : envelope.mailFrom.address,
        to: envelope.rcptTo.map(({ address }) => address),
        text: text.replaceAll('\r\n', '\n'),
        secure,
        user,
        session: id,
      })
      done()
    },
  })
  server.on('error', () => {}) // a client that hangs up in the middle of a handshake
  const listener = server.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    port: (listener.address() as AddressInfo).port,
    received,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
