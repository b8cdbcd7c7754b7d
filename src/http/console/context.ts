/**
 * What every page of the console stands on: who is signed in, the token of its forms, and the notice after a redirect.
 *
 * Routes are registered with their full path (`/console/keys`). `session.ts` runs before each of them and fills
 * `request.visit`; a route that is a customer's own adds `preHandler: requireSession`.
 */
import type {} from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Accounts } from '../../accounts/accounts.ts'
import type { SecretsKeys } from '../../accounts/seal.ts'
import type { Session } from '../../accounts/types.ts'
import type { Clock } from '../../commands/clock.ts'
import type { Ledgers } from '../../commands/ledgers.ts'
import type { Slot } from '../../events/catalogue.ts'
import { ApiError } from '../envelope.ts'

export interface SignedIn {
  readonly accountId: string
  readonly customerId: string
  readonly email: string
  readonly sessionId: string
}

/** A request to the console as `session.ts` found it. */
export interface Visit {
  readonly session: Session | null
  /** Token of the session's cookie: it is hashed at rest, so only the request itself knows it. */
  readonly token: string | null
  readonly csrf: string
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Null outside the console. */
    visit: Visit | null
  }
}

/** What the console asks of the rest of the program, besides what the pages ask (`pages/dependencies.ts`). */
export interface ConsoleDependencies {
  /** The package's version: it stands at the foot of every page. */
  readonly version: string
  /** Address the outside world uses, without a slash at its end. Cookies are Secure where it is https. */
  readonly publicUrl: string
  readonly accounts: Accounts
  readonly ledgers: Pick<Ledgers, 'execute'>
  /** Waits, bounded, until the read models show the customer's stream up to `revision`. @throws NotFreshYet */
  readonly shows: (customerId: string, revision: bigint) => Promise<void>
  /** Whether a failure passes by itself: Postgres out of reach, a read model not fresh yet. */
  readonly isUnavailable: (error: unknown) => boolean
  readonly clock: Pick<Clock, 'now'>
  /** The keys of form tokens and signed cookies are derived from them. */
  readonly secretsKeys: SecretsKeys
}

/** A key just issued. It goes into the one response that shows it, and nowhere else. */
export interface ShownKey {
  readonly slot: Slot
  readonly secret: string
}

/**
 * The preHandler of a customer's own pages: browsers without a session are sent to sign in, and from there back.
 * @throws ApiError forbidden, to a client that asked for JSON
 */
export async function requireSession(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  if (request.visit?.session?.stage === 'full') return undefined
  if (wantsJson(request)) throw new ApiError('forbidden', 'There is no session, or it has ended. Sign in again.')
  const next = request.method === 'GET' ? `?next=${encodeURIComponent(request.url)}` : ''
  return reply.redirect(`/console/sign-in${next}`, 303)
}

/** Who is signed in, on a route behind `requireSession`. */
export function signedInOf(request: FastifyRequest): SignedIn {
  const session = request.visit?.session
  if (session?.stage !== 'full') throw new Error(`${request.routeOptions.url} is not behind requireSession`)
  const { accountId, customerId, email, sessionId } = session
  return { accountId, customerId, email, sessionId }
}

/** Value of the hidden input `_csrf` of every form. A POST without the right one gets 403 before its handler runs. */
export function csrfToken(request: FastifyRequest): string {
  if (request.visit === null) throw new Error(`${request.routeOptions.url} is not part of the console`)
  return request.visit.csrf
}

const flashCookie = 'notice'
const flashSeconds = 60

/** Keeps what is now true for the page after the redirect, in a signed cookie. */
export function flash(reply: FastifyReply, notice: string): void {
  reply.setCookie(flashCookie, notice, { signed: true, maxAge: flashSeconds })
}

/** The notice of the request before this one, shown once; null without one. */
export function takeFlash(request: FastifyRequest, reply: FastifyReply): string | null {
  const cookie = request.cookies[flashCookie]
  if (cookie === undefined) return null
  reply.clearCookie(flashCookie)
  const { valid, value } = request.unsignCookie(cookie)
  return valid ? value : null
}

/** Whether a client asked for the common JSON structure and not for a page. */
export function wantsJson({ headers }: FastifyRequest): boolean {
  const { accept = '', 'content-type': type = '' } = headers
  if (accept.includes('text/html')) return false
  return accept.includes('application/json') || type.startsWith('application/json')
}
