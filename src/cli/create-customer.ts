/** Registering a customer, for the command line, the first start and the demonstration. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { System } from '../app/system.ts'
import { makeApiKey } from '../commands/keys.ts'
import type { PlanName } from '../events/catalogue.ts'
import { transaction } from '../postgres/pool.ts'
import { commit, shown } from './operate.ts'
import { CommandError } from './output.ts'

export interface CreateOptions {
  readonly plan: PlanName
  readonly hardCap: boolean
  readonly limit?: number
  readonly email?: string
}

/** What `customer create --json` prints. */
export interface CreatedCustomer {
  readonly customer_id: string
  readonly plan: PlanName
  readonly monthly_limit: number
  /** null with an e-mail address: the keys are then issued, and shown, when the account is activated. */
  readonly keys: { readonly primary: string; readonly secondary: string } | null
}

/**
 * Registers a customer and waits until the read models show them. The keys in the answer are kept nowhere: whoever gets
 * them shows them once.
 * @throws CommandError, NotFreshYet: registered, with their account, and not shown yet
 */
export async function createCustomer(
  system: Pick<System, 'pool' | 'ledgers' | 'freshness'>,
  options: CreateOptions,
): Promise<CreatedCustomer> {
  const customerId = randomUUID()
  const primary = makeApiKey()
  const secondary = makeApiKey()
  const register = () =>
    commit(system, customerId, {
      type: 'RegisterCustomer',
      customerId,
      plan: options.plan,
      monthlyLimit: options.limit,
      hardCap: options.hardCap,
      licence: { kind: 'none' },
      keys: options.email === undefined ? { primary: primary.key, secondary: secondary.key } : undefined,
    })
  const executed =
    options.email === undefined
      ? await register()
      : await insertAccount(system.pool, customerId, options.email, register)
  await shown(system, customerId, executed)
  const { state } = executed
  return {
    customer_id: customerId,
    plan: state.terms.plan,
    monthly_limit: state.terms.monthlyLimit,
    keys: options.email === undefined ? { primary: primary.secret, secondary: secondary.secret } : null,
  }
}

/**
 * Gives a customer that `register` is about to make their account. The row is written first and committed last: a
 * registration that fails leaves no account behind, and an address that is taken registers nobody. The transaction
 * outlasts all tries of a registration; `register` waits for the event store and for nothing else.
 */
async function insertAccount<T>(
  pool: pg.Pool,
  customerId: string,
  email: string,
  register: () => Promise<T>,
): Promise<T> {
  return transaction(pool, async (client) => {
    await client.query("set local idle_in_transaction_session_timeout = '2min'")
    await client
      .query('insert into accounts (customer_id, email) values ($1, $2)', [customerId, email])
      .catch((error: unknown) => {
        if (error instanceof pg.DatabaseError && error.code === '23505') {
          throw new CommandError(`There is an account with the address ${email} already.`)
        }
        throw error
      })
    return register()
  })
}
