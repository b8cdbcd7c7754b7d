/** `audit replay`: the statement of a month as the log has it, for people, as JSON, or as CSV event by event. */
import { statementDocument } from '../audit/document.ts'
import { type Finding, foldWhilePassing, replayMonth } from '../audit/replay.ts'
import { customerStream } from '../events/catalogue.ts'
import type { EventStore } from '../eventstore/store.ts'
import { counted, isListPrice, listPriceNote } from '../format.ts'
import { eventText } from '../http/console/pages/events.ts'
import { csvLines } from '../http/console/pages/statement-csv.ts'
import type { MonthStatement, Place } from '../statements/month.ts'
import { CommandError, print, printJson, printTable } from './output.ts'
import { onOff } from './views.ts'

export interface ReplayOptions {
  readonly customer: string
  readonly month: string
  readonly json?: true
  readonly csv?: true
}

/** @throws CommandError when the chain or a rule is broken, or the month has no events */
export async function replay(store: EventStore, { customer, month, json, csv }: ReplayOptions): Promise<void> {
  const faults: Finding[] = []
  const found = (finding: Finding) => void faults.push(finding)
  const replayed = replayMonth(store, customer, month, found)
  const { events, statement } = foldWhilePassing(month, replayed, found, customerStream(customer))
  if (csv) for await (const line of csvLines(events)) process.stdout.write(line)
  else for await (const _ of events);
  const result = statement()
  if (json) {
    printJson({
      statement: result === null ? null : statementDocument(result),
      faults: faults.map(({ stream, revision, id, fault }) => ({ stream, revision: revision.toString(), id, fault })),
    })
  } else if (result !== null && !csv) printStatement(result)
  if (!json) for (const finding of faults) process.stderr.write(`FAULT  ${textOf(finding)}\n`)
  if (faults.length > 0)
    throw new CommandError(`${counted(faults.length, 'fault')} in the log: this bill cannot be trusted.`)
  if (result === null) throw new CommandError(`Customer ${customer} is unknown, or has nothing in ${month}.`)
}

const textOf = ({ stream, revision, id, fault }: Finding): string => `${stream} revision ${revision} (${id}): ${fault}`
const placeText = ({ revision, eventId }: Place): string => `${revision} ${eventId}`

function printStatement(statement: MonthStatement): void {
  const { customerId, month, terms, lines, hours, changes, digest, sequences } = statement
  print(`Statement of ${month} (UTC), customer ${customerId}, from the log alone`)
  print(`Hard cap ${onOff(statement.hardCap)} after the month's last event. Amounts in USD.`)
  print()
  printTable(
    ['SINCE', 'PLAN', 'CREDITS', 'FEE', 'OVERAGE PRICE', 'REVISION AND EVENT'],
    terms.map((held) => [
      held.since,
      held.plan,
      held.monthlyLimit,
      held.monthlyFee,
      held.overageUnitPrice,
      placeText(held),
    ]),
  )
  if (terms.some(({ plan }) => isListPrice(plan))) print(listPriceNote)
  print()
  printTable(
    ['PLAN', 'OVERAGE PRICE', 'BY CREDIT', 'OVERAGE', 'VOIDED', 'AMOUNT', 'FIRST', 'LAST'],
    lines.map((line) => [
      line.plan,
      line.overageUnitPrice,
      line.creditCalls,
      line.overageCalls,
      line.voidedCalls,
      line.amount,
      placeText(line.first),
      placeText(line.last),
    ]),
  )
  if (hours.length > 0) {
    print()
    printTable(
      ['OVERAGE HOUR', 'PRICE', 'CALLS', 'VOIDED', 'AMOUNT', 'FIRST', 'LAST', 'BUCKET'],
      hours.map((hour) => [
        hour.hour,
        hour.overageUnitPrice,
        hour.overageCalls,
        hour.voidedCalls,
        hour.amount,
        placeText(hour.first),
        placeText(hour.last),
        hour.bucketKey,
      ]),
    )
  }
  print()
  printTable(
    ['CHANGE AT', 'WHAT', 'BY', 'REVISION AND EVENT'],
    changes.map((logged) => [logged.event.data.occurredAt, eventText(logged.event), logged.actor, placeText(logged)]),
  )
  print()
  print(`Calls ${statement.creditCalls} by credit, ${statement.overageCalls} overage, ${statement.voidedCalls} voided`)
  if (sequences !== null) print(`Numbers ${sequences.first} to ${sequences.last}`)
  print(`Overage ${statement.overageAmount} USD`)
  print(`${digest.events} events, revisions ${digest.first.revision} to ${digest.last.revision}; hash of the last:`)
  print(digest.hash)
}
