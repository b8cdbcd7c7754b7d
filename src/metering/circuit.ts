/**
 * How calls to AWS go on after one that failed. Pure. While AWS does not answer, every record that is sent becomes one
 * that AWS may hold, and can never be carried into a later hour: so one record at a time is risked, and not more often
 * than needed to notice that AWS is back.
 */
import type { CallOutcome } from '../marketplace/batch-meter-usage.ts'
import type { MeteringRecord } from './record.ts'
import { addMs } from './rules.ts'

export interface Circuit {
  /** Calls in a row that failed; none: full batches may go out. */
  readonly failures: number
  /** No call before this instant. */
  readonly until: string
}
export const closedCircuit: Circuit = { failures: 0, until: '' }

/** First and longest pause in milliseconds. What a person must mend is asked for less often. */
const pauses: Partial<Record<CallOutcome['kind'], readonly [first: number, longest: number]>> = {
  throttled: [1_000, 30_000],
  server_error: [2_000, 120_000],
  no_answer: [2_000, 120_000],
  disabled: [60_000, 900_000],
  misconfigured: [60_000, 900_000],
}

export function afterCall({ failures }: Circuit, outcome: CallOutcome['kind'], now: string): Circuit {
  const pause = pauses[outcome]
  if (pause === undefined) return closedCircuit
  const [first, longest] = pause
  return { failures: failures + 1, until: addMs(now, Math.min(first * 2 ** failures, longest)) }
}

/**
 * The record to ask with whether AWS is back: one that is in doubt already, each in its turn. Now and then one that is
 * not, in case AWS fails because of those.
 */
export function probeOf({ failures }: Circuit, waiting: readonly MeteringRecord[]): MeteringRecord | undefined {
  const doubtful = waiting.filter(({ state }) => state === 'unknown')
  const others = waiting.filter(({ state }) => state !== 'unknown')
  const isTimeForAnother = failures > 1 && Number.isInteger(Math.log2(failures) / 2)
  if (isTimeForAnother && others.length > 0) return others[0]
  const [longestAgo] = doubtful.toSorted((a, b) => ((a.lastAttemptAt ?? '') < (b.lastAttemptAt ?? '') ? -1 : 1))
  return longestAgo ?? others[0]
}
