/**
 * Proof that a form was sent by this console's own page: a token bound to the session, or, before there is one, to a
 * random cookie (signed double submit). The browser's own word about the origin is checked besides.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { deriveKeys, mac, type SecretsKeys } from '../../accounts/seal.ts'
import { ApiError } from '../envelope.ts'

const anonymousShape = /^[\w-]{22}$/

export interface Csrf {
  /** The token for the forms of this request; sets the cookie it needs where there is no session. */
  tokenOf(request: FastifyRequest, reply: FastifyReply, sessionToken: string | null): string
  /** The token for forms of the session that begins with this answer. */
  tokenOfSession(sessionToken: string): string
  /** @throws ApiError forbidden */
  check(request: FastifyRequest): void
}

export function createCsrf(secretsKeys: SecretsKeys, publicUrl: string, cookie: string): Csrf {
  /** One for each key: the first is given out, all are accepted. */
  const tokens = (kind: 'session' | 'visitor', of: string): string[] =>
    deriveKeys(secretsKeys, 'tokens of forms').map((key) => mac(key, kind, of).toString('base64url'))
  const publicHost = new URL(publicUrl).host
  const tokenOfSession = (token: string) => tokens('session', token)[0] ?? ''
  return {
    tokenOfSession,
    tokenOf(request, reply, sessionToken) {
      if (sessionToken !== null) return tokenOfSession(sessionToken)
      let visitor = request.cookies[cookie]
      if (visitor === undefined || !anonymousShape.test(visitor)) {
        visitor = randomBytes(16).toString('base64url')
        reply.setCookie(cookie, visitor)
      }
      return tokens('visitor', visitor)[0] ?? ''
    },
    check({ body, headers, visit, cookies }) {
      const { 'sec-fetch-site': site, origin, host } = headers
      const given = typeof body === 'object' && body !== null && '_csrf' in body ? body._csrf : undefined
      const foreign = (site !== undefined && site !== 'same-origin' && site !== 'none') || isForeign(origin, host)
      const accepted = visit === null ? [] : acceptedOf(visit.token, cookies[cookie])
      if (!foreign && typeof given === 'string' && accepted.some((token) => same(given, token))) return
      throw new ApiError('forbidden', 'This form is no longer valid: your session may have ended. Load the page again.')
    },
  }

  function acceptedOf(sessionToken: string | null, visitor: string | undefined): string[] {
    if (sessionToken !== null) return tokens('session', sessionToken)
    return visitor === undefined || !anonymousShape.test(visitor) ? [] : tokens('visitor', visitor)
  }

  /** Programs other than browsers send no Origin; the token is asked of them all the same. */
  function isForeign(origin: string | undefined, host: string | undefined): boolean {
    if (origin === undefined) return false
    if (!URL.canParse(origin)) return true
    const sender = new URL(origin).host
    return sender !== publicHost && sender !== host
  }
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
