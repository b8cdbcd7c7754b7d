/** Time-based one-time passwords (RFC 6238: SHA-1, six digits, 30 seconds, what every authenticator app takes). */
import { generateSecret, generateURI, verifySync } from 'otplib'

/** A code is good in its own half minute and in the ones before and after: phones' clocks differ. In seconds. */
const tolerance = 30
const issuer = 'Liveness Detection'

/** 160 random bits, as Base32. */
export const makeTotpSecret = (): string => generateSecret({ length: 20 })

/** What the QR code holds. */
export const totpUri = (secret: string, email: string): string => generateURI({ issuer, label: email, secret })

/** Whether it looks like a code at all; spaces in the middle are how apps show them. */
export const codeDigits = (typed: string): string | null => {
  const digits = typed.replace(/\s/g, '')
  return /^\d{6}$/.test(digits) ? digits : null
}

/**
 * The time step whose code this is, or null. Which steps were used before is for the caller to know: it must refuse a
 * step that is not later than the last accepted one.
 *
 * @param now milliseconds since the epoch
 */
export function matchTotp(secret: string, digits: string, now: number): number | null {
  const epoch = Math.floor(now / 1_000)
  const result = verifySync({ secret, token: digits, epoch, epochTolerance: tolerance })
  return result.valid && 'timeStep' in result ? result.timeStep : null
}
