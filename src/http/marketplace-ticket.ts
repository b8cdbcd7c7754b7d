/**
 * What a buyer's browser carries from the registration to the form for the e-mail address: proof that AWS sent it for
 * this customer. It is no cookie, for it is good for one form only.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

export interface Tickets {
  issue(customerId: string): string
  /** The customer it was issued for; null when it is not ours or has expired. */
  read(ticket: string): string | null
}

const goodForMs = 3_600_000

export function createTickets(secretsKey: Buffer, now: () => number = Date.now): Tickets {
  const key = Buffer.from(hkdfSync('sha256', secretsKey, '', 'tickets of AWS Marketplace registrations', 32))
  const sign = (content: string) => createHmac('sha256', key).update(content).digest()
  return {
    issue(customerId) {
      const content = `${customerId}.${now() + goodForMs}`
      return `${content}.${sign(content).toString('base64url')}`
    },
    read(ticket) {
      const [, content = '', customerId = '', expiresAt = '', signature = ''] =
        /^(([0-9a-f-]{36})\.(\d{1,15}))\.([\w-]+)$/.exec(ticket) ?? []
      const given = Buffer.from(signature, 'base64url')
      const expected = sign(content)
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
      return Number(expiresAt) > now() ? customerId : null
    },
  }
}
