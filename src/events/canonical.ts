/** The one byte form of a JSON value: RFC 8785, the JSON Canonicalization Scheme. */
import canonicalize from 'canonicalize'
import { configure } from 'safe-stable-stringify'

// In half the time, which is most of what an event costs to hash. For everything that JSON can say the two write the
// same but for a lone surrogate, which stringify escapes and RFC 8785 refuses.
const stable = configure({ strict: true })
const maybeSurrogate = '\\ud'

/** @throws Error when the value has no such form (a lone surrogate, a number that is none) */
export function canonicalText(value: unknown): string {
  const text = stable(value)
  const form = text?.includes(maybeSurrogate) ? canonicalize(value) : text
  if (form === undefined) throw new Error('no canonical form')
  return form
}

/** UTF-8 of the canonical form: what is hashed and signed. */
export const canonicalBytes = (value: unknown): Buffer => Buffer.from(canonicalText(value))
