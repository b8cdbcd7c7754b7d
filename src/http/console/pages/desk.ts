/** What each page route begins and ends with: whose it is, the frame, the change, the answer. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CustomerCommand } from '../../../commands/customer.ts'
import { ApiError } from '../../envelope.ts'
import { change, type Done } from '../change.ts'
import { csrfToken, signedInOf, takeFlash } from '../context.ts'
import type { Html, PageProps } from '../layout.tsx'
import type { ConsolePagesDependencies, Customer } from './dependencies.ts'

export function createDesk(deps: ConsolePagesDependencies) {
  const found = (request: FastifyRequest): Promise<Customer | null> =>
    deps.reads.customer(signedInOf(request).customerId, deps.clock.now())
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
      const customer = await found(request)
      if (customer === null)
        throw new ApiError('service_unavailable', 'Your account is being set up. Try again in a moment.')
      return customer
    },
    /** For pages that must be there from the first moment on: null while the read models have not heard. */
    customerIfKnown: found,
    /** @throws what `change` throws */
    change: (request: FastifyRequest, command: CustomerCommand): Promise<Done> => change(deps, request, command),
  }
}

export type Desk = ReturnType<typeof createDesk>
