/** The two secrets of an installation: given as settings, or made once and kept in the data directory. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecretsKeys } from '../accounts/seal.ts'
import { type Config, ConfigError } from '../config.ts'

export interface Secrets {
  /** SECRETS_KEY and, where it is set, SECRETS_KEY_PREVIOUS: 32 bytes each. */
  readonly secretsKeys: SecretsKeys
  /** Ed25519. */
  readonly auditSigningKey: KeyObject
}

/**
 * Nothing is generated where the database or the event store is somebody else's: every instance must have the same
 * secrets, and a folder of this machine is not where the others look.
 * @throws ConfigError
 */
export function refuseMissingSecrets(config: Config): void {
  const shared = config.DATABASE_URL === undefined ? 'EVENTSTORE_URL' : 'DATABASE_URL'
  const missing = (['SECRETS_KEY', 'AUDIT_SIGNING_KEY'] as const).filter((name) => config[name] === undefined)
  if (missing.length > 0 && config[shared] !== undefined) {
    throw new ConfigError(`${missing.join(' and ')} must be set when ${shared} is: see \`liveness config\`.`)
  }
}

const secretsKeyFile = ({ DATA_DIR }: Config) => join(DATA_DIR, 'secrets.key')

/**
 * The keys of a change of SECRETS_KEY, as they are set; the next may also be the one kept in the data directory. Makes none.
 * @throws ConfigError
 */
export async function keysOfChange(config: Config): Promise<{ readonly next: Buffer; readonly previous: Buffer }> {
  const { SECRETS_KEY_PREVIOUS: previous } = config
  const next = config.SECRETS_KEY ?? Buffer.from(await ifThere(secretsKeyFile(config)), 'base64')
  const missing = [
    ...(next.length > 0 ? [] : ['SECRETS_KEY, the new key,']),
    ...(previous === undefined ? ['SECRETS_KEY_PREVIOUS, the one before it,'] : []),
  ]
  if (previous === undefined || missing.length > 0) throw new ConfigError(`Set ${missing.join(' and ')} to rotate.`)
  if (previous.equals(next)) {
    throw new ConfigError('SECRETS_KEY and SECRETS_KEY_PREVIOUS are the same key: set SECRETS_KEY to the new one.')
  }
  return { next, previous }
}

/**
 * The secrets to work with. Call while holding the data directory's lock: what is missing is generated there.
 * @throws ConfigError
 */
export async function secretsOf(config: Config): Promise<Secrets> {
  refuseMissingSecrets(config)
  const secretsKey =
    config.SECRETS_KEY ??
    Buffer.from(await kept(secretsKeyFile(config), () => `${randomBytes(32).toString('base64')}\n`), 'base64')
  const { SECRETS_KEY_PREVIOUS: previous } = config
  return {
    secretsKeys: previous === undefined || previous.equals(secretsKey) ? [secretsKey] : [secretsKey, previous],
    auditSigningKey:
      config.AUDIT_SIGNING_KEY ?? createPrivateKey(await kept(join(config.DATA_DIR, 'audit-signing.key'), makePem)),
  }
}

const makePem = () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

const ifThere = (path: string): Promise<string> =>
  readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return ''
  })

/** Content of a file that only its owner can read, made on first use. Whole and on disk before anything uses it. */
async function kept(path: string, make: () => string): Promise<string> {
  const found = await ifThere(path)
  if (found !== '') return found
  const made = make()
  const part = `${path}.part`
  const file = await open(part, 'w', 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(made)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(part, path)
  return made
}
