/** Histories of customers in virtual time, made by the real decider: whatever a command refuses leaves no trace. */
import fc from 'fast-check'
import { freeze, sendUntilKnown } from '../../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal, type Voidable } from '../../src/commands/customer.ts'
import { type CustomerState, evolve, initialState } from '../../src/commands/state.ts'
import { customerStream, type Licence, type PlanName, type Slot } from '../../src/events/catalogue.ts'
import { emptyHead, type Head } from '../../src/events/chain.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { newKey, uuid, verdict } from './given.ts'

type Action =
  | { readonly kind: 'detect'; readonly key: number | undefined }
  | { readonly kind: 'replay' | 'void'; readonly back: number }
  | { readonly kind: 'regenerate' | 'deactivateKey'; readonly slot: Slot }
  | { readonly kind: 'setPlan'; readonly plan: PlanName; readonly limit: number }
  | { readonly kind: 'capOn' | 'capOff' | 'cancel' | 'end' | 'resume' | 'fence' | 'openMonth' | 'deactivate' }
  | { readonly kind: 'licence'; readonly serial: number }

export interface Step {
  /** Which customer, by number; registered when first met. */
  readonly customer: number
  /** Virtual minutes since the step before. */
  readonly minutes: number
  readonly action: Action
}

const slot = fc.constantFrom<Slot>('primary', 'secondary')
const one = <K extends string>(...kinds: K[]) => fc.record({ kind: fc.constantFrom(...kinds) })
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant('detect' as const),
      key: fc.option(fc.nat(3), { nil: undefined }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('replay' as const, 'void' as const), back: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('regenerate' as const, 'deactivateKey' as const), slot }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('setPlan' as const),
      plan: fc.constantFrom<PlanName>('free', 'starter', 'standard', 'business'),
      limit: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 3, arbitrary: one('capOn', 'capOff', 'cancel', 'fence', 'openMonth') },
  { weight: 1, arbitrary: one('end', 'resume') },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('licence' as const), serial: fc.nat(3) }) },
)
const minutes = fc.oneof(
  { weight: 6, arbitrary: fc.nat(30) },
  { weight: 3, arbitrary: fc.integer({ min: 60, max: 3 * 24 * 60 }) },
  { weight: 1, arbitrary: fc.integer({ min: 10 * 24 * 60, max: 70 * 24 * 60 }) },
)

/** Steps of up to `customers` customers over months, in an order that any interleaving of instances could produce. */
export const histories = ({ customers = 3, maxLength = 80 } = {}): fc.Arbitrary<Step[]> =>
  fc.array(fc.record({ customer: fc.nat(customers - 1), minutes, action }), { minLength: 1, maxLength })

interface Customer {
  readonly id: string
  state: CustomerState
  head: Head
  /** Detections neither voided nor replayed yet, the newest last. */
  settled: (Voidable & { idempotency: boolean })[]
}

/** Number 3 is of an older listing, and known by its product code. */
const licence = (serial: number): Licence =>
  serial === 3
    ? { kind: 'product', productCode: 'product', customerIdentifier: 'buyer' }
    : {
        kind: 'licence',
        awsAccountId: '123456789012',
        licenceArn: `arn:aws:license-manager::1:license:l-${serial}`,
      }

/** Plays histories into a store, on from where the last call stopped. */
export function createPlayer(store: EventStore, start = '2026-01-30T22:00:00.000Z') {
  const customers = new Map<number, Customer>()
  let now = Date.parse(start)

  async function execute(customer: Customer, command: CustomerCommand): Promise<boolean> {
    const decision = decide(customer.state, command, new Date(now).toISOString())
    if (isRefusal(decision) || decision.length === 0) return false
    const origin = { correlationId: 'history', causationId: 'history', actor: 'operator' }
    const caused = decision.map((event) => ({ event, origin }))
    const { attempt, head } = freeze(customerStream(customer.id), customer.head, caused)
    const outcome = await sendUntilKnown(store, attempt, { sendMs: 2_000, attemptMs: 30_000 })
    if (outcome.kind !== 'appended') throw new Error(`a history could not be written: ${outcome.kind}`)
    for (const [index, event] of decision.entries()) {
      if (event.type === 'DetectionSucceeded') {
        const { detectionId, yearMonth, funding, bucketKey, idempotency } = event.data
        const revision = Number(customer.head.revision) + 1 + index
        customer.settled.push({
          detectionId,
          yearMonth,
          funding,
          bucketKey,
          revision,
          idempotency: idempotency !== undefined,
        })
      }
    }
    customer.state = decision.reduce(evolve, customer.state)
    customer.head = head
    return true
  }

  async function customerOf(number: number): Promise<Customer> {
    const known = customers.get(number)
    if (known !== undefined) return known
    const customer: Customer = { id: uuid(), state: initialState, head: emptyHead, settled: [] }
    customers.set(number, customer)
    await execute(customer, {
      type: 'RegisterCustomer',
      customerId: customer.id,
      plan: number % 3 === 2 ? 'free' : 'standard',
      monthlyLimit: 2 + number,
      hardCap: number % 2 === 1,
      licence: number === 0 ? licence(0) : { kind: 'none' },
      keys: { primary: newKey(), secondary: newKey() },
    })
    return customer
  }

  function commandFor(customer: Customer, action: Action): CustomerCommand | null {
    const keyId = (customer.state.keys.primary ?? customer.state.keys.secondary)?.keyId ?? uuid()
    switch (action.kind) {
      case 'detect': {
        const hmac = (of: string) => of.padStart(64, '0')
        const idempotency =
          action.key === undefined ? {} : { idempotency: { key: hmac(`${action.key}`), body: hmac('b') } }
        return {
          type: 'RecordDetection',
          detectionId: uuid(),
          keyId,
          verdict,
          modelSet: 'ensemble',
          modelVersion: '1',
          ...idempotency,
        }
      }
      case 'void':
      case 'replay': {
        const detection = customer.settled.at(-1 - (action.back % Math.max(1, customer.settled.length)))
        if (detection === undefined) return null
        customer.settled = customer.settled.filter((other) => other !== detection)
        const { idempotency: _, ...voidable } = detection
        if (action.kind === 'void') return { type: 'VoidDetections', detections: [voidable] }
        return {
          type: 'ReplayDetection',
          keyId,
          detection: { ...voidable, revision: BigInt(voidable.revision), replayed: false },
        }
      }
      case 'regenerate':
        return { type: 'RegenerateApiKey', slot: action.slot, key: newKey() }
      case 'deactivateKey':
        return { type: 'DeactivateApiKey', slot: action.slot, reason: 'test' }
      case 'setPlan':
        return {
          type: 'SetPlan',
          plan: action.plan,
          monthlyLimit: action.limit,
          origin: 'operator',
          reason: 'test',
        }
      case 'capOn':
        return { type: 'EnableHardCap' }
      case 'capOff':
        return { type: 'DisableHardCap' }
      case 'cancel':
        return { type: 'CancelScheduledPlanChange' }
      case 'licence':
        return { type: 'ChangeLicence', licence: licence(action.serial), reason: 'test' }
      case 'end':
        return { type: 'EndSubscription', licence: customer.state.licence, reason: 'test' }
      case 'resume':
        return { type: 'ResumeSubscription', licence: customer.state.moving?.licence ?? customer.state.licence }
      case 'deactivate':
        return { type: 'DeactivateCustomer', reason: 'test' }
      case 'fence':
        return { type: 'FenceAttempt', firstEventId: uuid() }
      case 'openMonth':
        return { type: 'OpenMonth' }
      default:
        return action satisfies never
    }
  }

  return {
    /** Virtual time now. */
    get now() {
      return new Date(now).toISOString()
    },
    customers: () => [...customers.values()].map(({ id, state, head }) => ({ id, state, head })),
    /** Returns how many of the steps left events behind. */
    async play(steps: readonly Step[]): Promise<number> {
      let granted = 0
      for (const step of steps) {
        now += step.minutes * 60_000
        const customer = await customerOf(step.customer)
        const command = commandFor(customer, step.action)
        if (command !== null && (await execute(customer, command))) granted += 1
      }
      return granted
    },
  }
}
