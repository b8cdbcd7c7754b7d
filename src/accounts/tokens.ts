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

/** Digits only: a phone shows the numeric keys for the field that takes either this or an authenticator's code. */
const recoveryDigits = 24 // 24 × log2(10) = 80 bits, so a plain SHA-256 of the code cannot be searched
const recoveryCodeCount = 10

/** Ten codes: six groups of four digits, with hyphens between them. */
export function makeRecoveryCodes(): string[] {
  const group = () => randomInt(10_000).toString().padStart(4, '0')
  return Array.from({ length: recoveryCodeCount }, () => Array.from({ length: recoveryDigits / 4 }, group).join('-'))
}

/** SHA-256 of a recovery code, typed with or without spaces and hyphens; null for what cannot be one. */
export function hashRecoveryCode(typed: string): Buffer | null {
  const digits = typed.replace(/[\s-]/g, '')
  if (digits.length !== recoveryDigits || !/^\d+$/.test(digits)) return null
  return createHash('sha256').update(digits).digest()
}

/** How an e-mail address stands in a table or a counter that need not know it. */
export function hashEmail(email: string): string {
  return createHash('sha256').update(email.toLowerCase()).digest('hex')
}
