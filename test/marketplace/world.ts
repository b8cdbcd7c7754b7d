/** The Marketplace side with its real parts: Postgres, ledgers, decider, read models, AWS's clients; a stand-in for AWS. */
import { onTestFinished } from 'vitest'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { licenceIdentity } from '../../src/commands/plans.ts'
import { type CustomerState, evolve, initialState } from '../../src/commands/state.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { licenceStream } from '../../src/events/metering.ts'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import { entitlementClient, meteringClient } from '../../src/marketplace/aws.ts'
import { awsEntitlements } from '../../src/marketplace/entitlements.ts'
import { handle } from '../../src/marketplace/handle.ts'
import type { MarketplaceLicence } from '../../src/marketplace/party.ts'
import { createRegister } from '../../src/marketplace/registration.ts'
import { awsResolveCustomer, rememberingResolve } from '../../src/marketplace/resolve-customer.ts'
import type { MarketplaceDeps } from '../../src/marketplace/settle.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { givenAws } from '../aws/support.ts'
import { openDatabase, projectAll } from '../projections/support.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { accountId, licenceArn, productCode } from './said.ts'

export async function createWorld(start = '2026-06-15T10:20:30.000Z', legacyProductCode?: string) {
  const { aws, setClock } = await givenAws(start)
  const database = await openDatabase()
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= database.close()
    return closed
  }
  onTestFinished(close)
  await ensureReadModels(database.pool)
  const store = createMemoryStore()
  const alarms: string[] = []
  let now = start
  const clock = { now: () => now, monthHasBegun: async () => {} }
  const patience = { sendMs: 100, attemptMs: 200 }
  const ledgers = createLedgers({ store, loadSnapshot: async () => null, doubts: memoryDoubts(), clock, patience })
  const deps: MarketplaceDeps = {
    pool: database.pool,
    store,
    ledgers,
    clock,
    patience,
    readEntitlements: awsEntitlements(entitlementClient),
    onAlarm: (message) => void alarms.push(message),
  }
  const resolve = awsResolveCustomer(() => meteringClient('us-east-1'), legacyProductCode)
  const registerToken = createRegister(deps, rememberingResolve(database.pool, resolve))
  let serial = 0

  const eventsOf = (customerId: string) =>
    store.stream(customerStream(customerId)).map((stored) => parseCustomerEvent(stored).event)
  const world = {
    aws,
    database,
    /** Closes its connections before the test ends: for a test that makes many worlds. */
    close,
    store,
    deps,
    alarms,
    eventsOf,
    typesOf: (customerId: string) => eventsOf(customerId).map(({ type }) => type),
    stateOf: (customerId: string): CustomerState => eventsOf(customerId).reduce(evolve, initialState),
    command: (customerId: string, command: CustomerCommand) =>
      ledgers.execute(customerId, { command, origin: { correlationId: 't', causationId: 't', actor: 'operator' } }),
    setClock(to: string) {
      now = to
      setClock(to)
    },
    reservationsOf: (licence: MarketplaceLicence) => store.stream(licenceStream(licenceIdentity(licence))),
    /** What the account is entitled to from now on, by licence number. */
    entitled(...list: { licence: number; plan?: string; value?: number; until?: string; account?: string }[]) {
      aws.setEntitlements(
        list.map(({ licence, plan = 'standard', value = 1, until, account = accountId }) => ({
          ProductCode: productCode,
          Dimension: plan,
          CustomerAWSAccountId: account,
          ...(legacyProductCode === undefined ? {} : { CustomerIdentifier: 'X01EXAMPLEX' }),
          LicenseArn: licenceArn(licence),
          Value: { IntegerValue: value },
          ...(until === undefined ? {} : { ExpirationDate: Date.parse(until) / 1_000 }),
        })),
      )
    },
    /** A buyer's token for a licence of theirs. */
    token(licence: number, { account = accountId, expiresAt = Date.parse('2027-01-01') } = {}) {
      const legacy = legacyProductCode !== undefined
      const { id } = aws.addSubscription({
        productCode,
        awsAccountId: account,
        licenceArn: legacy ? null : licenceArn(licence),
        customerIdentifier: legacy ? 'X01EXAMPLEX' : null,
      })
      const token = `token-${++serial}`
      aws.addRegistrationToken({ token, subscriptionId: id, expiresAt })
      return token
    },
    registerToken: (token: string) => registerToken(token, `request-${++serial}`),
    /** Comes from AWS with a new token, and the read models follow. @returns the customer's id */
    async register(licence: number, account = accountId): Promise<string> {
      const registration = await world.registerToken(world.token(licence, { account }))
      if (registration.kind !== 'customer') throw new Error(`not registered: ${registration.kind}`)
      await projectAll(database.pool, store)
      return registration.customerId
    },
    /** A message as the queue delivers it. */
    async deliver(body: string) {
      const handled = await handle(deps, { messageId: `message-${++serial}`, sentAt: now, body })
      await projectAll(database.pool, store)
      return handled
    },
  }
  return world
}
