/** A month as CSV: one line per event of the log, so that each figure can be traced to event ids and revisions. */
import { overageAmount } from '../../../statements/amounts.ts'
import type { LoggedEvent } from './dependencies.ts'
import { eventText } from './events.ts'

const columns = [
  'occurred_at',
  'revision',
  'event_id',
  'type',
  'description',
  'actor',
  'sequence',
  'funding',
  'plan',
  'overage_unit_price_usd',
  'amount_usd',
  'voids_revision',
  'hash',
] as const

/**
 * Lines of the file, the heading first. `amount_usd` adds up to the statement's total: what each overage call costs,
 * and what each void of one gives back.
 */
export async function* csvLines(events: AsyncIterable<LoggedEvent>): AsyncGenerator<string> {
  yield line(columns)
  // A void does not repeat the price of the call it takes back. Prices by revision from where they held.
  const prices: { readonly revision: bigint; readonly price: string }[] = []
  for await (const { event, revision, eventId, actor, hash } of events) {
    const { occurredAt } = event.data
    const cells = { sequence: '', funding: '', plan: '', price: '', amount: '', voids: '' }
    switch (event.type) {
      case 'DetectionSucceeded': {
        const { sequence, funding, plan, overageUnitPrice: price } = event.data
        if (prices.at(-1)?.price !== price) prices.push({ revision, price })
        const amount = funding === 'overage' ? overageAmount([{ overageCalls: 1, overageUnitPrice: price }]) : '0'
        Object.assign(cells, { sequence: String(sequence), funding, plan, price, amount })
        break
      }
      case 'DetectionVoided': {
        const { revision: voided, funding } = event.data
        const price = prices.findLast((held) => held.revision <= BigInt(voided))?.price
        cells.funding = funding
        cells.voids = String(voided)
        // Without a price the call is of an earlier month, whose statement the void belongs to.
        if (price !== undefined) {
          cells.price = price
          cells.amount = funding === 'overage' ? overageAmount([{ overageCalls: -1, overageUnitPrice: price }]) : '0'
        }
        break
      }
      case 'CustomerRegistered':
      case 'MonthlyCreditsGranted':
      case 'PlanChanged':
      case 'MonthlyLimitChanged':
        cells.plan = event.data.plan
        cells.price = event.data.overageUnitPrice
        break
      default:
        break
    }
    const { sequence, funding, plan, price, amount, voids } = cells
    yield line([
      occurredAt,
      String(revision),
      eventId,
      event.type,
      eventText(event),
      actor,
      sequence,
      funding,
      plan,
      price,
      amount,
      voids,
      hash,
    ])
  }
}

/** RFC 4180. A cell that a spreadsheet could take for a formula gets an apostrophe before it. */
function line(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

function cell(text: string): string {
  const harmless = /^[=+@\t\r]|^-(?!\d+(\.\d+)?$)/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
