/** The console's side of the program: accounts, mail, and the questions its pages ask. */

import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { createAccounts } from '../accounts/accounts.ts'
import { createPasswords } from '../accounts/passwords.ts'
import type { SecretsKeys } from '../accounts/seal.ts'
import { exportApart } from '../audit/export-apart.ts'
import { passesByItself } from '../commands/transient.ts'
import type { Config } from '../config.ts'
import type { ConsoleDependencies } from '../http/console/context.ts'
import type { ConsolePagesDependencies } from '../http/console/pages/dependencies.ts'
import { createMail, type Mail } from '../mail/mail.ts'
import { consoleReads } from '../readmodels/console.ts'
import { version } from '../version.ts'
import { anchorDirOf } from './anchors.ts'
import type { System } from './system.ts'

export interface Console {
  readonly deps: ConsoleDependencies & ConsolePagesDependencies
  /** Waits for letters under way, then ends what runs beside. Call it when no request comes any more. */
  close(): Promise<void>
}

/** Address the outside world uses, without a slash at its end. */
export const publicUrlOf = (config: Config): string =>
  (config.PUBLIC_URL ?? `http://localhost:${config.PORT}`).replace(/\/+$/, '')

export const openMail = (config: Config, log: Logger): Promise<Mail> =>
  createMail({ smtpUrl: config.SMTP_URL, from: config.MAIL_FROM, outboxDir: join(config.DATA_DIR, 'outbox'), log })

export interface ConsoleParts {
  readonly config: Config
  readonly system: System
  readonly mail: Mail
  readonly secretsKeys: SecretsKeys
  readonly auditSigningKey: KeyObject
  readonly eventStoreUrl: string
  readonly log: Logger
}

export function openConsole(parts: ConsoleParts): Console {
  const { config, system, mail, secretsKeys, log } = parts
  const { pool, store, ledgers, freshness, clock } = system
  const publicUrl = publicUrlOf(config)
  const passwords = createPasswords()
  const accounts = createAccounts({ pool, passwords, mail, secretsKeys, publicUrl, log })
  return {
    deps: {
      version,
      publicUrl,
      accounts,
      ledgers,
      shows: (customerId, revision) => freshness.waitFor(customerId, revision),
      isUnavailable: passesByItself,
      clock,
      secretsKeys,
      reads: consoleReads(pool, store),
      bundle: bundles(parts),
      metering: { submitted: config.METERING_SUBMIT, graceSeconds: config.METERING_GRACE },
    },
    async close() {
      await accounts.drained()
      await passwords.close()
    },
  }
}

/** Bundles as customers get them: from the anchors that are there, for nobody outside may have one taken. */
function bundles({ config, system, auditSigningKey, eventStoreUrl, log }: ConsoleParts) {
  const signingKey = auditSigningKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const anchorDir = anchorDirOf(config)
  const olderKeys = (config.AUDIT_OLDER_PUBLIC_KEYS ?? []).map((key) =>
    key.export({ type: 'spki', format: 'pem' }).toString(),
  )
  const onBadAnchor = (message: string) => log.warn({ alarm: 'anchor' }, message)
  return (customerId: string, month: string) =>
    exportApart(
      { eventStoreUrl, anchorDir, signingKey, olderKeys, customerId, month, now: system.clock.now() },
      onBadAnchor,
    )
}
