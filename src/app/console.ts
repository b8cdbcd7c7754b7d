/** The console's side of the program: accounts, mail, and the questions its pages ask. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { createAccounts } from '../accounts/accounts.ts'
import { createPasswords } from '../accounts/passwords.ts'
import type { Config } from '../config.ts'
import type { ConsoleDependencies } from '../http/console/context.ts'
import type { ConsolePagesDependencies } from '../http/console/pages/dependencies.ts'
import { createMail, type Mail } from '../mail/mail.ts'
import { isUnavailable } from '../postgres/pool.ts'
import { consoleReads } from '../readmodels/console.ts'
import { NotFreshYet } from '../readmodels/freshness.ts'
import { version } from '../version.ts'
import type { System } from './system.ts'

export interface Console {
  readonly deps: ConsoleDependencies & ConsolePagesDependencies
  /** Waits for letters under way, then ends what runs beside. Call it when no request comes any more. */
  close(): Promise<void>
}

/** Address the outside world uses, without a slash at its end. */
export const publicUrlOf = (config: Config): string =>
  (config.PUBLIC_URL ?? `http://localhost:${config.PORT}`).replace(/\/+$/, '')

export const openMail = (config: Config, log: Logger): Mail =>
  createMail({ smtpUrl: config.SMTP_URL, from: config.MAIL_FROM, outboxDir: join(config.DATA_DIR, 'outbox'), log })

export interface ConsoleParts {
  readonly config: Config
  readonly system: System
  readonly mail: Mail
  readonly secretsKey: Buffer
  readonly log: Logger
}

export function openConsole({ config, system, mail, secretsKey, log }: ConsoleParts): Console {
  const { pool, store, ledgers, freshness, clock } = system
  const publicUrl = publicUrlOf(config)
  const passwords = createPasswords()
  const accounts = createAccounts({ pool, passwords, mail, secretsKey, publicUrl, log })
  return {
    deps: {
      version,
      publicUrl,
      accounts,
      ledgers,
      shows: (customerId, revision) => freshness.waitFor(customerId, revision),
      isUnavailable: (error) => isUnavailable(error) || error instanceof NotFreshYet,
      clock,
      secretsKey,
      reads: consoleReads(pool, store),
      metering: { submitted: config.METERING_SUBMIT, graceSeconds: config.METERING_GRACE },
    },
    async close() {
      await accounts.drained()
      await passwords.close()
    },
  }
}
