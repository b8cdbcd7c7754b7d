/** Keys derived from SECRETS_KEY, and the encryption of secrets that must be read back (those of authenticators). */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto'

/** A key of 32 bytes for one purpose (HKDF-SHA-256, RFC 5869): what leaks of one says nothing of another. */
export function deriveKey(secretsKey: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secretsKey, '', purpose, 32))
}

/**
 * SECRETS_KEY and, while it is being changed, the other one: 32 bytes each. The first writes, all are accepted. The
 * order may change while the program runs, so whoever uses them looks each time.
 */
export type SecretsKeys = readonly Buffer[]

/** The key of one purpose from each of them, in their order. */
export const deriveKeys = (secretsKeys: SecretsKeys, purpose: string): Buffer[] =>
  secretsKeys.map((secretsKey) => deriveKey(secretsKey, purpose))

/** Names a key without telling it: the first 8 hex characters of SHA-256 over it. */
const keyIdOf = (key: Buffer): string => createHash('sha256').update(key).digest('hex').slice(0, 8)

const sealPurpose = 'secrets of authenticators'
/** What everything begins with that was sealed under a key. */
export const sealPrefix = (secretsKey: Buffer): string => `v1.${keyIdOf(deriveKey(secretsKey, sealPurpose))}.`

const nonceBytes = 12
const tagBytes = 16

/** What was sealed with another key, for another owner, or changed since. */
export class CannotUnseal extends Error {
  override name = 'CannotUnseal'
}

export interface Seal {
  /** `v1.{key id}.{nonce, ciphertext and tag as Base64url}`. Only `owner` can be given to read it again. */
  seal(plain: string, owner: string): string
  /** @throws CannotUnseal */
  unseal(sealed: string, owner: string): string
}

/**
 * AES-256-GCM. The key's id stands in what is sealed, so that a new SECRETS_KEY can be introduced beside the old one:
 * the first of the keys seals, all unseal.
 */
export function createSeal(secretsKeys: SecretsKeys): Seal {
  const keys = () => deriveKeys(secretsKeys, sealPurpose).map((key) => ({ id: keyIdOf(key), key }))
  return {
    seal(plain, owner) {
      const [first] = keys()
      if (first === undefined) throw new Error('a seal needs a key')
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', first.key, nonce).setAAD(Buffer.from(owner))
      const bytes = Buffer.concat([nonce, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `v1.${first.id}.${bytes.toString('base64url')}`
    },
    unseal(sealed, owner) {
      const [version, keyId, content = ''] = sealed.split('.')
      const key = keys().find(({ id }) => id === keyId)
      if (version !== 'v1' || key === undefined) throw new CannotUnseal(`sealed with the unknown key ${keyId}`)
      const bytes = Buffer.from(content, 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.key, bytes.subarray(0, nonceBytes))
          .setAAD(Buffer.from(owner))
          .setAuthTag(bytes.subarray(-tagBytes))
        return decipher.update(bytes.subarray(nonceBytes, -tagBytes), undefined, 'utf8') + decipher.final('utf8')
      } catch (error) {
        throw new CannotUnseal('it was changed, or sealed for another owner', { cause: error })
      }
    },
  }
}

/** HMAC-SHA-256 over parts that are told apart by their lengths' separator, which none of them holds. */
export function mac(key: Buffer, ...parts: readonly string[]): Buffer {
  return createHmac('sha256', key).update(parts.join('\0')).digest()
}
