/** API keys: made here, shown once, kept as SHA-256 only. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const randomCharacters = 29 // 29 × log2(62) = 172 bits, so a plain SHA-256 of the key cannot be searched

export interface NewApiKey {
  readonly keyId: string
  readonly keyHash: string
  /** The first 8 characters, by which the key is listed. */
  readonly prefix: string
}

/** Makes a key from the system's CSPRNG. `secret` is the key itself: show it once, store it nowhere. */
export function makeApiKey(): { readonly secret: string; readonly key: NewApiKey } {
  let characters = ''
  while (characters.length < randomCharacters) {
    for (const byte of randomBytes(64)) {
      // 248 is the largest multiple of 62 in a byte: larger values are dropped, so every character is equally likely.
      if (byte < 248 && characters.length < randomCharacters) characters += base62[byte % 62]
    }
  }
  const secret = `lc_${characters}`
  return { secret, key: { keyId: randomUUID(), keyHash: hashApiKey(secret), prefix: secret.slice(0, 8) } }
}

/** Hex SHA-256 of a key as sent. */
export function hashApiKey(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
