import { randomBytes } from 'node:crypto'
import { generateSync } from 'otplib'
import { describe, expect, test } from 'vitest'
import { subjects } from '../../src/accounts/lockout.ts'
import { CannotUnseal, createSeal, deriveKey } from '../../src/accounts/seal.ts'
import { hashRecoveryCode, makeMailCode, makeRecoveryCodes, makeToken } from '../../src/accounts/tokens.ts'
import { codeDigits, makeTotpSecret, matchTotp, totpUri } from '../../src/accounts/totp.ts'

describe('the seal over secrets of authenticators', () => {
  const [key, other] = [randomBytes(32), randomBytes(32)]

  test('gives a secret back to its owner, and twice the same secret looks different', () => {
    const { seal, unseal } = createSeal([key])
    const sealed = seal('SECRET', 'owner')
    expect(unseal(sealed, 'owner')).toBe('SECRET')
    expect(sealed).not.toContain('SECRET')
    expect(seal('SECRET', 'owner')).not.toBe(sealed)
  })

  test('refuses another owner, a changed byte and an unknown key', () => {
    const { seal, unseal } = createSeal([key])
    const sealed = seal('SECRET', 'owner')
    const changed = sealed.slice(0, -4) + (sealed.endsWith('AAAA') ? 'BBBB' : 'AAAA')
    expect(() => unseal(sealed, 'another')).toThrow(CannotUnseal)
    expect(() => unseal(changed, 'owner')).toThrow(CannotUnseal)
    expect(() => createSeal([other]).unseal(sealed, 'owner')).toThrow(CannotUnseal)
  })

  test('reads what an earlier SECRETS_KEY sealed beside the new one, which seals from then on', () => {
    const before = createSeal([other]).seal('SECRET', 'owner')
    const rotated = createSeal([key, other])
    expect(rotated.unseal(before, 'owner')).toBe('SECRET')
    expect(createSeal([key]).unseal(rotated.seal('SECRET', 'owner'), 'owner')).toBe('SECRET')
  })

  test('derives a key of its own for each purpose', () => {
    expect(deriveKey(key, 'one')).toHaveLength(32)
    expect(deriveKey(key, 'one').equals(deriveKey(key, 'another'))).toBe(false)
  })
})

describe('codes of an authenticator', () => {
  const secret = makeTotpSecret()
  const now = Date.UTC(2026, 4, 4, 12, 34, 56)
  const at = (seconds: number) => generateSync({ secret, epoch: now / 1_000 + seconds })

  test('are good in their half minute and in the one before and after, not in any other', () => {
    const step = Math.floor(now / 30_000)
    const found = [-60, -30, 0, 30, 60].map((seconds) => matchTotp(secret, at(seconds), now))
    expect(found).toEqual([null, step - 1, step, step + 1, null])
  })

  test('may be typed as apps show them, and nothing else is taken for one', () => {
    expect(codeDigits(' 123 456 ')).toBe('123456')
    expect(['12345', '1234567', '12345a', '', '١٢٣٤٥٦'].map(codeDigits)).toEqual([null, null, null, null, null])
  })

  test('come from a secret of 160 bits, which the QR code carries with the account’s address', () => {
    expect(secret).toMatch(/^[A-Z2-7]{32}$/)
    expect(totpUri(secret, 'ada@example.com')).toBe(
      `otpauth://totp/Liveness%20Detection:ada%40example.com?secret=${secret}&issuer=Liveness%20Detection`,
    )
  })
})

describe('tokens and codes', () => {
  test('links and cookies carry 256 random bits', () => {
    const { token, hash } = makeToken()
    expect(token).toMatch(/^[\w-]{43}$/)
    expect(hash).toHaveLength(32)
  })

  test('a code for the mail has six digits, leading zeros kept', () => {
    for (let i = 0; i < 1_000; i++) expect(makeMailCode()).toMatch(/^\d{6}$/)
  })

  test('recovery codes are ten, all different, of 24 digits, and are recognised without their hyphens', () => {
    const codes = makeRecoveryCodes()
    expect(new Set(codes).size).toBe(10)
    for (const code of codes) {
      expect(code).toMatch(/^(\d{4}-){5}\d{4}$/)
      expect(hashRecoveryCode(` ${code.replaceAll('-', ' ')}`)).toEqual(hashRecoveryCode(code))
    }
    expect(['', '123456', 'abcd-1234-1234-1234-1234-1234'].map(hashRecoveryCode)).toEqual([null, null, null])
  })
})

test('failures are counted by IPv4 address, and by the /64 network of an IPv6 address', () => {
  const { address } = subjects
  expect(address('192.0.2.7')).toBe('address:192.0.2.7')
  expect(address('::ffff:192.0.2.7')).toBe('address:192.0.2.7')
  expect(address('2001:db8:1:2:3:4:5:6')).toBe('address:2001:db8:1:2::/64')
  expect(address('2001:db8::3:4')).toBe('address:2001:db8:0:0::/64')
  expect(address('::1')).toBe('address:0:0:0:0::/64')
})
