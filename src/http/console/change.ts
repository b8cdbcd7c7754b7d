/** What a customer changes from the console goes through the ledger, in the name of who is signed in. */
import type { FastifyRequest } from 'fastify'
import type { Executed } from '../../commands/batch.ts'
import type { CustomerCommand } from '../../commands/customer.ts'
import { ApiError } from '../envelope.ts'
import { type ConsoleDependencies, signedInOf } from './context.ts'

export type Done = Extract<Executed, { readonly kind: 'done' }>

/** Refusals that mean that the thing to be changed does not exist; the others are wrong requests. */
const notFound: ReadonlySet<string> = new Set(['nothing_scheduled', 'scheduled_by_marketplace', 'no_such_customer'])

/**
 * Runs a command. No key was looked up on the way here, so nobody has asked yet whether a doubt stands: the ledger asks,
 * unless a command of this request made it do so a moment ago. Then commands of one tick go out as one append.
 * @throws ApiError where it is refused, what Ledger.execute throws
 */
export async function change(
  { ledgers }: Pick<ConsoleDependencies, 'ledgers'>,
  request: FastifyRequest,
  command: CustomerCommand,
  { doubtStanding = true } = {},
): Promise<Done> {
  const { accountId, customerId } = signedInOf(request)
  const origin = { correlationId: request.id, causationId: request.id, actor: `console:${accountId}` }
  const executed = await ledgers.execute(customerId, { command, origin }, { doubtStanding })
  if (executed.kind === 'done') return executed
  if (executed.kind !== 'refused') throw new Error(`${command.type} ended as ${executed.kind}`)
  throw new ApiError(notFound.has(executed.refusal) ? 'not_found' : 'invalid_request', executed.message)
}

/** Tries of two seconds each. The event is written: to give up means that nobody ever sees the key. */
const triesToShow = 5

/**
 * Waits until the key table holds a key just made: before that a call with it would be refused.
 * @param message what the customer is told, and may do, where it takes too long
 * @throws ApiError service_unavailable
 */
export async function keyKnown(
  { shows, isUnavailable }: Pick<ConsoleDependencies, 'shows' | 'isUnavailable'>,
  customerId: string,
  revision: bigint,
  message: string,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await shows(customerId, revision)
    } catch (error) {
      if (!isUnavailable(error)) throw error
      if (attempt === triesToShow) throw new ApiError('service_unavailable', message, { cause: error })
    }
  }
}
