/** Values of settings that are more than a word or a number. */
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { z } from 'zod'

const text = z.string()

/** One host, or those of a cluster with commas between, which URL does not know. */
export const eventStoreAddress = text.regex(/^esdb(\+discover)?:\/\/([^\s@/]+@)?[^\s@/,?]+(,[^\s@/,?]+)*\/?(\?\S*)?$/)

/** 32 bytes, as Base64. */
export const secretKey = text
  .regex(/^[A-Za-z0-9+/_-]+={0,2}$/)
  .transform((value) => Buffer.from(value, 'base64'))
  .refine((bytes) => bytes.length === 32)

/** SPKI PEMs, one behind the other. */
export const publicKeys = text.transform((value, context) => {
  try {
    const pems = value.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? []
    const keys = pems.map((pem) => createPublicKey(pem))
    if (keys.length > 0 && keys.every(({ asymmetricKeyType: type }) => type === 'ed25519')) return keys
  } catch {
    // As below.
  }
  context.addIssue('not Ed25519 public keys')
  return z.NEVER
})

/** A PKCS #8 PEM, its line breaks kept or not: an environment variable often loses them. */
export const signingKey = text.transform((value, context) => {
  try {
    const der = Buffer.from(value.replace(/-----[A-Z ]+-----/g, ''), 'base64')
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below in our own words: OpenSSL's would not name the setting.
  }
  context.addIssue('not an Ed25519 key')
  return z.NEVER
})
