/**
 * Invoices of AWS Marketplace as the Agreement API lists them: the answer of ListAgreementInvoiceLineItems, grouped by
 * INVOICE_ID, one answer, an array of answers, or an array of the groups in them. Pure.
 * Source: AWS Marketplace Agreement API, AgreementInvoiceLineItemGroupSummary.
 */
import { z } from 'zod'

/** A file that holds no such answer. */
export class BadInvoice extends Error {
  override name = 'BadInvoice'
}

const group = z.object({
  agreementId: z.string(),
  invoiceId: z.string(),
  invoiceType: z.enum(['INVOICE', 'CREDIT_MEMO']),
  invoiceBillingPeriod: z.object({ month: z.int().min(1).max(12), year: z.int() }),
  pricingCurrencyAmount: z.object({ amount: z.string().regex(/^-?\d+(\.\d+)?$/), currencyCode: z.string() }),
})
const answer = z.object({
  agreementInvoiceLineItemGroupSummaries: z.array(group),
  nextToken: z.string().nullish(),
})
const file = z.union([answer.transform((one) => [one]), z.array(answer), z.array(group).transform(asAnswers)])

function asAnswers(groups: z.infer<typeof group>[]): z.infer<typeof answer>[] {
  return [{ agreementInvoiceLineItemGroupSummaries: groups }]
}

export interface InvoiceLine {
  readonly agreementId: string
  readonly invoiceId: string
  /** `YYYY-MM`. */
  readonly month: string
  /** Decimal string; negative for what is given back. */
  readonly amount: string
  readonly currency: string
}

/** @throws BadInvoice */
export function readInvoices(text: string, name: string): InvoiceLine[] {
  let answers: z.infer<typeof file>
  try {
    answers = file.parse(JSON.parse(text))
  } catch (cause) {
    throw new BadInvoice(`${name} is no answer of ListAgreementInvoiceLineItems`, { cause })
  }
  if (answers.at(-1)?.nextToken) {
    throw new BadInvoice(
      `${name} is one page of several: its last answer has a nextToken, and what it leads to is missing`,
    )
  }
  return answers
    .flatMap(({ agreementInvoiceLineItemGroupSummaries: groups }) => groups)
    .map(({ agreementId, invoiceId, invoiceType, invoiceBillingPeriod: { month, year }, pricingCurrencyAmount }) => {
      const size = pricingCurrencyAmount.amount.replace(/^-/, '')
      return {
        agreementId,
        invoiceId,
        month: `${year}-${`${month}`.padStart(2, '0')}`,
        amount: invoiceType === 'CREDIT_MEMO' ? `-${size}` : pricingCurrencyAmount.amount,
        currency: pricingCurrencyAmount.currencyCode,
      }
    })
}
