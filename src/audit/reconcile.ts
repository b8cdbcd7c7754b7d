/** The metering ledger against what AWS says of it: files of CloudTrail, and of the Agreement API's invoices. */
import type pg from 'pg'
import type { EventStore } from '../eventstore/store.ts'
import { holderOfIdentity } from '../marketplace/reservation.ts'
import { readCloudTrail, type SentUsage } from './cloudtrail.ts'
import { type InvoiceLine, readInvoices } from './invoice.ts'
import { againstCloudTrail, type Unreconciled } from './reconcile-cloudtrail.ts'
import { againstInvoices, type InvoicedMonth } from './reconcile-invoice.ts'
import { type LedgerRecord, readLedger } from './reconcile-ledger.ts'
import { type MonthPrices, pricesOf } from './reconcile-prices.ts'

/** A file's name and text. */
export interface NamedText {
  readonly name: string
  readonly text: string
}

export interface ReconcileOptions {
  readonly store: Pick<EventStore, 'readAll' | 'readForward' | 'readBackward'>
  readonly pool: pg.Pool
  readonly cloudTrail: AsyncIterable<NamedText>
  readonly invoices: AsyncIterable<NamedText>
  /** AgreementId → licence, besides what AWS's messages said. */
  readonly agreements: ReadonlyMap<string, string>
  /** Only this UTC month. */
  readonly month: string | undefined
}

export interface ReconcileReport {
  readonly differences: readonly Unreconciled[]
  /** Sealed records looked at. */
  readonly records: number
  /** Records in calls that CloudTrail saw. */
  readonly sent: number
  readonly invoiceLines: number
}

/** @throws BadCloudTrail, BadInvoice, EventStoreUnavailable, UnreadableEvent and what Postgres throws */
export async function reconcile(options: ReconcileOptions): Promise<ReconcileReport> {
  const { store, pool, cloudTrail, invoices, month } = options
  const ledger = await readLedger(store, month)
  const sent: SentUsage[] = []
  let files = 0
  const seen = new Set<string>()
  for await (const { name, text } of cloudTrail) {
    files += 1
    for (const usage of readCloudTrail(text, name, seen)) {
      if (month === undefined || usage.timestamp.startsWith(month)) sent.push(usage)
    }
  }
  const lines: InvoiceLine[] = []
  for await (const { name, text } of invoices) for (const line of readInvoices(text, name)) lines.push(line)
  const ofMonth = lines.filter((line) => month === undefined || line.month === month)
  const agreements = new Map([...(await agreementsIn(pool)), ...options.agreements])
  return {
    differences: [
      ...(files === 0 ? [] : againstCloudTrail(ledger, sent)),
      ...ofMonth.filter(({ agreementId }) => !agreements.has(agreementId)).map(unknownAgreement),
      ...againstInvoices(await invoicedMonths(store, ledger, ofMonth, agreements)),
    ],
    records: ledger.length,
    sent: sent.length,
    invoiceLines: ofMonth.length,
  }
}

/** AWS names agreement and licence together in its messages about licences. */
async function agreementsIn(pool: pg.Pool): Promise<Map<string, string>> {
  const { rows } = await pool.query<{ agreement_id: string; licence_arn: string }>(
    `select distinct agreement_id, licence_arn from marketplace_messages
     where agreement_id is not null and licence_arn is not null`,
  )
  return new Map(rows.map((row) => [row.agreement_id, row.licence_arn]))
}

const unknownAgreement = ({ agreementId, invoiceId, month, amount, currency }: InvoiceLine): Unreconciled => ({
  recordId: null,
  customerId: null,
  fault: `${month}: invoice ${invoiceId} bills ${amount} ${currency} for agreement ${agreementId}, of which nothing is known`,
  cause: 'no message of AWS has named its licence: say it with --agreement AGREEMENT=LICENCE',
  next: null,
})

const noPrices: MonthPrices = { units: new Map(), fees: new Set() }

/** Every month that an invoice or an accepted record of the invoiced licences is of, within the invoices' months. */
async function invoicedMonths(
  store: ReconcileOptions['store'],
  ledger: readonly LedgerRecord[],
  lines: readonly InvoiceLine[],
  agreements: ReadonlyMap<string, string>,
): Promise<InvoicedMonth[]> {
  const licences = new Set(lines.flatMap(({ agreementId }) => agreements.get(agreementId) ?? []))
  const months = [...new Set(lines.map(({ month }) => month))].toSorted()
  const found: InvoicedMonth[] = []
  for (const licence of licences) {
    // Not from the ledger: a licence whose credits sufficed has no record.
    const customerId = (await holderOfIdentity(store, licence))?.customerId ?? null
    for (const month of months) {
      const records = ledger.filter(({ record }) => record.licence === licence && record.yearMonth === month)
      const invoiced = lines.filter((line) => line.month === month && agreements.get(line.agreementId) === licence)
      if (records.length === 0 && invoiced.length === 0) continue
      const prices = customerId === null ? noPrices : await pricesOf(store, customerId, month)
      found.push({ licence, customerId, month, lines: invoiced, records, prices })
    }
  }
  return found
}
