/** One message of AWS Marketplace, from the queue to its end: kept first, then acted upon. */
import { type Delivery, readMessage } from './lifecycle.ts'
import { keep, noteOutcome, type Outcome, partyOfMessage } from './messages.ts'
import { type MarketplaceDeps, settle } from './settle.ts'

/**
 * Handles a delivery. When it returns, the message is in Postgres and needs no further delivery.
 * @throws AwsUnavailable, EventStoreUnavailable, what Ledger.execute throws, or a fault: the message is kept, `waiting`
 */
export async function handle(deps: MarketplaceDeps, delivery: Delivery): Promise<Outcome | { state: 'unknown' }> {
  const message = readMessage(delivery)
  const state = await keep(deps.pool, delivery, message)
  if (state === 'handled') return { state, outcome: 'delivered again' }
  if (message.said.kind === 'unknown') {
    deps.onAlarm(`A message of AWS Marketplace is not understood: ${message.said.reason}`, { id: message.id })
    return { state: 'unknown' }
  }
  const party = await partyOfMessage(deps.pool, message)
  if (party !== undefined) return settle(deps, party, message.id)
  const outcome: Outcome = { state: 'waiting', outcome: 'no message has named the licence of this agreement yet' }
  await noteOutcome(deps.pool, [message], outcome)
  return outcome
}
