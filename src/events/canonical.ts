/** The one byte form of a JSON value: RFC 8785, the JSON Canonicalization Scheme. */
import canonicalize from 'canonicalize'

/** @throws Error when the value has no such form (a lone surrogate, a number that is none) */
export function canonicalText(value: unknown): string {
  const text = canonicalize(value)
  if (text === undefined) throw new Error('no canonical form')
  return text
}

/** UTF-8 of the canonical form: what is hashed and signed. */
export const canonicalBytes = (value: unknown): Buffer => Buffer.from(canonicalText(value))
