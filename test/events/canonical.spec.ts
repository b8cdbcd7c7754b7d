import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalText } from '../../src/events/canonical.ts'

test('whatever JSON can say has the form that RFC 8785 gives it', () => {
  const value = fc.json({ stringUnit: 'binary' }).map((text): unknown => JSON.parse(text))
  fc.assert(fc.property(value, (value) => canonicalText(value) === canonicalize(value)))
})

test('keys are sorted by code units, numbers and escapes are those of ECMAScript, text that looks like an escape stays', () => {
  const value = { '\ufb33': 1, '\u{1f600}': 2, b: -0, a: [1e21, 1e-7, 'é\u2028\u0007"\\'], 10: 'x', 9: '\\ud800' }
  expect(canonicalText(value)).toBe(
    '{"10":"x","9":"\\\\ud800","a":[1e+21,1e-7,"é\u2028\\u0007\\"\\\\"],"b":0,"\u{1f600}":2,"\ufb33":1}',
  )
})

test.each([{ a: '\ud800' }, { '\udc00': 1 }, [Number.NaN], [Infinity], undefined])('%j has no form', (value) => {
  expect(() => canonicalText(value)).toThrow(Error)
})
