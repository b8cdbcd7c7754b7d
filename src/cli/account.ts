/** What an operator does for a customer's account: send the way in, take a lost authenticator away, lift a lock-out. */
import { join } from 'node:path'
import type { Command } from 'commander'
import { AccountError, type MadeLink, makeActivationLink, resetAuthenticator, unlock } from '../accounts/links.ts'
import type { System } from '../app/system.ts'
import { loadConfig } from '../config.ts'
import { createMail, MailFailed } from '../mail/mail.ts'
import { transaction } from '../postgres/pool.ts'
import { runningHere } from './installation.ts'
import { CommandError, customerIdArgument, print, printJson } from './output.ts'
import { withSystem } from './system.ts'

export function addAccountCommands(customer: Command): void {
  customer
    .command('send-activation')
    .description('send the link by which an account is activated; an earlier link no longer works')
    .argument('<customer-id>', '', customerIdArgument)
    .option('--json', 'one JSON object')
    .action((id: string, { json }: { json?: true }) =>
      withSystem(async (system) => {
        const link = await sendActivation(system, id)
        if (json) return printJson({ customer_id: id, activation_link: link })
        print(`Activation link  ${link}`)
        print('It works once, and for 7 days.')
      }),
    )

  customer
    .command('reset-totp')
    .description('take the authenticator and recovery codes away, end all sessions, send a link to set up a new one')
    .argument('<customer-id>', '', customerIdArgument)
    .option('--json', 'one JSON object')
    .action((id: string, { json }: { json?: true }) =>
      withSystem(async (system) => {
        const link = await send(system, (db, publicUrl) => resetAuthenticator(db, publicUrl, id))
        if (json) return printJson({ customer_id: id, authenticator_link: link })
        print(`Link to set up a new authenticator  ${link}`)
        print('It asks for the password, works once, and for 7 days. Until then nobody can sign in to this account.')
      }),
    )

  customer
    .command('unlock')
    .description('lift the waits after failed sign-ins, codes and resets')
    .argument('<customer-id>', '', customerIdArgument)
    .option('--json', 'one JSON object')
    .action((id: string, { json }: { json?: true }) =>
      withSystem(async ({ pool }) => {
        await unlock(pool, id).catch(asCommandError)
        if (json) return printJson({ customer_id: id, unlocked: true })
        print(`The account of ${id} is no longer locked.`)
      }),
    )
}

/** Makes a link for activation, sends it by mail, and returns it. @throws CommandError */
export function sendActivation(system: System, customerId: string): Promise<string> {
  return send(system, (db, publicUrl) => makeActivationLink(db, publicUrl, customerId))
}

type Transaction = Parameters<Parameters<typeof transaction>[1]>[0]

async function send(
  { pool }: System,
  make: (db: Transaction, publicUrl: string) => Promise<MadeLink>,
): Promise<string> {
  const { config } = loadConfig()
  const runtime = await runningHere(config)
  const publicUrl = (config.PUBLIC_URL ?? runtime?.httpUrl ?? `http://localhost:${config.PORT}`).replace(/\/+$/, '')
  const { email, url, letter } = await transaction(pool, (client) => make(client, publicUrl)).catch(asCommandError)
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const mail = await createMail({
    smtpUrl: config.SMTP_URL,
    from: config.MAIL_FROM,
    outboxDir: join(config.DATA_DIR, 'outbox'),
    log: { info: ({ file }) => say(`No SMTP_URL is set: the letter lies in ${file}`) },
  })
  try {
    await mail.send({ to: email, ...letter })
  } catch (error) {
    // The link is made and works: it is shown here, and the operator can send it by other means.
    if (!(error instanceof MailFailed)) throw error
    say(`The link was not sent: ${error.message}.`)
  } finally {
    mail.close()
  }
  return url
}

function asCommandError(error: unknown): never {
  throw error instanceof AccountError ? new CommandError(error.message) : error
}
