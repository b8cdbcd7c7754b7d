/** What the auditor's commands take from settings and files. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { secretsOf } from '../app/secrets.ts'
import { readBounded } from '../audit/bounded-file.ts'
import { loadConfig } from '../config.ts'
import { CommandError } from './output.ts'

export async function auditSettings(): Promise<{
  signingKey: KeyObject
  /** That of `signingKey`, then those before it. */
  publicKeys: KeyObject[]
  dir: string
  dataDir: string
}> {
  const { config } = loadConfig()
  const { auditSigningKey: signingKey } = await secretsOf(config)
  const publicKeys = [createPublicKey(signingKey), ...(config.AUDIT_OLDER_PUBLIC_KEYS ?? [])]
  return {
    signingKey,
    publicKeys,
    dir: config.ANCHOR_DIR ?? join(config.DATA_DIR, 'anchors'),
    dataDir: config.DATA_DIR,
  }
}

/** @throws CommandError when the file holds none, what reading it throws */
async function readPublicKey(path: string): Promise<KeyObject> {
  const pem = await readBounded(path, 'public key', 1_048_576)
  try {
    const key = createPublicKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below: OpenSSL's words would not name the file.
  }
  throw new CommandError(`${path} holds no Ed25519 public key in PEM.`)
}

/** Said beside `--public-key`. */
export const severalKeys = 'where it was changed, repeat it: the old ones and the present one'

/** For options that may be given several times. */
export const repeated = (value: string, before: readonly string[] = []): string[] => [...before, value]

/** @throws as readPublicKey */
export const readPublicKeys = (paths: readonly string[]): Promise<KeyObject[]> => Promise.all(paths.map(readPublicKey))

export const warn = ({ message }: Error): void => void process.stderr.write(`liveness: ${message}\n`)
