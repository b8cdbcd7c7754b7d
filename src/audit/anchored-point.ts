/** What an anchor knew of one customer: made for a bundle, and checked there. Pure. */
import type { KeyObject } from 'node:crypto'
import { customerStream } from '../events/catalogue.ts'
import { emptyHead, type Head } from '../events/chain.ts'
import { meteringStream } from '../events/metering.ts'
import { type Anchor, inclusionFault, prover, signatureFault } from './anchor.ts'
import type { Absence, AnchoredPoint, Member } from './bundle.ts'

/** Null when the anchor does not know the customer. */
export function anchoredPoint(anchor: Anchor, customerId: string): AnchoredPoint | null {
  const { heads, ...signed } = anchor
  const indexOf = (stream: string) => heads.findIndex(([name]) => name === stream)
  const index = indexOf(customerStream(customerId))
  if (index < 0) return null
  const member = prover(anchor)
  const meteringIndex = indexOf(meteringStream(customerId))
  if (meteringIndex >= 0)
    return { anchor: signed, customer: member(index), metering: { present: member(meteringIndex) } }

  const after = heads.findIndex(([name]) => name > meteringStream(customerId))
  const right = after < 0 ? heads.length : after
  const absent = {
    ...(right === 0 ? {} : { left: member(right - 1) }),
    ...(right === heads.length ? {} : { right: member(right) }),
  }
  return { anchor: signed, customer: member(index), metering: { absent } }
}

export const customerHead = ({ customer }: AnchoredPoint): Head => headOf(customer)
/** The head before the first event where the anchor knew of no such stream. */
export const meteringHead = ({ metering }: AnchoredPoint): Head =>
  'present' in metering ? headOf(metering.present) : emptyHead

const headOf = ({ head: [, revision, hash] }: Member): Head => ({ revision: BigInt(revision), hash })

/** What is wrong with the point, each fault a sentence. */
export function pointFaults(point: AnchoredPoint, customerId: string, publicKey: KeyObject): string[] {
  const { anchor, customer, metering } = point
  const signature = signatureFault(anchor, publicKey)
  if (signature !== null) return [signature]
  const memberFaults = (member: Member, stream?: string): string[] => {
    const [name] = member.head
    const fault = inclusionFault({ ...member, anchor }, publicKey)
    return [
      ...(stream === undefined || name === stream ? [] : [`it proves the head of ${name}, not that of ${stream}`]),
      ...(fault === null ? [] : [`the head of ${name}: ${fault}`]),
    ]
  }
  const stream = meteringStream(customerId)
  if ('present' in metering) {
    return [...memberFaults(customer, customerStream(customerId)), ...memberFaults(metering.present, stream)]
  }
  const { left, right } = metering.absent
  return [
    ...memberFaults(customer, customerStream(customerId)),
    ...[left, right].flatMap((neighbour) => (neighbour === undefined ? [] : memberFaults(neighbour))),
    ...(leavesNoPlace(metering.absent, stream, anchor.streams)
      ? []
      : [`it does not prove that there was no ${stream}`]),
  ]
}

/** Heads stand in the order of their names: neighbours with nothing between them leave no place for the stream. */
function leavesNoPlace({ left, right }: Absence, stream: string, streams: number): boolean {
  const leftEnds = left === undefined || left.head[0] < stream
  const rightBegins = right === undefined || right.head[0] > stream
  const place = left === undefined ? 0 : left.index + 1
  return leftEnds && rightBegins && place === (right === undefined ? streams : right.index)
}
