/** Commands of an operator: decided and committed like everybody else's, through the customer's ledger. */
import { randomUUID } from 'node:crypto'
import type { System } from '../app/system.ts'
import type { Executed } from '../commands/batch.ts'
import type { CustomerCommand } from '../commands/customer.ts'
import { AttemptInDoubt, LedgerUnavailable } from '../commands/errors.ts'
import { CommandError } from './output.ts'

const maxTries = 4
/** A new key is shown only after the wait, and lost with it: an operator would rather wait. In milliseconds. */
const patienceMs = 60_000

/**
 * Commits a command and waits until the read models show it, so that whatever the operator asks next sees it.
 * @throws CommandError when the decider refuses
 */
export async function operate(system: System, customerId: string, command: CustomerCommand): Promise<Executed> {
  const executed = await commit(system, customerId, command)
  await shown(system, customerId, executed)
  return executed
}

/** Waits until the read models show what a command has committed. @throws NotFreshYet */
export function shown(
  { freshness }: Pick<System, 'freshness'>,
  customerId: string,
  { revision }: Pick<Executed, 'revision'>,
): Promise<void> {
  return freshness.waitFor(customerId, revision, patienceMs)
}

/**
 * Waits until the read models show all that is in the customer's stream: after a crash, or with servers started for
 * the moment, they may still be on their way. Does nothing for an unknown customer.
 */
export async function upToDate(system: System, customerId: string): Promise<void> {
  const id = randomUUID()
  const origin = { correlationId: id, causationId: id, actor: 'operator' }
  const executed = await system.ledgers.execute(customerId, { command: { type: 'Observe' }, origin })
  if (executed.revision >= 0n) await shown(system, customerId, executed)
}

/** Commits a command. @throws CommandError when the decider refuses */
export async function commit(
  { ledgers }: Pick<System, 'ledgers'>,
  customerId: string,
  command: CustomerCommand,
): Promise<Executed> {
  const id = randomUUID()
  const origin = { correlationId: id, causationId: id, actor: 'operator' }
  for (let attempt = 1; ; attempt++) {
    try {
      const executed = await ledgers.execute(customerId, { command, origin })
      if (executed.kind !== 'refused') return executed
      // The id was made for this registration: if it is taken, an earlier try landed after all.
      if (executed.refusal === 'already_registered' && attempt > 1) return executed
      throw new CommandError(executed.message)
    } catch (error) {
      if (error instanceof AttemptInDoubt) {
        throw new CommandError('The event store did not answer: this may have taken effect. `customer show` tells.')
      }
      // An unknown outcome of a registration is repeated with the same id; nothing else is in that stream.
      if (!(error instanceof LedgerUnavailable) || command.type !== 'RegisterCustomer' || attempt === maxTries) {
        throw error
      }
    }
  }
}
