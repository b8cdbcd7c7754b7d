/** What every role stands on: servers, tables, secrets, connections and mail, and settings that cannot work refused. */
import type { KeyObject } from 'node:crypto'
import type { Logger } from 'pino'
import type { SecretsKeys } from '../accounts/seal.ts'
import type { Config, Role } from '../config.ts'
import { roleLog } from '../http/logging.ts'
import type { Mail } from '../mail/mail.ts'
import { kafkaSettings } from '../relay/kafka-settings.ts'
import { openMail } from './console.ts'
import type { Failures } from './failures.ts'
import { prepareDatabaseWhenThere } from './prepare.ts'
import { naming, refuseWrongAddresses } from './refusals.ts'
import { refuseMissingSecrets, secretsOf } from './secrets.ts'
import { keepKeys } from './secrets-keys.ts'
import { type Stack, startStack } from './stack.ts'
import { type Clocks, openSystem, type System } from './system.ts'
import type { Undo } from './undo.ts'

/** What every step of a start has in hand. */
export interface Start {
  readonly config: Config
  readonly roles: readonly Role[]
  /** Of the process; the roles' lines say which role they are of. */
  readonly log: Logger
  readonly undo: Undo
  readonly failures: Failures
}

export interface Foundation {
  readonly stack: Stack
  readonly system: System
  readonly mail: Mail
  readonly secretsKeys: SecretsKeys
  /** Ed25519. */
  readonly auditSigningKey: KeyObject
}

/**
 * @param signal ends a start that still waits for Postgres
 * @throws the signal's reason, ConfigError, DataDirInUse, MovedAway, RestoreUnfinished, MoveUnfinished
 */
export async function layFoundation(start: Start, clocks: Clocks, signal: AbortSignal): Promise<Foundation> {
  const { config, roles, undo, failures } = start
  const log = roleLog(start.log, roles)
  refuseMissingSecrets(config)
  kafkaSettings(config) // before anything is made: it refuses what does not fit together
  const stack = await startStack(config, log)
  undo.add('the servers', () => stack.stop())
  const { secretsKeys: given, auditSigningKey } = await secretsOf(config)
  await naming('DATABASE_URL', prepareDatabaseWhenThere(stack.databaseUrl, log, signal))
  const system = await openSystem({ ...stack, ...clocks, log })
  undo.add('connections', () => system.close())
  const kept = await keepKeys(system.pool, given, (error) => {
    log.fatal({ err: error, alarm: 'secrets' }, error.message)
    failures.fail(error)
  })
  undo.add('secrets', () => kept.stop())
  const mail = await openMail(config, log)
  undo.add('mail', async () => mail.close())
  await refuseWrongAddresses(config, system.store, mail)
  return { stack, system, mail, secretsKeys: kept.keys, auditSigningKey }
}
