import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { decodeBase64 } from '../../src/inference/base64.ts'

test.each([1, 2, 3, 100, 5000])('%i bytes come back as they were', (length) => {
  const bytes = randomBytes(length)
  expect(decodeBase64(bytes.toString('base64'))).toEqual(bytes)
})

test.each([
  ['nothing', ''],
  ['a line end', 'QUJD\nQUJD'],
  ['a trailing line end', 'QUJD\n'],
  ['blanks', 'QUJD    '],
  ['the URL-safe alphabet', '-_-_'],
  ['missing padding', 'QUI'],
  ['too much padding', 'QUJD===='],
  ['padding in the middle', 'QQ==QUJD'],
  ['one character too many', 'QUJDQ'],
  ['bits beyond the last byte', 'QUJ='],
  ['a data URL', 'data:image/jpeg;base64,QUJD'],
  ['letters that are not ASCII', 'ÄÖÜß'],
])('%s is refused', (_, text) => {
  expect(decodeBase64(text)).toBeNull()
})

test('ten megabytes take milliseconds, accepted or refused', () => {
  const text = randomBytes(7.5 * 1024 * 1024).toString('base64')
  expect(text).toHaveLength(10 * 1024 * 1024)
  const start = performance.now()
  expect(decodeBase64(text)).toHaveLength(7.5 * 1024 * 1024)
  expect(decodeBase64(`${text.slice(0, -4)} QUJ`)).toBeNull()
  // Measured: 13 ms each on an idle core; the bound leaves room for a busy machine.
  expect(performance.now() - start).toBeLessThan(2_000)
})
