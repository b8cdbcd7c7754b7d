/** Writes a log of many customers fast: decided by the real decider, many detections in one append. */
import { randomUUID } from 'node:crypto'
import { freeze, sendUntilKnown } from '../../src/commands/attempt.ts'
import { decide, isRefusal } from '../../src/commands/customer.ts'
import { evolve, initialState } from '../../src/commands/state.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { emptyHead, type Head } from '../../src/events/chain.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { detection, newKey, registration } from './given.ts'

export interface CustomerLog {
  readonly customerIds: readonly string[]
  /** Writes at least this many further events, customers taking turns, `perAppend` detections in one append. */
  write(events: number, perAppend?: number): Promise<void>
  /** Events written so far. */
  readonly written: number
}

interface Written {
  /** ISO 8601; default this machine's clock. */
  readonly now?: () => string
  /** Credits of the month; default those of the plan, 1,000. */
  readonly monthlyLimit?: number
  /** Whether each has a licence of AWS Marketplace; default not. */
  readonly isMetered?: boolean
}

/** Customers have random ids, so that they spread over the partitions; all of them may run up any overage. */
export function createCustomerLog(store: EventStore, customers: number, how: Written = {}): CustomerLog {
  const writers = Array.from({ length: customers }, () => createWriter(store, how))
  let written = 0
  return {
    customerIds: writers.map(({ customerId }) => customerId),
    get written() {
      return written
    },
    async write(events, perAppend = 20) {
      for (const until = written + events; written < until; ) {
        const turn = writers.map(({ write }) => write(perAppend))
        written += (await Promise.all(turn)).reduce((sum, count) => sum + count, 0)
      }
    },
  }
}

function createWriter(
  store: EventStore,
  { now = () => new Date().toISOString(), monthlyLimit, isMetered = false }: Written,
) {
  const customerId = randomUUID()
  const keys = { primary: newKey(), secondary: newKey() }
  let state = initialState
  let head: Head = emptyHead

  return {
    customerId,
    async write(detections: number): Promise<number> {
      const commands = Array.from({ length: detections }, () => detection({ keyId: keys.primary.keyId }))
      const all =
        state.customerId === ''
          ? [
              registration({
                customerId,
                keys,
                plan: 'starter',
                ...(monthlyLimit === undefined ? {} : { monthlyLimit }),
                ...(isMetered ? { licence: licenceOf(customerId) } : {}),
              }),
              ...commands,
            ]
          : commands
      const origin = { correlationId: randomUUID(), causationId: randomUUID(), actor: 'operator' }
      const caused = all.flatMap((command) => {
        const decision = decide(state, command, now())
        if (isRefusal(decision)) throw new Error(decision.message)
        state = decision.reduce(evolve, state)
        return decision.map((event) => ({ event, origin }))
      })
      const frozen = freeze(customerStream(customerId), head, caused)
      const outcome = await sendUntilKnown(store, frozen.attempt, { sendMs: 10_000, attemptMs: 180_000 })
      if (outcome.kind !== 'appended') throw new Error(`an append ended as ${outcome.kind}`)
      head = frozen.head
      return caused.length
    },
  }
}

const licenceOf = (customerId: string) =>
  ({
    kind: 'licence',
    awsAccountId: '123456789012',
    licenceArn: `arn:aws:license-manager::123456789012:license:l-${customerId}`,
  }) as const
