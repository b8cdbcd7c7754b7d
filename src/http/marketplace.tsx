/**
 * Where AWS Marketplace sends its buyers. AWS has the buyer's browser post a form from its own site, so these routes ask
 * for no token against cross-site requests: the registration token, and then our ticket, are what cannot be forged.
 */

import fastifyFormbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { z } from 'zod'
import type { SecretsKeys } from '../accounts/seal.ts'
import type { Register } from '../marketplace/registration.ts'
import type { Html } from './console/layout.tsx'
import { errorStatus } from './envelope.ts'
import { endingOf, logEnding } from './errors.ts'
import { EmailForm, Ending, type EndingName, LinkSent, statusOf, TryAgain } from './marketplace-pages.tsx'
import { createTickets } from './marketplace-ticket.ts'

export interface MarketplaceDependencies {
  /** The package's version: it stands at the foot of every page. */
  readonly version: string
  /** The tickets' keys are derived from them. */
  readonly secretsKeys: SecretsKeys
  readonly register: Register
  /** Whether somebody can sign in for this customer already. */
  readonly isActive: (customerId: string) => Promise<boolean>
  readonly sendActivation: (customerId: string, email: string) => Promise<'sent' | 'address_taken' | 'active'>
  /** Whether a failure passes by itself: of AWS, Postgres, the event store, the clock, or the mail. */
  readonly isUnavailable: (error: unknown) => boolean
}

const registerUrl = '/marketplace/register'
const accountUrl = '/marketplace/account'
const tokenField = 'x-amzn-marketplace-token'
const bodyLimit = 16 * 1024

const headers = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; " +
    "base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

const form = z.object({
  [tokenField]: z.string().trim().min(1).optional(),
  ticket: z.string().optional(),
  email: z.string().trim().optional(),
})
const address = z.string().max(254).pipe(z.email())

/** Each attempt costs calls to AWS, or a letter: so many a minute from one address, and letters an hour for a customer. */
const attemptsPerMinute = 30
const lettersPerHour = 10

/** A plugin: `app.register(registerMarketplace, { deps })`. The pages' stylesheet is the console's. */
export async function registerMarketplace(
  app: FastifyInstance,
  { deps }: { readonly deps: MarketplaceDependencies },
): Promise<void> {
  const { version } = deps
  const tickets = createTickets(deps.secretsKeys)
  const perAddress = new RateLimiterMemory({ points: attemptsPerMinute, duration: 60 })
  const letters = new RateLimiterMemory({ points: lettersPerHour, duration: 3_600 })
  await app.register(fastifyFormbody, { bodyLimit })
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(headers)
  })
  app.setErrorHandler(answerError)

  app.get(registerUrl, { schema: { hide: true } }, (request, reply) => end(request, reply, 'no_token'))

  app.post(registerUrl, { schema: { hide: true }, bodyLimit }, async (request, reply) => {
    const token = fieldsOf(request)[tokenField]
    if (token === undefined) return end(request, reply, 'invalid')
    if (!(await allowed(perAddress, request.ip))) return end(request, reply, 'too_many')
    const registration = await deps.register(token, request.id)
    if (registration.kind !== 'customer') return end(request, reply, registration.kind)
    const { customerId, plan } = registration
    if (await deps.isActive(customerId)) return end(request, reply, 'used')
    return show(reply, <EmailForm version={version} ticket={tickets.issue(customerId)} plan={plan} />)
  })

  app.post(accountUrl, { schema: { hide: true }, bodyLimit }, async (request, reply) => {
    const { ticket = '', email = '' } = fieldsOf(request)
    const customerId = tickets.read(ticket)
    if (customerId === null) return end(request, reply, 'expired')
    const again = (error: string, status: number) =>
      show(reply, <EmailForm version={version} ticket={ticket} email={email} error={error} />, status)
    if (!address.safeParse(email).success) return again('Enter an e-mail address, like name@example.com.', 400)
    if (!(await allowed(letters, customerId))) return end(request, reply, 'too_many')
    switch (await deps.sendActivation(customerId, email)) {
      case 'sent':
        return show(reply, <LinkSent version={version} ticket={ticket} email={email} />)
      case 'address_taken':
        return again('This address has the account of another subscription. Enter another one.', 409)
      case 'active':
        return end(request, reply, 'used')
    }
  })

  async function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const ending = endingOf(thrown, deps.isUnavailable)
    // To register again bills nobody: here also an outcome that nobody knows may be answered.
    const status = ending.kind === 'answer' ? errorStatus[ending.error.code] : errorStatus.service_unavailable
    logEnding(request.log, ending, thrown, 'a registration from AWS Marketplace failed')
    if (status === errorStatus.service_unavailable) {
      const { [tokenField]: token = '', ticket = '', email = '' } = fieldsOf(request)
      const again =
        request.routeOptions.url === accountUrl
          ? { action: accountUrl, fields: { ticket, email } }
          : { action: registerUrl, fields: { [tokenField]: token } }
      reply.header('retry-after', '5')
      return show(reply, <TryAgain version={version} {...again} />, status)
    }
    if (status < 500) return end(request, reply, 'invalid')
    return end(request, reply, 'broken')
  }

  function end(request: FastifyRequest, reply: FastifyReply, name: EndingName): Promise<FastifyReply> {
    return show(reply, <Ending name={name} version={version} requestId={request.id} />, statusOf(name))
  }
}

const fieldsOf = ({ body }: FastifyRequest): z.infer<typeof form> => form.safeParse(body).data ?? {}

async function show(reply: FastifyReply, page: Html, status = 200): Promise<FastifyReply> {
  return reply
    .code(status)
    .type('text/html; charset=utf-8')
    .send(await page)
}

async function allowed(limiter: RateLimiterMemory, key: string): Promise<boolean> {
  try {
    await limiter.consume(key)
    return true
  } catch (rejected) {
    if (rejected instanceof RateLimiterRes) return false
    throw rejected
  }
}
