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

/** What stands between the lines BEGIN and END of a PEM: Base64 with its line breaks, or without. */
const derOf = (pemBody: string): Buffer => Buffer.from(pemBody, 'base64')

/** SPKI PEMs, one behind the other, their line breaks kept or not: a line of `.env` has none. */
export const publicKeys = text.transform((value, context) => {
  try {
    const pems = value.matchAll(/-----BEGIN PUBLIC KEY-----([^-]+)-----END PUBLIC KEY-----/g)
    const keys = [...pems].map(([, body = '']) => createPublicKey({ key: derOf(body), format: 'der', type: 'spki' }))
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
    const key = createPrivateKey({ key: derOf(value.replace(/-----[A-Z ]+-----/g, '')), format: 'der', type: 'pkcs8' })
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below in our own words: OpenSSL's would not name the setting.
  }
  context.addIssue('not an Ed25519 key')
  return z.NEVER
})
