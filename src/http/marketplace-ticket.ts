/**
 * What a buyer's browser carries from the registration to the form for the e-mail address: proof that AWS sent it for
 * this customer. It is no cookie, for it is good for one form only.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { deriveKeys, type SecretsKeys } from '../accounts/seal.ts'

export interface Tickets {
  issue(customerId: string): string
  /** The customer it was issued for; null when it is not ours or has expired. */
  read(ticket: string): string | null
}

const goodForMs = 3_600_000

export function createTickets(secretsKeys: SecretsKeys, now: () => number = Date.now): Tickets {
  /** By each key: the first is given out, all are accepted. */
  const sign = (content: string): Buffer[] =>
    deriveKeys(secretsKeys, 'tickets of AWS Marketplace registrations').map((key) =>
      createHmac('sha256', key).update(content).digest(),
    )
  return {
    issue(customerId) {
      const content = `${customerId}.${now() + goodForMs}`
      return `${content}.${sign(content)[0]?.toString('base64url')}`
    },
    read(ticket) {
      const [, content = '', customerId = '', expiresAt = '', signature = ''] =
        /^(([0-9a-f-]{36})\.(\d{1,15}))\.([\w-]+)$/.exec(ticket) ?? []
      const given = Buffer.from(signature, 'base64url')
      const isOurs = sign(content).some((own) => own.length === given.length && timingSafeEqual(own, given))
      if (!isOurs) return null
      return Number(expiresAt) > now() ? customerId : null
    },
  }
}
