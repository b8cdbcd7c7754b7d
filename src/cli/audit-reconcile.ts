/** `audit reconcile`: our ledger of what was sent against AWS's own records of it. */
import type { Command } from 'commander'
import { z } from 'zod'
import { readPacked } from '../audit/bounded-file.ts'
import { yearMonthSchema } from '../audit/bundle.ts'
import { type NamedText, type ReconcileReport, reconcile } from '../audit/reconcile.ts'
import { counted } from '../format.ts'
import { argument, CommandError, print, printJson, printTable } from './output.ts'
import { withSystem } from './system.ts'

const month = argument(yearMonthSchema, 'a month as YYYY-MM')
const agreement = argument(z.string().regex(/^[^=]+=.+$/), 'AGREEMENT=LICENCE')

interface ReconcileCommand {
  readonly cloudtrail?: string[]
  readonly invoice?: string[]
  readonly agreement?: string[]
  readonly month?: string
  readonly json?: true
}

export function addReconcileCommand(audit: Command): void {
  audit
    .command('reconcile')
    .description('hold the metering records against files of CloudTrail and against invoices of AWS Marketplace')
    .option('--cloudtrail <file...>', 'log files as CloudTrail delivers them, .json or .json.gz')
    .option('--invoice <file...>', 'answers of `aws marketplace-agreement list-agreement-invoice-line-items`, JSON')
    .option(
      '--agreement <agreement=licence>',
      'whose invoices these are, where no message of AWS has said it; may be repeated',
      (value: string, before: string[] = []) => [...before, agreement(value)],
    )
    .option('--month <YYYY-MM>', 'only records and invoices of this UTC month', month)
    .option('--json', 'one JSON object')
    .action((options: ReconcileCommand) => {
      const { cloudtrail = [], invoice = [], agreement = [], month, json } = options
      if (cloudtrail.length + invoice.length === 0) throw new CommandError('Name files with --cloudtrail or --invoice.')
      return withSystem(async ({ store, pool }) => {
        const report = await reconcile({
          store,
          pool,
          cloudTrail: textsOf(cloudtrail, 'log file of CloudTrail'),
          invoices: textsOf(invoice, 'answer of ListAgreementInvoiceLineItems'),
          agreements: new Map(agreement.map((pair) => splitAt(pair, pair.indexOf('=')))),
          month,
        })
        if (month !== undefined && report.records + report.sent + report.invoiceLines === 0) {
          throw new CommandError(`There is nothing of ${month}, here or in these files.`)
        }
        printReconciled(report, json)
      })
    })
}

const splitAt = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at + 1)]

async function* textsOf(paths: readonly string[], what: string): AsyncGenerator<NamedText, void, void> {
  for (const name of paths) yield { name, text: await readPacked(name, what) }
}

/** @throws CommandError when anything differs, so that the exit code says so */
function printReconciled({ differences, records, sent, invoiceLines }: ReconcileReport, json: true | undefined): void {
  if (json) {
    printJson({
      agrees: differences.length === 0,
      records,
      sent,
      invoice_lines: invoiceLines,
      differences: differences.map(({ recordId, customerId, ...rest }) => ({
        record: recordId,
        customer_id: customerId,
        ...rest,
      })),
    })
  } else {
    for (const { recordId, customerId, fault, cause, next } of differences) {
      const what = recordId ?? (customerId === null ? 'AWS' : `customer ${customerId}`)
      print(`DIFFERENCE  ${what}: ${fault}`)
      print(`  likely cause: ${cause}`)
      if (next !== null) print(`  next: ${next}`)
    }
    if (differences.length > 0) print()
    printTable(
      ['COMPARED', ''],
      [
        ['sealed records', records],
        ['records in calls that CloudTrail saw', sent],
        ['invoices', invoiceLines],
        ['differences', differences.length],
      ],
    )
  }
  if (differences.length > 0) throw new CommandError(`${counted(differences.length, 'difference')}.`)
}
