/** What verifying a bundle found, for people and for scripts. */
import type { BundleReport } from '../audit/check-bundle.ts'
import { counted } from '../format.ts'
import { CommandError, print, printJson } from './output.ts'

/** @throws CommandError when anything disagrees, so that the exit code says so */
export function printReport({ differences, content }: BundleReport, json: true | undefined, path?: string): void {
  const agrees = differences.length === 0
  if (json) printJson({ agrees, ...(path === undefined ? {} : { path }), ...content, differences })
  else {
    if (path !== undefined) print(path)
    if (content !== null) {
      print(`Customer ${content.customerId}, month ${content.month}`)
      print(
        [
          counted(content.events, 'event'),
          `${counted(content.metering, 'event')} of metering`,
          counted(content.records, 'sealed record'),
        ].join(', '),
      )
      print(`anchored from ${content.from ?? "the stream's first event"} through ${content.through}`)
      if (!content.monthOver) print('The month was not over then: later events are in no anchor of this bundle.')
      else if (!content.closed) print('The metering of the month was not closed then.')
      if (content.openCalls > 0) print(`Overage calls that were in no sealed record yet: ${content.openCalls}.`)
    }
    for (const { where, fault } of differences) print(`DIFFERENCE  ${where}: ${fault}`)
    if (agrees) print('Everything agrees.')
  }
  if (!agrees)
    throw new CommandError(`${counted(differences.length, 'difference')}: this bundle does not prove its bill.`)
}
