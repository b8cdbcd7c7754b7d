/** Customers of a metering test, and what they do: calls through the commands, with group commit, and all changes. */
import { randomUUID } from 'node:crypto'
import type { CustomerCommand, Voidable } from '../../../src/commands/customer.ts'
import { createLedgers } from '../../../src/commands/ledgers.ts'
import { licenceIdentity } from '../../../src/commands/plans.ts'
import type { Licence, PlanName } from '../../../src/events/catalogue.ts'
import { hourMs } from '../../../src/metering/rules.ts'
import type { Random } from '../../simulation/world.ts'
import { newKey, registration, verdict } from '../../support/given.ts'
import { productCode, type World } from './world.ts'

export interface Buyer {
  readonly customerId: string
  readonly keyId: string
  licence: Licence
  /** What a subscription that has ended, was renewed or is of an older listing goes on with. */
  readonly next: Licence
  plan: PlanName
}

export interface NewBuyer {
  readonly kind: 'licence' | 'product' | 'none'
  readonly plan: PlanName
  /** Calls a month before overage begins. */
  readonly monthlyLimit: number
}

const origin = { correlationId: 'test', causationId: 'test', actor: 'test' }
const upgrades: Partial<Record<PlanName, PlanName>> = {
  starter: 'standard',
  standard: 'professional',
  professional: 'business',
  business: 'enterprise',
}

export type Traffic = ReturnType<typeof createTraffic>

export function createTraffic(world: World) {
  const ledgers = createLedgers({
    store: world.store,
    loadSnapshot: async () => null,
    doubts: world.doubts,
    clock: { now: world.now, monthHasBegun: async () => {} },
    patience: { sendMs: 5_000, attemptMs: 30_000 },
  })
  let serial = 0
  const counts = { detections: 0, overage: 0, overQuota: 0, voided: 0, changes: 0 }
  const voidable: (Voidable & { readonly customerId: string; readonly at: number })[] = []

  /** AWS knows a licence by its ARN, and the legacy customer by an id that ends in ours (differences() reads them). */
  async function subscribe(licence: Licence, next: Licence, customerId: string): Promise<void> {
    if (licence.kind === 'none' || next.kind !== 'licence') return
    const { awsAccountId } = next
    if (licence.kind === 'product') {
      // The licence that a legacy customer moves to names the same subscription: an hour told under both is billed twice.
      const { customerIdentifier } = licence
      const { licenceArn } = next
      await world.aws.tell('subscriptions', {
        id: `legacy-${customerId}`,
        awsAccountId,
        licenceArn,
        customerIdentifier,
      })
      return
    }
    for (const { licenceArn } of [licence, next]) {
      await world.aws.tell('subscriptions', { id: licenceArn, awsAccountId, licenceArn, customerIdentifier: null })
    }
  }

  async function change(buyer: Buyer, command: CustomerCommand): Promise<void> {
    const executed = await ledgers.execute(buyer.customerId, { command, origin })
    if (executed.kind !== 'done') throw new Error(`${command.type} of ${buyer.customerId} was ${executed.kind}`)
    counts.changes += 1
  }

  /** Ends the licence here and at AWS. */
  async function ends(buyer: Buyer): Promise<void> {
    const { licence } = buyer
    await change(buyer, { type: 'EndSubscription', licence, reason: 'the buyer cancelled' })
    await world.aws.tell('end', { id: licenceIdentity(licence), at: world.time() })
  }

  return {
    counts,
    async register({ kind, plan, monthlyLimit }: NewBuyer): Promise<Buyer> {
      serial += 1
      const customerId = randomUUID()
      const awsAccountId = `1${serial.toString().padStart(11, '0')}`
      const arn = (number: number) => `arn:aws:license-manager::${awsAccountId}:license:l-${number}`
      const licences = {
        licence: { kind: 'licence', awsAccountId, licenceArn: arn(1) },
        product: { kind: 'product', productCode, customerIdentifier: `buyer-${serial}` },
        none: { kind: 'none' },
      } as const
      const keys = { primary: newKey(), secondary: newKey() }
      const licence = licences[kind]
      const next: Licence = kind === 'none' ? { kind } : { kind: 'licence', awsAccountId, licenceArn: arn(2) }
      await subscribe(licence, next, customerId)
      const command = registration({ customerId, plan, monthlyLimit, hardCap: false, licence, keys })
      await ledgers.execute(customerId, { command, origin })
      return { customerId, keyId: keys.primary.keyId, licence, next, plan }
    },

    /** So many checks at once, decided and billed at the clock's time. */
    async calls(buyer: Buyer, count: number): Promise<void> {
      const command = (): CustomerCommand => ({
        type: 'RecordDetection',
        detectionId: randomUUID(),
        keyId: buyer.keyId,
        verdict,
        modelSet: 'ensemble',
        modelVersion: '1',
      })
      const all = await Promise.all(
        Array.from({ length: count }, () => ledgers.execute(buyer.customerId, { command: command(), origin })),
      )
      for (const executed of all) {
        if (executed.kind === 'refused') counts.overQuota += 1
        if (executed.kind !== 'done') continue
        const [event] = executed.events.slice(-1)
        if (event?.type !== 'DetectionSucceeded') throw new Error('a check left no detection')
        const { detectionId, yearMonth, funding, bucketKey, customerId } = event.data
        counts.detections += 1
        if (funding === 'overage') counts.overage += 1
        voidable.push({
          ...{ detectionId, yearMonth, funding, bucketKey, customerId },
          revision: Number(executed.revision),
          at: world.time(),
        })
      }
    },

    /** Takes back one call of the last 20 hours and of this month: before its hour is sealed, or after. */
    async void(random: Random): Promise<void> {
      while (voidable[0] !== undefined && voidable[0].at < world.time() - 20 * hourMs) voidable.shift()
      const [found] = voidable.splice(random.int(voidable.length), 1)
      if (found?.yearMonth !== world.now().slice(0, 7)) return
      const { customerId, at: _, ...detection } = found
      await ledgers.execute(customerId, { command: { type: 'VoidDetections', detections: [detection] }, origin })
      counts.voided += 1
    },

    cap: (buyer: Buyer, on: boolean) => change(buyer, { type: on ? 'EnableHardCap' : 'DisableHardCap' }),

    async upgrade(buyer: Buyer): Promise<void> {
      const plan = upgrades[buyer.plan]
      if (plan === undefined) return
      await change(buyer, { type: 'SetPlan', plan, monthlyLimit: 3, origin: 'operator', reason: 'more calls' })
      buyer.plan = plan
    },

    ends,

    /** Ends a licence here and at AWS, and goes on with another. */
    async endsAndResumes(buyer: Buyer, meanwhile: () => Promise<void>): Promise<void> {
      await ends(buyer)
      await meanwhile()
      const { next } = buyer
      await change(buyer, { type: 'ResumeSubscription', licence: next })
      buyer.licence = next
    },

    renew: async (buyer: Buyer): Promise<void> => {
      await change(buyer, { type: 'ChangeLicence', licence: buyer.next, reason: 'the contract was renewed' })
      buyer.licence = buyer.next
    },
  }
}
