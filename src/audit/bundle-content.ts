/** What a bundle's parts say, held against its anchors, the rules and each other. Pure. */
import { monthEnd, monthStart } from '../commands/plans.ts'
import { canonicalText } from '../events/canonical.ts'
import { customerStream } from '../events/catalogue.ts'
import { emptyHead, type Head } from '../events/chain.ts'
import { meteringStream, parseMeteringEvent } from '../events/metering.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import { foldMonth, type LoggedEvent } from '../statements/month.ts'
import type { Anchor, PublicKeys } from './anchor.ts'
import { customerHead, meteringHead, pointFaults } from './anchored-point.ts'
import type { AnchoredPoint, AnchorsLine, BundledEvent } from './bundle.ts'
import { callDigests } from './call-digests.ts'
import { statementDocument } from './document.ts'
import { eventFault } from './form-fault.ts'
import { type Heads, passEvent } from './heads.ts'
import { heldAgainst } from './held-against.ts'
import { meteringMonth } from './metering-month.ts'
import { belongsTo, readable } from './replay.ts'
import { streamRules, type VoidTarget } from './rules.ts'

type Say = (where: string, fault: string) => void

/** @param kept anchors the verifier has from elsewhere, already verified */
export function contentCheck(anchors: AnchorsLine, keys: PublicKeys, kept: readonly Anchor[], say: Say) {
  const { customerId, month, before, after } = anchors
  const [calls, metering] = [customerStream(customerId), meteringStream(customerId)]
  const start = {
    [calls]: before === undefined ? emptyHead : customerHead(before),
    [metering]: before === undefined ? emptyHead : meteringHead(before),
  }
  const end = { [calls]: customerHead(after), [metering]: meteringHead(after) }
  const heads: Heads = new Map(Object.entries(start))
  const firstRevision = (start[calls] ?? emptyHead).revision + 1n
  const rules = streamRules(customerId, firstRevision === 0n ? null : month)
  const records = meteringMonth(customerId, month)
  const fold = foldMonth(month)
  const callsAt = callDigests(Number(firstRevision))
  const holds = kept.map((anchor) => ({ anchor, against: heldAgainst(anchor) }))
  const counts = { events: 0, metering: 0 }
  let closedThrough = -1

  if (before !== undefined) {
    for (const fault of pointFaults(before, customerId, keys)) say('the anchor before', fault)
    if (BigInt(before.anchor.position.commit) >= BigInt(after.anchor.position.commit)) {
      say('the anchors', 'the one before is not older than the one after')
    }
    const { through } = before.anchor
    if (through > monthStart(month)) {
      say('the anchor before', `it is of ${through}, when ${month} had begun: what came before it is left out`)
    }
  }
  for (const fault of pointFaults(after, customerId, keys)) say('the anchor after', fault)

  /** Chain and kept anchors, the same for both streams. */
  function pass(bundled: BundledEvent, stream: string): StoredEvent | null {
    const where = placeOf(bundled)
    if (bundled.stream !== stream) {
      say(where, `it is not of the stream ${stream}`)
      return null
    }
    const stored = { ...bundled, revision: BigInt(bundled.revision), created: new Date(0) }
    const broken = passEvent(heads, stored)
    if (broken !== null) say(where, broken.fault)
    for (const { against } of holds) {
      const held = against.pass(stored)
      if (held !== null) say(where, held.fault)
    }
    return stored
  }

  /** The call that a void names; undefined where the bundle does not reach back to it. */
  function targetOf(event: LoggedEvent['event']): VoidTarget | undefined {
    if (event.type !== 'DetectionVoided' || BigInt(event.data.revision) < firstRevision) return undefined
    return callsAt.has(event.data.revision, event.data) ? event.data : null
  }

  function meter(revision: number, { event, hash }: LoggedEvent): void {
    if (event.type === 'DetectionSucceeded' && event.data.yearMonth === month) records.call(revision, hash, event.data)
    if (event.type === 'DetectionVoided' && event.data.yearMonth === month) records.voided(revision, hash, event.data)
  }

  function ended(stream: string): void {
    const [found, expected] = [heads.get(stream) ?? emptyHead, end[stream] ?? emptyHead]
    if (found.revision === expected.revision && found.hash === expected.hash) return
    say(
      stream,
      found.revision < expected.revision
        ? `it ends at revision ${found.revision}, the anchor after has ${expected.revision}: its tail is cut off`
        : `revision ${found.revision} is not the head that the anchor after has`,
    )
  }

  /** Of two anchors of one log the later one knows no fewer events: one whose time was made up is seen by that. */
  function checkOrder(anchor: Anchor, where: 'before' | 'after', point: AnchoredPoint): void {
    const { through } = point.anchor
    const found = { [calls]: customerHead(point).revision, [metering]: meteringHead(point).revision }
    for (const [stream, revision] of Object.entries(found)) {
      const known = BigInt(anchor.heads.find(([name]) => name === stream)?.[1] ?? emptyHead.revision)
      const isInOrder =
        (anchor.through > through || known <= revision) && (anchor.through < through || known >= revision)
      if (isInOrder) continue
      const given = `the one given, of ${anchor.through}, at ${known}`
      say(stream, `the anchor ${where}, of ${through}, has it at revision ${revision}, and ${given}`)
    }
  }

  /** Kept anchors that say nothing of these events, or something else of the place where they begin. */
  function checkKept(): void {
    if (kept.length === 0) return
    const anchored = holds.flatMap(({ anchor }) =>
      anchor.heads
        .filter(([stream]) => stream === calls || stream === metering)
        .map(([stream, revision, hash]) => ({ stream, revision: BigInt(revision), hash, through: anchor.through })),
    )
    for (const anchor of kept) {
      if (before !== undefined) checkOrder(anchor, 'before', before)
      checkOrder(anchor, 'after', after)
    }
    for (const { stream, revision, hash, through } of anchored) {
      const begin: Head = start[stream] ?? emptyHead
      if (revision === begin.revision && hash !== begin.hash) {
        say(stream, `it begins behind another event than the anchor of ${through} has at revision ${revision}`)
      }
    }
    const reached = anchored.some(
      ({ stream, revision }) =>
        stream === calls && revision >= firstRevision - 1n && revision <= (end[calls] ?? emptyHead).revision,
    )
    if (!reached) say('the anchors given', 'none of them has its head of this customer within the bundle')
  }

  return {
    metering(bundled: BundledEvent): void {
      counts.metering += 1
      const stored = pass(bundled, metering)
      if (stored === null) return
      try {
        const { event } = parseMeteringEvent(stored)
        if (event.type === 'MonthClosed' && event.data.yearMonth === month) closedThrough = event.data.throughRevision
        for (const fault of records.pass(event)) say(placeOf(bundled), fault)
      } catch (error) {
        if (!(error instanceof UnreadableEvent)) throw error
        say(placeOf(bundled), eventFault(error))
      }
    },
    event(bundled: BundledEvent): void {
      counts.events += 1
      const where = placeOf(bundled)
      const stored = pass(bundled, calls)
      const logged = stored === null ? null : readable(stored, (fault) => say(where, fault))
      if (logged === null) return
      const { event } = logged
      const revision = Number(bundled.revision)
      if (event.type === 'DetectionSucceeded') callsAt.add(revision, event.data)
      for (const fault of rules.pass(event, targetOf(event))) say(where, fault)
      meter(revision, logged)
      if (!belongsTo(month, logged)) return
      try {
        fold.add(logged)
      } catch (error) {
        say(where, error instanceof Error ? error.message : String(error))
      }
    },
    statement(found: Record<string, unknown>): void {
      const statement = fold.statement()
      if (statement === null) {
        say('the statement', `no events of ${month} to make one of`)
        return
      }
      const expected: Record<string, unknown> = statementDocument({ ...statement, customerId })
      const names = [...new Set([...Object.keys(expected), ...Object.keys(found)])]
      for (const name of names.toSorted()) {
        if (textOf(expected[name]) !== textOf(found[name]))
          say('the statement', `its field "${name}" is not what the events say`)
      }
    },
    /** After the last part. */
    end() {
      ended(calls)
      ended(metering)
      checkKept()
      const last = Number((heads.get(calls) ?? emptyHead).revision)
      if (closedThrough > last) {
        say(metering, `${month} is closed through revision ${closedThrough}, the customer's stream ends at ${last}`)
      }
      for (const { fault } of records.faults(last)) say(metering, fault)
      const { closed, openCalls, records: sealed } = records.summary()
      return {
        ...counts,
        from: before?.anchor.through ?? null,
        through: after.anchor.through,
        monthOver: after.anchor.through >= monthEnd(month),
        closed,
        openCalls,
        records: sealed.length,
      }
    },
  }
}

const placeOf = ({ stream, revision, type, id }: BundledEvent): string =>
  `${stream} revision ${revision} (${type}, ${id})`
const textOf = (value: unknown): string => (value === undefined ? '' : canonicalText(value))
