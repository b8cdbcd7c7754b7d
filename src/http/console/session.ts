/** The session's cookie, and the hook that finds out who is visiting before any page is made. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { StartedSession } from '../../accounts/types.ts'
import type { ConsoleDependencies } from './context.ts'
import { createCsrf } from './csrf.ts'

export interface SessionCookies {
  /** Gives the browser its new session, and returns the token for the forms of this very answer. */
  begin(reply: FastifyReply, started: StartedSession): string
  end(reply: FastifyReply): void
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Behind TLS a browser takes these cookies from this very host only, and sends them over TLS only. */
export const isSecure = (publicUrl: string): boolean => publicUrl.startsWith('https:')

/** The script of a page sends a header with what it asks for by itself; a browser without script follows a marked address. */
function isAttended({ headers, query }: FastifyRequest): boolean {
  return headers['x-refresh'] === undefined && !(typeof query === 'object' && query !== null && 'refresh' in query)
}

/** Adds the hooks that fill `request.visit` and refuse forms without their token. */
export function registerSessions(
  app: FastifyInstance,
  { accounts, secretsKeys, publicUrl }: Pick<ConsoleDependencies, 'accounts' | 'secretsKeys' | 'publicUrl'>,
): SessionCookies {
  const prefix = isSecure(publicUrl) ? '__Host-' : ''
  const cookie = `${prefix}liveness-session`
  const csrf = createCsrf(secretsKeys, publicUrl, `${prefix}liveness-visitor`)

  app.addHook('onRequest', async (request, reply) => {
    // The stylesheet and its like are the same for everybody, and are kept by browsers for ever.
    if (request.routeOptions.url?.startsWith('/console/assets/')) return
    const sent = request.cookies[cookie]
    const session = sent === undefined ? null : await accounts.findSession(sent, { attended: isAttended(request) })
    const token = session === null ? null : (sent ?? null)
    request.visit = { session, token, csrf: csrf.tokenOf(request, reply, token) }
  })
  app.addHook('preHandler', async (request) => {
    if (!safeMethods.has(request.method)) csrf.check(request)
  })

  return {
    begin(reply, { token }) {
      reply.setCookie(cookie, token)
      return csrf.tokenOfSession(token)
    },
    end(reply) {
      reply.clearCookie(cookie)
    },
  }
}
