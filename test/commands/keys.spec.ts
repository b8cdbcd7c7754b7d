import { expect, test } from 'vitest'
import { hashApiKey, makeApiKey } from '../../src/commands/keys.ts'

test('a key is lc_ and 29 Base62 characters, listed by its first 8, kept as its SHA-256', () => {
  const { secret, key } = makeApiKey()
  expect(secret).toMatch(/^lc_[0-9A-Za-z]{29}$/)
  expect(key.prefix).toBe(secret.slice(0, 8))
  expect(key.keyHash).toBe(hashApiKey(secret))
  expect(JSON.stringify(key)).not.toContain(secret)
})

test('keys do not repeat and use the whole alphabet', () => {
  const secrets = Array.from({ length: 500 }, () => makeApiKey().secret.slice(3))
  expect(new Set(secrets).size).toBe(500)
  expect(new Set(secrets.join('')).size).toBe(62)
})
