/** What verifying a bundle found, for people and for scripts. */
import type { BundleReport } from '../audit/check-bundle.ts'
import { CommandError, print, printJson } from './output.ts'

/** @throws CommandError when anything disagrees, so that the exit code says so */
export function printReport({ differences, content }: BundleReport, json: true | undefined, path?: string): void {
  const agrees = differences.length === 0
  if (json) printJson({ agrees, ...(path === undefined ? {} : { path }), ...content, differences })
  else {
    if (path !== undefined) print(path)
    if (content !== null) {
      print(`Customer ${content.customerId}, month ${content.month}`)
      print(`${content.events} events, ${content.metering} events of metering, ${content.records} sealed records`)
      print(`anchored from ${content.from ?? "the stream's first event"} through ${content.through}`)
      if (!content.monthOver) print('The month was not over then: later events are in no anchor of this bundle.')
      else if (!content.closed) print('The metering of the month was not closed then.')
      if (content.openCalls > 0) print(`${content.openCalls} overage calls were in no sealed record yet.`)
    }
    for (const { where, fault } of differences) print(`DIFFERENCE  ${where}: ${fault}`)
    if (agrees) print('Everything agrees.')
  }
  if (!agrees) throw new CommandError(`${differences.length} differences: this bundle does not prove its bill.`)
}
