/** Random tokens of links and cookies, recovery codes, and the codes sent by mail. */
import { createHash, randomBytes, randomInt } from 'node:crypto'

/** 256 random bits, as Base64url: a plain SHA-256 of it cannot be searched. */
export function makeToken(): { readonly token: string; readonly hash: Buffer } {
  const token = randomBytes(32).toString('base64url')
  return { token, hash: hashToken(token) }
}

export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** Six digits, leading zeros kept. */
export function makeMailCode(): string {
  return randomInt(1_000_000).toString().padStart(6, '0')
}

/** Crockford's Base32: no letter that reads like a digit or like another letter. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const recoveryCharacters = 16 // 16 × 5 = 80 bits, so a plain SHA-256 of the code cannot be searched
export const recoveryCodeCount = 10

/** Ten codes of the form `xxxx-xxxx-xxxx-xxxx`. */
export function makeRecoveryCodes(): string[] {
  return Array.from({ length: recoveryCodeCount }, () => {
    const characters = [...randomBytes(recoveryCharacters)].map((byte) => alphabet[byte % 32]).join('')
    return characters.match(/.{4}/g)?.join('-') ?? ''
  })
}

/** SHA-256 of a recovery code however it was typed (case, spaces, hyphens, o for 0); null for what cannot be one. */
export function hashRecoveryCode(typed: string): Buffer | null {
  const code = typed.toLowerCase().replace(/[\s-]/g, '').replaceAll('o', '0').replace(/[il]/g, '1')
  if (code.length !== recoveryCharacters || [...code].some((character) => !alphabet.includes(character))) return null
  return createHash('sha256').update(code).digest()
}

/** How an e-mail address stands in a table or a counter that need not know it. */
export function hashEmail(email: string): string {
  return createHash('sha256').update(email.toLowerCase()).digest('hex')
}
