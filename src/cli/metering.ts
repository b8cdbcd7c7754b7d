/** What an operator sees of metering and may decide about it. */
import type { Command } from 'commander'
import { z } from 'zod'
import type { System } from '../app/system.ts'
import { monthOf } from '../commands/plans.ts'
import type { CustomerBooks } from '../metering/books.ts'

import { decideForIn } from '../metering/metering-log.ts'
import { decideAccept, decideRetry, decideWriteOff, type Ruling } from '../metering/operator.ts'
import { postgresTables } from '../metering/postgres-tables.ts'
import { type MeteringRecord, type RecordState, recordStates } from '../metering/record.ts'
import { hasMeteringTables, listRecords, meteringStatus, monthTotals } from '../metering/status.ts'
import { argument, CommandError, customerIdArgument, print, printJson, printTable, reasonArgument } from './output.ts'
import { withSystem } from './system.ts'

const monthArgument = argument(z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/), 'a month as YYYY-MM')
const stateArgument = argument(z.enum(recordStates), `one of ${recordStates.join(', ')}`)
const limitArgument = argument(z.coerce.number().int().min(1).max(100_000), 'a number from 1 to 100000')
/** Its first part is the customer's id: parseBucketKey. */
const recordArgument = argument(
  z.string().regex(/^[0-9a-f-]{36}\|/),
  'the name of a record, as `liveness metering list` shows it, in quotes',
)
const nameArgument = argument(z.string().min(1), 'a MeteringRecordId')

export function addMeteringCommands(program: Command): void {
  const metering = program.command('metering').description('records of overage calls, on their way to AWS Marketplace')

  metering
    .command('status')
    .description('how far metering is, and what needs a person')
    .option('--month <YYYY-MM>', 'totals of that month; default: the current one', monthArgument)
    .option('--json', 'one JSON object')
    .action(({ month, json }: { month?: string; json?: true }) =>
      withMetering(async ({ pool }) => {
        const now = new Date().toISOString()
        const asked = month ?? monthOf(now)
        const status = statusView(await meteringStatus(pool, now))
        const totals = await monthTotals(pool, asked)
        if (json) return printJson({ ...status, year_month: asked, records: totals })
        printStatus(status)
        const rows = Object.entries(totals).map(([state, { records, quantity }]) => [state, records, quantity])
        print()
        if (rows.length === 0) return print(`No records in ${asked}.`)
        printTable([`STATE IN ${asked}`, 'RECORDS', 'CALLS'], rows)
      }),
    )

  metering
    .command('list')
    .description('records, newest hour first')
    .option('--customer <id>', "of one customer, by the customer's id", customerIdArgument)
    .option('--month <YYYY-MM>', 'of one UTC month', monthArgument)
    .option('--state <state>', `in one state: ${recordStates.join(', ')}`, stateArgument)
    .option('--limit <n>', 'at most so many', limitArgument, 1_000)
    .option('--json', 'one JSON object a line')
    .action((options: { customer?: string; month?: string; state?: RecordState; limit: number; json?: true }) =>
      withMetering(async ({ pool }) => {
        const { customer: customerId, month: yearMonth, state, limit, json } = options
        const records = (await listRecords(pool, { customerId, yearMonth, state, limit })).map(recordView)
        if (json) return records.forEach(printJson)
        printTable(
          ['HOUR', 'STATE', 'CALLS', 'ATTEMPTS', 'LAST ANSWER', 'DEADLINE', 'RECORD'],
          records.map((one) => [
            one.hour.slice(0, 13),
            one.state,
            one.quantity,
            one.attempts,
            one.last_answer ?? '',
            one.deadline ?? '',
            one.record,
          ]),
        )
        if (records.length === limit) process.stderr.write(`Only the newest ${limit} are shown; --limit shows more.\n`)
      }),
    )

  metering
    .command('retry')
    .description('send a record again that AWS refused, after its cause was mended')
    .argument('<record>', 'its name, in quotes', recordArgument)
    .option('--reason <text>', 'why, for the auditor', reasonArgument, 'retried by an operator')
    .option('--json', 'one JSON object')
    .action((recordId: string, { reason, json }: { reason: string; json?: true }) =>
      rule(recordId, reason, decideRetry, json, 'It is sent again within a quarter of an hour.'),
    )

  metering
    .command('write-off')
    .description('end a record that will not be billed: refused, unknown or unbillable')
    .argument('<record>', 'its name, in quotes', recordArgument)
    .requiredOption('--reason <text>', 'why, for the auditor', reasonArgument)
    .option('--json', 'one JSON object')
    .action((recordId: string, { reason, json }: { reason: string; json?: true }) =>
      rule(recordId, reason, decideWriteOff, json, 'It is written off.'),
    )

  metering
    .command('accept')
    .description('settle a record in doubt that CloudTrail shows as accepted: `liveness audit reconcile` finds it')
    .argument('<record>', 'its name, in quotes', recordArgument)
    .requiredOption('--metering-record-id <id>', "AWS's name for it, from CloudTrail", nameArgument)
    .option('--json', 'one JSON object')
    .action((recordId: string, { meteringRecordId, json }: { meteringRecordId: string; json?: true }) => {
      const decide: Decider = (books, { now }) => decideAccept(books, { recordId, meteringRecordId, now })
      return rule(recordId, '', decide, json, 'It counts as accepted.')
    })
}

const withMetering = (work: (system: System) => Promise<void>): Promise<void> =>
  withSystem(async (system) => {
    if (!(await hasMeteringTables(system.pool))) {
      throw new CommandError('Metering has not run on this database yet; `liveness start` runs it.')
    }
    await work(system)
  })

type Decider = (
  books: CustomerBooks,
  order: { readonly recordId: string; readonly reason: string; readonly now: string },
) => Ruling

const rule = (recordId: string, reason: string, decide: Decider, json: true | undefined, done: string) =>
  withMetering(async ({ pool, store }) => {
    const [customerId = ''] = recordId.split('|')
    const onAlarm = (_: string, message: string) => void process.stderr.write(`${message}\n`)
    const decideFor = decideForIn({ tables: postgresTables(pool), store, actor: 'operator', onAlarm })
    let refusal: string | null = null
    const events = await decideFor(customerId, (books) => {
      const ruling = decide(books, { recordId, reason, now: new Date().toISOString() })
      refusal = 'refusal' in ruling ? ruling.refusal : null
      return 'events' in ruling ? ruling.events : []
    })
    if (events === null) throw new CommandError(`Metering knows no customer ${customerId}.`)
    if (refusal !== null) throw new CommandError(refusal)
    if (json) return printJson({ record: recordId, events: events.map(({ type, data }) => ({ type, data })) })
    print(done)
  })

const recordView = ({ calls, carriedFrom, sealed, ...record }: MeteringRecord) => ({
  record: record.recordId,
  customer_id: record.customerId,
  year_month: record.yearMonth,
  hour: record.hour,
  dimension: record.dimension,
  state: record.state,
  quantity: sealed?.quantity ?? carriedFrom.reduce((sum, { quantity }) => sum + quantity, calls.quantity),
  own_quantity: sealed?.ownQuantity ?? calls.quantity,
  late_quantity: sealed?.lateQuantity ?? calls.late,
  carried_from: carriedFrom,
  carried_to: record.carriedTo,
  sealed_at: sealed?.occurredAt ?? null,
  submission: sealed?.submission ?? null,
  deadline: sealed?.deadline ?? null,
  attempts: record.attempts,
  last_attempt_at: record.lastAttemptAt,
  last_answer: record.lastAnswer,
  metering_record_id: record.meteringRecordId,
  reason: record.reason,
})

const statusView = ({ trouble, ...status }: Awaited<ReturnType<typeof meteringStatus>>) => ({
  judged_through: status.judgedThrough,
  watermark_age_seconds: status.watermarkAgeMs === null ? null : Math.round(status.watermarkAgeMs / 1_000),
  open: status.open,
  sealed: status.sealed,
  unknown: trouble.unknown,
  refused: trouble.refused,
  not_subscribed: trouble.notSubscribed,
  nearest_deadline: status.nearestDeadline,
  adjustments_not_noted: status.adjustmentsNotNoted,
  months_closed: status.monthsClosed,
})

function printStatus(status: ReturnType<typeof statusView>): void {
  const { judged_through: through, watermark_age_seconds: age } = status
  print(through === null ? 'No watermark yet.' : `Complete up to ${through}, ${age} s ago.`)
  const words = ({ records, quantity }: { records: number; quantity: number }) =>
    `${records} records, ${quantity} calls`
  print(`Open             ${words(status.open)}`)
  print(`To be sent       ${words(status.sealed)}`)
  print(`  not subscribed ${words(status.not_subscribed)}`)
  print(`In doubt         ${words(status.unknown)}`)
  print(`Refused          ${words(status.refused)}`)
  print(`Nearest deadline ${status.nearest_deadline ?? 'none'}`)
  print(`Months closed    ${status.months_closed}`)
  if (status.adjustments_not_noted > 0) print(`${status.adjustments_not_noted} late voids are not noted yet.`)
}
