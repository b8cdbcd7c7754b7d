/**
 * The metering ledger against AWS's invoices. Pure. An invoice names an agreement and a month and no dimension, so
 * amounts are compared by licence and month: what AWS bills, and what the accepted records cost by the prices in the
 * log, the monthly fee besides or not (a contract's fee may stand on an invoice of its own).
 */
import Big from 'big.js'
import { nextMonth } from '../commands/plans.ts'
import type { InvoiceLine } from './invoice.ts'
import type { Unreconciled } from './reconcile-cloudtrail.ts'
import type { LedgerRecord } from './reconcile-ledger.ts'
import type { MonthPrices } from './reconcile-prices.ts'

/** One licence's month on both sides. */
export interface InvoicedMonth {
  readonly licence: string
  /** Who holds the licence; null where nobody does. */
  readonly customerId: string | null
  readonly month: string
  readonly lines: readonly InvoiceLine[]
  readonly records: readonly LedgerRecord[]
  readonly prices: MonthPrices
}

type Records = readonly LedgerRecord[]

export function againstInvoices(months: readonly InvoicedMonth[]): Unreconciled[] {
  const gaps = months.map((month) => ({ month, gap: gapOf(month) }))
  return gaps.flatMap(({ month, gap }) => {
    if (gap === null) return []
    const { billed, expected, missing } = gap
    const invoices = [...new Set(month.lines.map(({ invoiceId }) => invoiceId))].join(', ')
    const cause =
      (month.customerId === null ? 'nobody holds this licence here: its buyer has not registered yet' : null) ??
      wrongMonth(month, missing, gaps) ??
      lostAnswers(month, missing) ??
      otherPrice(month, billed) ??
      (missing.gt(0)
        ? 'AWS bills what was not accepted here: sent by somebody else, or an answer was lost'
        : 'accepted usage is on no invoice of these files yet, or was given back by a credit memo')
    const fault = `AWS bills ${billed} USD on ${invoices || 'no invoice'}, the accepted records cost ${expected} USD`
    return [
      {
        recordId: null,
        customerId: month.customerId,
        fault: `${month.month}, ${month.licence}: ${fault}`,
        cause,
        next: null,
      },
    ]
  })
}

interface Gap {
  readonly billed: string
  readonly expected: string
  /** What AWS bills beyond what is expected; negative where it bills less. */
  readonly missing: Big
}

const accepted = (records: Records): Records => records.filter(({ record }) => record.state === 'accepted')

function gapOf({ lines, records, prices }: InvoicedMonth): Gap | null {
  const billed = lines.reduce((sum, { amount }) => sum.plus(amount), new Big(0))
  const { least, most } = costOf(accepted(records), prices)
  const fits = (amount: Big) => amount.gte(least) && amount.lte(most)
  const foreign = lines.find(({ currency }) => currency !== 'USD')
  if (
    foreign === undefined &&
    [new Big(0), ...[...prices.fees].map((fee) => new Big(fee))].some((fee) => fits(billed.minus(fee)))
  ) {
    return null
  }
  return {
    billed: billed.toFixed(),
    expected: least.eq(most) ? least.toFixed() : `${least.toFixed()} to ${most.toFixed()}`,
    missing: billed.minus(billed.gt(most) ? most : least),
  }
}

/** From the lowest to the highest, where a dimension had more than one price in the month. */
function costOf(records: Records, { units }: MonthPrices): { least: Big; most: Big } {
  let [least, most] = [new Big(0), new Big(0)]
  for (const { record, sealed } of records) {
    const prices = [...(units.get(record.dimension) ?? ['0'])]
      .map((price) => new Big(price))
      .toSorted((a, b) => a.cmp(b))
    least = least.plus((prices[0] ?? new Big(0)).times(sealed.quantity))
    most = most.plus((prices.at(-1) ?? new Big(0)).times(sealed.quantity))
  }
  return { least, most }
}

/** What is too much in one month is too little in its neighbour. */
function wrongMonth(
  { licence, month }: InvoicedMonth,
  missing: Big,
  gaps: readonly { readonly month: InvoicedMonth; readonly gap: Gap | null }[],
): string | null {
  const twin = gaps.find(
    ({ month: other, gap }) =>
      other.licence === licence &&
      (nextMonth(other.month) === month || nextMonth(month) === other.month) &&
      gap?.missing.plus(missing).eq(0) === true,
  )
  return twin === undefined ? null : `wrong month: ${twin.month.month} differs by the same amount the other way`
}

function lostAnswers({ records, prices }: InvoicedMonth, missing: Big): string | null {
  const unknown = records.filter(({ record }) => record.state === 'unknown')
  if (unknown.length === 0) return null
  const { least, most } = costOf(unknown, prices)
  const ids = unknown.map(({ record }) => record.recordId).join(', ')
  if (missing.gte(least) && missing.lte(most))
    return `lost answers: AWS took the records that are in doubt here (${ids})`
  const one = unknown.find((record) => {
    const cost = costOf([record], prices)
    return missing.gte(cost.least) && missing.lte(cost.most)
  })
  return one === undefined ? null : `lost answer: AWS took ${one.record.recordId}, which is in doubt here`
}

/** All of the month's calls at one other price. */
function otherPrice({ records, prices }: InvoicedMonth, billed: string): string | null {
  const calls = accepted(records).reduce((sum, { sealed }) => sum + sealed.quantity, 0)
  const known = [...prices.units.values()].flatMap((units) => [...units])
  if (calls === 0 || new Set(known).size !== 1) return null
  for (const fee of ['0', ...prices.fees]) {
    const usage = new Big(billed).minus(fee)
    const price = usage.div(calls)
    // AWS's prices have three decimals.
    if (price.gt(0) && price.round(3).times(calls).eq(usage)) {
      return `price difference: AWS bills ${price.toFixed()} USD a call, the log says ${known[0]}`
    }
  }
  return null
}
