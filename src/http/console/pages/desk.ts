/** What each page route begins and ends with: whose it is, the frame, the change, the answer. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Executed } from '../../../commands/batch.ts'
import type { CustomerCommand } from '../../../commands/customer.ts'
import { ApiError } from '../../envelope.ts'
import { csrfToken, signedInOf, takeFlash } from '../context.ts'
import type { Html, PageProps } from '../layout.tsx'
import type { ConsolePagesDependencies, Customer } from './dependencies.ts'

export type Done = Extract<Executed, { readonly kind: 'done' }>

/** Refusals that mean that the thing to be changed does not exist; the others are wrong requests. */
const notFound: ReadonlySet<string> = new Set(['nothing_scheduled', 'scheduled_by_marketplace', 'no_such_customer'])

export function createDesk(deps: ConsolePagesDependencies) {
  return {
    /** What goes around a page, with the notice of the request before. */
    frame(
      request: FastifyRequest,
      reply: FastifyReply,
    ): Omit<PageProps, 'title' | 'place'> & { readonly csrf: string } {
      const { email } = signedInOf(request)
      // A page that is fetched behind the scenes shows its notice to nobody: it waits for the next one.
      const notice = request.headers['x-refresh'] === undefined ? takeFlash(request, reply) : null
      return { signedIn: { email }, csrf: csrfToken(request), notice, version: deps.version }
    },
    async show(reply: FastifyReply, page: Html, status = 200): Promise<FastifyReply> {
      return reply
        .code(status)
        .type('text/html; charset=utf-8')
        .send(await page)
    },
    /** @throws ApiError service_unavailable while the read models have not heard of a new customer */
    async customer(request: FastifyRequest): Promise<Customer> {
      const found = await deps.reads.customer(signedInOf(request).customerId, deps.clock.now())
      if (found === null)
        throw new ApiError('service_unavailable', 'Your account is being set up. Try again in a moment.')
      return found
    },
    /**
     * Runs a command in the name of who is signed in.
     * @throws ApiError where it is refused, what Ledger.execute throws
     */
    async change(request: FastifyRequest, command: CustomerCommand): Promise<Done> {
      const { accountId, customerId } = signedInOf(request)
      const origin = { correlationId: request.id, causationId: request.id, actor: `console:${accountId}` }
      // No key was looked up on the way here, so nobody has asked yet whether a doubt stands: the ledger asks.
      const executed = await deps.ledgers.execute(customerId, { command, origin }, { doubtStanding: true })
      if (executed.kind === 'done') return executed
      if (executed.kind !== 'refused') throw new Error(`${command.type} ended as ${executed.kind}`)
      throw new ApiError(notFound.has(executed.refusal) ? 'not_found' : 'invalid_request', executed.message)
    },
  }
}

export type Desk = ReturnType<typeof createDesk>
