/**
 * Subscriptions end while nothing is fed, and AWS takes their last records for one hour: whatever they used until then
 * must be billed by the end of it.
 */
import type { CustomerCommand } from '../../src/commands/customer.ts'
import type { Ledgers } from '../../src/commands/ledgers.ts'
import { licenceIdentity } from '../../src/commands/plans.ts'
import { addHours, hourMs } from '../../src/metering/rules.ts'
import type { DirectAws } from '../aws/direct.ts'
import { detection } from '../support/given.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { inTime, type VirtualTime } from './virtual-time.ts'
import type { Random } from './world.ts'

export interface Leaving {
  readonly random: Random
  readonly time: VirtualTime
  readonly store: MemoryStore
  readonly aws: DirectAws
  readonly customers: readonly { readonly customerId: string; readonly keys: { readonly primary: { keyId: string } } }[]
  readonly ledgers: Ledgers
}

/** What this reads of an event's data. */
interface Told {
  readonly recordId: string
  readonly occurredAt: string
  readonly toRecordId?: string
  readonly deadline?: string
  readonly throughRevision?: number
  readonly bucketKey?: string
  readonly funding?: string
}
const origin = { correlationId: 'simulation', causationId: 'simulation', actor: 'simulation' }

/** Every running subscription ends; returns what was not billed in time, one sentence each. */
export async function lastHours({ random, time, store, aws, customers, ledgers }: Leaving): Promise<string[]> {
  const execute = async (customerId: string, command: CustomerCommand) =>
    (await inTime(time, ledgers.execute(customerId, { command, origin }))).state
  const toldIn = (stream: string) => store.stream(stream).map((event) => ({ ...event, ...(event.data as Told) }))

  await time.advance(60_000) // what the storm has sent has landed
  await inTime(time, ledgers.settleStanding(new AbortController().signal))
  const leaving: { readonly customerId: string; readonly identity: string; readonly deadline: string }[] = []
  for (const { customerId, keys } of customers) {
    for (let calls = random.int(4); calls > 0; calls--) {
      await execute(customerId, detection({ keyId: keys.primary.keyId }))
    }
    const { licence, ended } = await execute(customerId, { type: 'Observe' })
    if (licence.kind === 'none' || ended !== undefined) continue
    await execute(customerId, { type: 'EndSubscription', licence, reason: 'simulation' })
    const identity = licenceIdentity(licence)
    const subscriptions = aws.state.subscriptions.map((one) =>
      one.id === identity ? { ...one, endedAt: Date.now() } : one,
    )
    aws.state = { ...aws.state, subscriptions }
    const ends = toldIn(`customer-${customerId}`).filter(({ type }) => type === 'SubscriptionEnded')
    for (const { occurredAt } of ends.slice(-1)) {
      leaving.push({ customerId, identity, deadline: addHours(occurredAt, 1) })
    }
  }
  await time.advance((1 + random.int(5)) * hourMs)

  return leaving.flatMap(({ customerId, identity, deadline }) => {
    const metering = toldIn(`metering-${customerId}`)
    // Others were too old for AWS before.
    const inTime = metering.filter((one) => one.type === 'RecordSealed' && one.deadline === deadline)
    const isBilled = ({ recordId }: Pick<Told, 'recordId'>): boolean => {
      const carry = metering.find((one) => one.type === 'RecordCarriedForward' && one.recordId === recordId)
      if (carry?.toRecordId !== undefined) return isBilled({ recordId: carry.toRecordId })
      const accepted = metering.find((one) => one.type === 'RecordAccepted' && one.recordId === recordId)
      return accepted !== undefined && accepted.occurredAt <= deadline
    }
    const late = inTime.filter((one) => !isBilled(one))
    const through = Math.max(-1, ...metering.map(({ throughRevision = -1 }) => throughRevision))
    const unsealed = toldIn(`customer-${customerId}`).filter(
      ({ type, funding, bucketKey, revision }) =>
        type === 'DetectionSucceeded' &&
        funding === 'overage' &&
        bucketKey?.split('|')[1] === identity &&
        Number(revision) > through,
    )
    return [
      ...late.map(({ recordId }) => `${recordId} was not billed in the last hour of its licence`),
      ...(unsealed.length === 0
        ? []
        : [`${customerId}: ${unsealed.length} calls are in no seal an hour after the end`]),
    ]
  })
}
