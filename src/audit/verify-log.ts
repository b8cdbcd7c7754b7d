/** One pass over the log: each event at its place in its chain, by the rules of its stream, against the anchors. */
import { monthOf } from '../commands/plans.ts'
import { customerStream, type DataOf } from '../events/catalogue.ts'
import { emptyHead } from '../events/chain.ts'
import {
  licenceReservedData,
  meteringStream,
  parseData,
  parseMeteringEvent,
  tickData,
  watermarkStream,
} from '../events/metering.ts'
import { UnreadableEvent } from '../events/parse.ts'
import type { EventStore, Position, StoredEvent } from '../eventstore/store.ts'
import { comparePositions } from '../projections/generations.ts'
import { customerOf } from '../relay/feed.ts'
import type { LoggedEvent } from '../statements/month.ts'
import type { Anchor } from './anchor.ts'
import { eventFault } from './form-fault.ts'
import { type Heads, passEvent } from './heads.ts'
import { readable } from './replay.ts'
import { faultsAfter, repeats } from './rules.ts'
import { revisionNamed } from './verify-again.ts'
import { anchorCheck, placeOf } from './verify-anchors.ts'
import { type CustomerBook, foldCustomer, foldMetering, isReplayed, monthOfMetering, newBook } from './verify-book.ts'
import type { Say } from './verify-report.ts'

/** What is kept between events. Plain data: it can be written down and gone on from. */
export interface LogMemory {
  readonly heads: Heads
  readonly books: Map<string, CustomerBook>
  events: number
  /** Customer events, for telling how far something is behind. */
  customerEvents: number
  /** Time of the newest tick. */
  ticked: string
  /** Of the last event in $all. */
  position: Position | null
}
export const newLogMemory = (): LogMemory => ({
  heads: new Map(),
  books: new Map(),
  events: 0,
  customerEvents: 0,
  ticked: '',
  position: null,
})

export interface LogCheckOptions {
  /** To look up what a void names. */
  readonly log: Pick<EventStore, 'readForward'>
  readonly anchors: readonly Anchor[]
  /** Of one customer's streams alone; default the whole log. */
  readonly customerId?: string | undefined
  readonly say: Say
}

export function logCheck({ log, anchors, customerId: only, say }: LogCheckOptions, memory: LogMemory) {
  const { heads, books } = memory
  const ownStreams = only === undefined ? [] : [customerStream(only), meteringStream(only)]
  const against = anchorCheck(anchors, (stream) => only === undefined || ownStreams.includes(stream), say)

  function bookOf(customerId: string): CustomerBook {
    let book = books.get(customerId)
    if (book === undefined) {
      book = newBook(customerId)
      books.set(customerId, book)
    }
    return book
  }

  function customer(stored: StoredEvent): Promise<void> | void {
    memory.customerEvents += 1
    const id = customerOf(stored.stream)
    const where = whereOf(stored)
    if (id === null) return say('rule', where, "its stream is not named after a customer's id")
    const logged = readable(stored, (fault) => say('unreadable', where, fault))
    if (logged === null) return
    const book = bookOf(id)
    const { event } = logged
    const at = { ...where, month: monthOf(event.data.occurredAt) }
    const told = (fault: string) => say('rule', at, fault)
    if (event.data.customerId !== id) told(`it names another customer, ${event.data.customerId}`)
    if (event.data.occurredAt < book.state.lastOccurredAt) {
      told(`its time ${event.data.occurredAt} lies before the event before it`)
    }
    for (const fault of faultsAfter(book.state, event, book.due)) told(fault)
    if (event.type === 'DetectionReplayed') {
      const { detectionId } = event.data
      if (book.voided.has(detectionId)) told('it replays a call that was voided')
      if (isReplayed(book, detectionId)) told('its call was noted as replayed before')
    }
    if (event.type !== 'DetectionVoided') return foldCustomer(book, logged, false)
    return voidFaults(log, stored, event.data).then((faults) => {
      if (book.voided.has(event.data.detectionId)) faults.push('its call was voided before')
      for (const fault of faults) told(fault)
      foldCustomer(book, logged, false)
    })
  }

  function metering(stored: StoredEvent): void {
    const id = customerOf(`customer-${stored.stream.slice('metering-'.length)}`)
    const where = whereOf(stored)
    if (id === null) {
      say('rule', where, "its stream is not named after a customer's id")
      return
    }
    attempt(where, () => {
      const { event, metadata } = parseMeteringEvent(stored)
      const head = { revision: stored.revision, hash: metadata.hash }
      const book = bookOf(id)
      const named = revisionNamed(event)
      if (named > (heads.get(customerStream(id)) ?? emptyHead).revision) {
        const fault = `it speaks of revision ${named} of the customer's stream, which the log did not have yet`
        say('metering', { ...where, month: monthOfMetering(event) }, fault)
      }
      const faults = foldMetering(book, event, head, false)
      for (const fault of faults) say('metering', { ...where, month: monthOfMetering(event) }, fault)
    })
  }

  function watermark(stored: StoredEvent): void {
    const where = whereOf(stored)
    attempt(where, () => {
      const { occurredAt } = parseData(stored, tickData).data
      if (occurredAt < memory.ticked) say('rule', where, `its time ${occurredAt} lies before the tick before it`)
      memory.ticked = occurredAt
    })
  }

  function licence(stored: StoredEvent): void {
    const where = whereOf(stored)
    attempt(where, () => void parseData(stored, licenceReservedData))
    if (stored.revision > 0n) say('rule', where, 'the licence was reserved before')
  }

  /** Events of $all come in the order of the positions that they say they have. */
  function order(stored: StoredEvent & { readonly position?: Position }): void {
    const { position } = stored
    if (position === undefined) return
    if (memory.position !== null && comparePositions(position, memory.position) <= 0) {
      const fault = `its position ${position.commit} in the log does not lie behind that of the event before it`
      say('chain', whereOf(stored), fault)
    }
    memory.position = position
  }

  function attempt(where: ReturnType<typeof whereOf>, work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof UnreadableEvent)) throw error
      say('unreadable', where, eventFault(error))
    }
  }

  return {
    /** Resolves later only where something must be looked up. @throws EventStoreUnavailable */
    pass(stored: StoredEvent & { readonly position?: Position }): Promise<void> | void {
      memory.events += 1
      const broken = passEvent(heads, stored)
      if (broken !== null) say('chain', whereOf(stored), broken.fault)
      against.pass(stored, heads)
      if (only === undefined) order(stored)
      const { stream } = stored
      if (stream.startsWith('customer-')) return customer(stored)
      if (stream.startsWith('metering-')) metering(stored)
      else if (stream === watermarkStream) watermark(stored)
      else if (stream.startsWith('licence-')) licence(stored)
      else say('rule', whereOf(stored), `there is no stream ${stream} in this system`)
    },
    /** After the last event. */
    end(): void {
      against.end(heads)
      for (const { customerId, head, meteringHead } of books.values()) {
        if (head.revision >= 0n || meteringHead.revision < 0n) continue
        say('metering', { customerId, stream: meteringStream(customerId) }, 'the customer has no stream of their own')
      }
    },
  }
}

const whereOf = ({ stream, revision, id }: StoredEvent) => ({ ...placeOf(stream), revision: `${revision}`, id })

/** Looks at the call that a void names, and at everything between the two. */
async function voidFaults(
  log: Pick<EventStore, 'readForward'>,
  stored: StoredEvent,
  data: DataOf<'DetectionVoided'>,
): Promise<string[]> {
  const faults: string[] = []
  let call: LoggedEvent['event'] | undefined
  for await (const before of log.readForward(stored.stream, BigInt(data.revision))) {
    if (before.revision >= stored.revision) break
    const event = readable(before, () => {})?.event
    if (before.revision === BigInt(data.revision)) call = event
    if (event?.type === 'DetectionReplayed' && event.data.detectionId === data.detectionId) {
      faults.push('it voids a call whose answer was given again')
    }
  }
  const isCall = call?.type === 'DetectionSucceeded' && repeats(data, call.data)
  return isCall ? faults : [...faults, `no such call stands at revision ${data.revision}`]
}
