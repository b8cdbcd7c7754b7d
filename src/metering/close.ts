/**
 * The end of a customer's month: the summary that an auditor compares with everything else. Pure. It is written only
 * when it balances.
 */
import { createHash } from 'node:crypto'
import { monthEnd } from '../commands/plans.ts'
import { canonicalText } from '../events/canonical.ts'
import type { MeteringDataOf, MeteringEvent } from '../events/metering.ts'
import type { CustomerBooks } from './books.ts'
import type { MeteringRecord } from './record.ts'
import { addHours, addMs, deadlineOf } from './rules.ts'
import type { SealContext } from './seal.ts'
import { isBehindSeals } from './seal-faults.ts'

type Closed = MeteringDataOf<'MonthClosed'>

/** The month's books contradict the calls they were made of; said instead of closing it. */
export interface Imbalance {
  readonly yearMonth: string
  readonly message: string
}

/** From then on AWS takes nothing of the month. */
export function closesAt(yearMonth: string, rules: SealContext['rules']): string {
  const lastHour = addHours(monthEnd(yearMonth), -1)
  return deadlineOf(lastHour, rules)
}

/** MonthClosed, or nothing yet, or what does not add up. */
export function decideClose(
  books: CustomerBooks,
  yearMonth: string,
  { rules, now, judgedThrough }: SealContext,
): MeteringEvent[] | Imbalance {
  const { meter, records, adjustments } = books
  const endOfMonth = monthEnd(yearMonth)
  const calls = meter.state.months[yearMonth]
  if (calls === undefined || meter.closed.includes(yearMonth) || isBehindSeals(books)) return []
  if (now < closesAt(yearMonth, rules) || judgedThrough < addMs(endOfMonth, rules.graceMs)) return []
  const ofMonth = records.filter((record) => record.yearMonth === yearMonth)
  if (ofMonth.some(({ state }) => state === 'open' || state === 'sealed')) return []
  const voided = adjustments.filter((adjustment) => adjustment.yearMonth === yearMonth)
  if (voided.some(({ noted, revision }) => !noted || BigInt(revision) > meter.head.revision)) return []

  const overage = overageOf(ofMonth)
  const message = imbalance(overage, calls.overage + voided.length)
  if (message !== null) return { yearMonth, message }
  return [
    {
      type: 'MonthClosed',
      data: {
        customerId: meter.customerId,
        occurredAt: now,
        yearMonth,
        creditCalls: calls.credit,
        overageCalls: calls.overage,
        overage,
        adjusted: voided.length,
        throughRevision: Number(meter.head.revision),
        digest: digestOf(ofMonth),
      },
    },
  ]
}

/** By dimension and state; `quantity` is the records' own calls, `carried` what was carried into them besides. */
function overageOf(records: readonly MeteringRecord[]): Closed['overage'] {
  const lines = new Map<string, Closed['overage'][number]>()
  for (const { dimension, state, sealed } of records) {
    const key = `${dimension} ${state}`
    const { ownQuantity = 0, quantity = 0 } = sealed ?? {}
    const line = lines.get(key) ?? { dimension, state, records: 0, quantity: 0, carried: 0 }
    lines.set(key, {
      ...line,
      records: line.records + 1,
      quantity: line.quantity + ownQuantity,
      carried: line.carried + quantity - ownQuantity,
    })
  }
  return [...lines].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line)
}

/**
 * Metering's first invariant (docs/design.md): each call that was not voided before its record was sealed is in one
 * record, and whatever left a record arrived in another.
 */
function imbalance(overage: Closed['overage'], calls: number): string | null {
  const sum = (of: 'quantity' | 'carried', lines = overage) => lines.reduce((total, line) => total + line[of], 0)
  const own = sum('quantity')
  if (own !== calls) return `its records hold ${own} calls, the customer's stream ${calls}`
  const away = overage.filter(({ state }) => state === 'carried_forward')
  const [left, arrived] = [sum('quantity', away) + sum('carried', away), sum('carried')]
  return left === arrived ? null : `${left} calls were carried away and ${arrived} arrived`
}

/** SHA-256 over the RFC 8785 form of what was sealed, in the order of the records' ids. */
function digestOf(records: readonly MeteringRecord[]): string {
  const sealed = records
    .toSorted((a, b) => (a.recordId < b.recordId ? -1 : 1))
    .map(({ recordId, sealed }) => ({
      recordId,
      quantity: sealed?.quantity ?? 0,
      ownQuantity: sealed?.ownQuantity ?? 0,
      digest: sealed?.digest ?? '',
    }))
  return createHash('sha256').update(canonicalText(sealed)).digest('hex')
}
