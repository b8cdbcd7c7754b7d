/** A customer's stream, recomputed from the log alone: nothing else is read. */
import { monthOf } from '../commands/plans.ts'
import { type CustomerState, initialState } from '../commands/state.ts'
import { customerStream } from '../events/catalogue.ts'
import { parseCustomerEvent, UnreadableEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { foldMonth, type LoggedEvent, type MonthStatement } from '../statements/month.ts'
import { eventFault } from './form-fault.ts'
import { type ChainBreak, type Heads, passEvent } from './heads.ts'
import { streamRules, type VoidTarget } from './rules.ts'

type Log = Pick<EventStore, 'readForward'>

/** Something wrong at a place of the log: a broken chain, a broken rule, an event that cannot be read. */
export type Finding = ChainBreak
type Found = (finding: Finding) => void

export interface Replayed extends LoggedEvent {
  /** As the ledger held it after this event. */
  readonly state: CustomerState
}

/**
 * Every event of the customer in order, with the state after it. Chain and rules are checked on the way; what is wrong
 * is told to `found`, and the replay goes on with the log as it is.
 * @throws EventStoreUnavailable
 */
export async function* replayStream(log: Log, customerId: string, found: Found): AsyncGenerator<Replayed, void, void> {
  const stream = customerStream(customerId)
  const heads: Heads = new Map()
  const rules = streamRules(customerId, null)
  for await (const stored of log.readForward(stream, 0n)) {
    const { revision, id } = stored
    const say = (fault: string) => found({ stream, revision, id, fault })
    const broken = passEvent(heads, stored)
    if (broken !== null) found(broken)
    const logged = readable(stored, say)
    if (logged === null) continue
    const { event } = logged
    const target = event.type === 'DetectionVoided' ? await callAt(log, stream, event.data.revision) : undefined
    for (const fault of rules.pass(event, target)) say(fault)
    yield { ...logged, state: rules.state ?? initialState }
  }
}

/**
 * The month's own events, then the later voids of its calls: what `foldMonth` takes.
 * @throws EventStoreUnavailable
 */
export async function* replayMonth(
  log: Log,
  customerId: string,
  month: string,
  found: Found,
): AsyncGenerator<LoggedEvent, void, void> {
  for await (const { state: _, ...logged } of replayStream(log, customerId, found)) {
    if (belongsTo(month, logged)) yield logged
  }
}

/** Whether an event is of the month, or takes back a call of it later. */
export const belongsTo = (month: string, { event }: Pick<LoggedEvent, 'event'>): boolean =>
  monthOf(event.data.occurredAt) === month || (event.type === 'DetectionVoided' && event.data.yearMonth === month)

/**
 * Folds the month while its events are passed on to whoever prints them. A damaged log may hold what cannot be folded;
 * that is a finding too, and the statement is null then.
 */
export function foldWhilePassing(month: string, events: AsyncIterable<LoggedEvent>, found: Found, stream: string) {
  const fold = foldMonth(month)
  let failed = false
  async function* passing(): AsyncGenerator<LoggedEvent, void, void> {
    for await (const logged of events) {
      try {
        if (!failed) fold.add(logged)
      } catch (error) {
        failed = true
        found({ stream, revision: logged.revision, id: logged.eventId, fault: messageOf(error) })
      }
      yield logged
    }
  }
  return { events: passing(), statement: (): MonthStatement | null => (failed ? null : fold.statement()) }
}

/** A stored event as the fold takes it; null, and said, where it cannot be read. */
export function readable(stored: StoredEvent, say: (fault: string) => void): LoggedEvent | null {
  try {
    const { event, metadata } = parseCustomerEvent(stored)
    return { revision: stored.revision, eventId: stored.id, actor: metadata.actor, hash: metadata.hash, event }
  } catch (error) {
    if (!(error instanceof UnreadableEvent)) throw error
    say(eventFault(error))
    return null
  }
}

async function callAt(log: Log, stream: string, revision: number): Promise<VoidTarget> {
  for await (const stored of log.readForward(stream, BigInt(revision), 1)) {
    const event = readable(stored, () => {})?.event
    if (event?.type === 'DetectionSucceeded') return event.data
  }
  return null
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
