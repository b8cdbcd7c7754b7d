/** What an operator decides about AWS Marketplace: whose a licence is, and what becomes of a message. */
import { randomUUID } from 'node:crypto'
import { licenceIdentity } from '../commands/plans.ts'
import { handle } from './handle.ts'
import { closeUnknown, forgetUndecided, listMessages, listUndecided, type Outcome } from './messages.ts'
import { reserve } from './reservation.ts'
import { type MarketplaceDeps, settle, stateOf } from './settle.ts'

/** What was asked cannot be done; the message is for the operator. */
export class CannotAssign extends Error {
  override name = 'CannotAssign'
}

export interface Assigned {
  readonly customerId: string
  readonly outcome: string
}

/**
 * Gives a licence that waits for a decision to a customer, or with null to a new one, whom the buyer's next registration
 * finds.
 * @throws CannotAssign, and what settle throws: ask again
 */
export async function assign(deps: MarketplaceDeps, licenceId: string, customerId: string | null): Promise<Assigned> {
  const undecided = (await listUndecided(deps.pool)).find(({ party }) => licenceIdentity(party.licence) === licenceId)
  if (undecided === undefined) throw new CannotAssign(`No licence ${licenceId} waits for a decision.`)
  const { party } = undecided
  const cause = `operator:${randomUUID()}`
  if (customerId !== null) {
    const state = await stateOf(deps, customerId, cause)
    if (state.customerId === '') throw new CannotAssign(`There is no customer ${customerId}.`)
    if (state.deactivated) throw new CannotAssign(`Customer ${customerId} is deactivated.`)
  }
  const holder = await reserve(deps, {
    licence: party.licence,
    customerId: customerId ?? randomUUID(),
    now: deps.clock.now(),
    origin: { correlationId: cause, causationId: cause, actor: 'operator' },
  })
  if (customerId !== null && holder.customerId !== customerId) {
    await forgetUndecided(deps.pool, party.licence)
    throw new CannotAssign(`The licence was given to customer ${holder.customerId} meanwhile.`)
  }
  const { outcome } = await settle(deps, party, cause)
  return { customerId: holder.customerId, outcome }
}

/**
 * Handles a kept message again.
 * @throws CannotAssign, and what handle throws
 */
export async function retryMessage(
  deps: MarketplaceDeps,
  id: string,
): Promise<Outcome | { readonly state: 'unknown' }> {
  const message = (await listMessages(deps.pool)).find((one) => one.id === id)
  if (message === undefined) throw new CannotAssign(`There is no message ${id}.`)
  const { deliveryId, sentAt, body } = message
  const outcome = await handle(deps, { messageId: deliveryId, sentAt: sentAt.toISOString(), body })
  // By now it is kept by another name, which says its kind.
  if (outcome.state !== 'unknown') await closeUnknown(deps.pool, id, 'understood by now, and kept by its kind')
  return outcome
}

/**
 * Closes a message that no version understands and that has been read by a person. One that is understood is closed by
 * what it says.
 * @throws CannotAssign
 */
export async function dismissMessage(
  { pool }: Pick<MarketplaceDeps, 'pool'>,
  id: string,
  reason: string,
): Promise<void> {
  if (await closeUnknown(pool, id, `dismissed: ${reason}`)) return
  const message = (await listMessages(pool)).find((one) => one.id === id)
  throw new CannotAssign(
    message === undefined
      ? `There is no message ${id}.`
      : `Message ${id} is ${message.state}: only one that is not understood can be dismissed.`,
  )
}
