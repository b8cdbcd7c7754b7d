/** What verification found, for people and for scripts. */
import { type Difference, kinds, type TablesCompared, type VerifyReport } from '../audit/verify-report.ts'
import { counted } from '../format.ts'
import { CommandError, print, printJson, printTable } from './output.ts'

const words: Readonly<Record<(typeof kinds)[number], string>> = {
  chain: 'hash chains',
  unreadable: 'events that cannot be read',
  rule: "rules of the customers' streams",
  metering: 'metering against the calls',
  anchor: 'anchors',
  read_model: 'read models',
  metering_table: 'metering tables',
}

/** @throws CommandError when anything differs, so that the exit code says so */
export function printVerifyReport(report: VerifyReport, json: true | undefined): void {
  const found = kinds.reduce((sum, kind) => sum + report.counts[kind], 0)
  if (json) printJson(jsonOf(report, found))
  else {
    for (const difference of report.differences) print(`DIFFERENCE  ${textOf(difference)}`)
    if (found > report.differences.length) print(`… and ${found - report.differences.length} more`)
    if (found > 0) print()
    printSummary(report)
  }
  if (found > 0) throw new CommandError(`${counted(found, 'difference')}.`)
}

export function textOf({ kind, customerId, month, stream, revision, id, row, fault }: Difference): string {
  const event =
    stream === null
      ? ''
      : ` ${stream}${revision === null ? '' : ` revision ${revision}`}${id === null ? '' : ` (${id})`}`
  const owner = stream === null && customerId !== null ? ` customer ${customerId}` : ''
  return `${kind}${event}${owner}${month === null ? '' : ` ${month}`}${row === null ? '' : ` [${row}]`}: ${fault}`
}

function printSummary(report: VerifyReport): void {
  printTable(
    ['READ', ''],
    [
      ['events', report.events],
      ['streams', report.streams],
      ['customers', report.customers],
      ['months', `${report.months}, ${report.closedMonths} of them closed`],
      ['sealed records', report.records],
      ['rows of read models', comparedText(report.readModels)],
      ['rows of metering', comparedText(report.metering)],
      ['anchors', report.anchors.length === 0 ? 'none' : report.anchors.join(', ')],
    ],
  )
  if (report.anchors.length === 0) {
    print('Without an anchor a tail that was cut off, or a log that was replaced as a whole, is not to be seen.')
  }
  if (report.resumedAt > 0) print(`The first ${report.resumedAt} events were read by an interrupted run.`)
  print()
  printTable(
    ['DIFFERENCES', ''],
    kinds.map((kind) => [words[kind], report.counts[kind]]),
  )
}

function comparedText(compared: TablesCompared | null): string {
  if (compared === null) return 'none: nothing was ever folded here'
  return `${compared.rows}${compared.eventsBehind === 0 ? '' : `, ${compared.eventsBehind} events behind the log`}`
}

const jsonOf = (report: VerifyReport, found: number) => ({
  agrees: found === 0,
  events: report.events,
  streams: report.streams,
  customers: report.customers,
  months: report.months,
  closed_months: report.closedMonths,
  sealed_records: report.records,
  anchors: report.anchors,
  read_models: comparedJson(report.readModels),
  metering: comparedJson(report.metering),
  resumed_at: report.resumedAt,
  differences_by_kind: report.counts,
  differences: report.differences.map(({ customerId, ...difference }) => ({ customer_id: customerId, ...difference })),
})

const comparedJson = (compared: TablesCompared | null) =>
  compared && { rows: compared.rows, events_behind: compared.eventsBehind, at: compared.at?.created ?? null }
