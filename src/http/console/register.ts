/** Everything under /console, as one plugin: headers, cookies, sessions, errors as pages, and the pages themselves. */
import fastifyCookie from '@fastify/cookie'
import fastifyFormbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PasswordsBusy } from '../../accounts/passwords.ts'
import { deriveKeys } from '../../accounts/seal.ts'
import { ApiError, errorStatus } from '../envelope.ts'
import { endingOf, logEnding } from '../errors.ts'
import { type ConsoleDependencies, wantsJson } from './context.ts'
import { ErrorPage } from './identity/error-page.tsx'
import { registerIdentity } from './identity/register.ts'
import type { ConsolePagesDependencies } from './pages/dependencies.ts'
import { registerPages } from './pages/register.ts'
import { isSecure, registerSessions } from './session.ts'

/** Forms are short. */
const bodyLimit = 16 * 1024

/**
 * Nothing runs or is loaded but our own files, nothing is sent elsewhere, and nobody may frame a page.
 *
 * The referrer policy is same-origin and not no-referrer: under the latter browsers send `Origin: null` with our own
 * forms, which tells nothing. Other sites learn no address either way.
 */
const headers = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
  'cache-control': 'no-store',
}
/** A year. */
const strictTransport = 'max-age=31536000'

async function nothingHere(): Promise<never> {
  throw new ApiError('not_found', 'There is nothing at this address.')
}

/** Fastify's refusals whose sentences are about the API's photographs elsewhere. */
const refusedForms: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'The form is too long.',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'This is not a form of this console.',
}

function inWordsOfAPage(thrown: unknown): unknown {
  if (thrown instanceof PasswordsBusy) return new ApiError('service_unavailable', thrown.message, { cause: thrown })
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  const refused = refusedForms[code]
  return refused === undefined ? thrown : new ApiError('invalid_request', refused, { cause: thrown })
}

export async function registerConsole(
  app: FastifyInstance,
  { deps }: { readonly deps: ConsoleDependencies & ConsolePagesDependencies },
): Promise<void> {
  const secure = isSecure(deps.publicUrl)
  app.addHook('onRoute', (route) => {
    route.bodyLimit ??= bodyLimit
    // Not part of the API that its description describes.
    route.schema = { ...route.schema, hide: true } as NonNullable<typeof route.schema>
  })
  app.decorateRequest('visit', null)
  const protect = (reply: FastifyReply) =>
    reply.headers(secure ? { ...headers, 'strict-transport-security': strictTransport } : headers)
  app.addHook('onRequest', async (_request, reply) => void protect(reply))
  await app.register(fastifyCookie, {
    // Those of now: which one signs may change meanwhile, and all are accepted.
    secret: deriveKeys(deps.secretsKeys, 'signed cookies').map((key) => key.toString('base64')),
    parseOptions: { path: '/', httpOnly: true, sameSite: 'lax', secure },
  })
  await app.register(fastifyFormbody, { bodyLimit })
  app.setErrorHandler(answerError)
  const cookies = registerSessions(app, deps)
  registerIdentity(app, deps, cookies)
  registerPages(app, deps)
  // Unknown addresses below /console end as pages too. To read one is a route: who is signed in stays so in its frame.
  app.get('/console/*', nothingHere)
  await app.register(async (scope) => void scope.setNotFoundHandler(nothingHere), { prefix: '/console' })

  async function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const error = inWordsOfAPage(thrown)
    const ending = endingOf(error, deps.isUnavailable)
    // The server's own handler writes the common structure, and closes what must not be answered.
    if (wantsJson(request) || ending.kind !== 'answer') throw error
    const { error: answer } = ending
    request.errorCode = answer.code
    logEnding(request.log, ending, thrown, answer.message)
    if (answer.retryAfterSeconds !== undefined) reply.header('retry-after', String(answer.retryAfterSeconds))
    const page = await ErrorPage({ error: answer, request, version: deps.version })
    // Once more: an unknown address ends before the hooks of this plugin.
    return protect(reply).code(errorStatus[answer.code]).type('text/html; charset=utf-8').send(page)
  }
}
