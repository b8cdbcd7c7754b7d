/** What an anchor knew of one customer: made for a bundle, and checked there. Pure. */
import { customerStream } from '../events/catalogue.ts'
import type { Head } from '../events/chain.ts'
import { meteringStream } from '../events/metering.ts'
import { type Anchor, anchorSignatureFault, inclusionFault, type PublicKeys, prover } from './anchor.ts'
import type { AnchoredPoint, Member } from './bundle.ts'

/** Null when the anchor does not know the customer. */
export function anchoredPoint(anchor: Anchor, customerId: string): AnchoredPoint | null {
  const { heads, ...signed } = anchor
  const indexOf = (stream: string) => heads.findIndex(([name]) => name === stream)
  const [customer, metering] = [indexOf(customerStream(customerId)), indexOf(meteringStream(customerId))]
  if (customer < 0 || metering < 0) return null
  const member = prover(anchor)
  return { anchor: signed, customer: member(customer), metering: member(metering) }
}

export const customerHead = ({ customer }: AnchoredPoint): Head => headOf(customer)
export const meteringHead = ({ metering }: AnchoredPoint): Head => headOf(metering)

const headOf = ({ head: [, revision, hash] }: Member): Head => ({ revision: BigInt(revision), hash })

/** What is wrong with the point, each fault a sentence. */
export function pointFaults(
  { anchor, customer, metering }: AnchoredPoint,
  customerId: string,
  keys: PublicKeys,
): string[] {
  const signature = anchorSignatureFault(anchor, keys)
  if (signature !== null) return [signature]
  const faults = (member: Member, stream: string): string[] => {
    const [name] = member.head
    const fault = inclusionFault({ ...member, anchor }, keys)
    return [
      ...(name === stream ? [] : [`it proves the head of ${name}, not that of ${stream}`]),
      ...(fault === null ? [] : [`the head of ${name}: ${fault}`]),
    ]
  }
  return [...faults(customer, customerStream(customerId)), ...faults(metering, meteringStream(customerId))]
}
