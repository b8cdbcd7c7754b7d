/**
 * Verifies log, read models and metering against each other and against anchors. Nothing is written, and the product
 * may run meanwhile: what is behind the log is compared at the place where it stands.
 */
import type { Anchor } from './anchor.ts'
import type { BadAnchor } from './anchor-files.ts'
import { logCheck, newLogMemory } from './verify-log.ts'
import { checkMonths } from './verify-months.ts'
import { type PassOptions, passCustomer, passWholeLog } from './verify-pass.ts'
import { noFindings, sayInto, type VerifyReport } from './verify-report.ts'

export interface VerifyOptions extends PassOptions {
  /** Verified in themselves. */
  readonly anchors: readonly Anchor[]
  /** Anchors that somebody damaged or put there: each is a difference. */
  readonly badAnchors?: readonly BadAnchor[] | undefined
  /** Only this customer's streams and rows. */
  readonly customerId?: string | undefined
}

/** @throws Interrupted, OtherVersion, EventStoreUnavailable and what Postgres throws */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  const { store, anchors, badAnchors = [], customerId, month, from } = options
  const memory = from?.memory ?? newLogMemory()
  const findings = from?.findings ?? noFindings()
  const resumedAt = memory.events
  const say = sayInto(findings, month)
  // What was interrupted has said it already.
  if (from === undefined) for (const { path, fault } of badAnchors) say('anchor', { row: path }, fault)
  const check = logCheck({ log: store, anchors, customerId, say }, memory)
  const work = { memory, findings, say, check }
  const compared =
    customerId === undefined ? await passWholeLog(options, work) : await passCustomer(options, customerId, work)
  check.end()
  const totals = await checkMonths(store, memory.books.values(), month, findings, say)
  return {
    ...findings,
    ...compared,
    ...totals,
    events: memory.events,
    streams: memory.heads.size,
    customers: memory.books.size,
    anchors: anchors.map(({ through }) => through),
    resumedAt,
  }
}
