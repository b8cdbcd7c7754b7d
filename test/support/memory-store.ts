/**
 * An event store in memory with the real server's semantics for exact expected revisions (contract.spec.ts proves
 * them on the real protocol) and, on demand, faults: answers lost before or after the commit, sends that land late,
 * twice, or only after the sender gave up. Time is setTimeout's, so fake timers make it virtual.
 */
import { EventEmitter, once } from 'node:events'
import {
  type Attempt,
  type EventStore,
  EventStoreUnavailable,
  type PositionedEvent,
  type SendOutcome,
} from '../../src/eventstore/store.ts'

/** What happens to one send. `landsAfterMs` without an answer in time is the outcome nobody knows. */
export interface SendFault {
  /** The request never arrives. */
  readonly requestLost?: boolean
  /** The request arrives after this many milliseconds. */
  readonly landsAfterMs?: number
  /** The request arrives, its answer does not. */
  readonly answerLost?: boolean
  /** The request arrives a second time, this many milliseconds later (a resend inside the network). */
  readonly duplicateAfterMs?: number
}

export interface MemoryStore extends EventStore {
  all(): readonly PositionedEvent[]
  stream(name: string): readonly PositionedEvent[]
  /** Faults of coming sends, asked once for each. */
  onSend: (attempt: Attempt) => SendFault
  /** Whether a read fails just now. */
  onRead: () => boolean
  /** How many sends arrived at the store. */
  sends: number
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

export function createMemoryStore(): MemoryStore {
  const log: PositionedEvent[] = []
  const streams = new Map<string, PositionedEvent[]>()
  const appended = new EventEmitter().setMaxListeners(0)

  function write(attempt: Attempt): SendOutcome {
    store.sends += 1
    const stream = streams.get(attempt.stream) ?? []
    const expected = attempt.expectedRevision === 'no_stream' ? -1 : Number(attempt.expectedRevision)
    if (stream.length - 1 !== expected) {
      // Idempotent: the same ids in the same order at the same place are the same attempt, for ever.
      const there = stream.slice(expected + 1, expected + 1 + attempt.events.length)
      const same = there.length === attempt.events.length && attempt.events.every(({ id }, i) => there[i]?.id === id)
      return same ? { kind: 'appended', revision: BigInt(expected + attempt.events.length) } : { kind: 'conflict' }
    }
    streams.set(attempt.stream, stream)
    for (const event of attempt.events) {
      const place = BigInt(log.length)
      const stored: PositionedEvent = {
        // What went over the wire comes back as other objects.
        ...structuredClone(event),
        stream: attempt.stream,
        revision: BigInt(stream.length),
        created: new Date(),
        position: { commit: place, prepare: place },
      }
      stream.push(stored)
      log.push(stored)
    }
    appended.emit('appended')
    return { kind: 'appended', revision: BigInt(stream.length - 1) }
  }

  async function arrive(attempt: Attempt, fault: SendFault): Promise<SendOutcome> {
    if (fault.landsAfterMs !== undefined) await pause(fault.landsAfterMs)
    if (fault.duplicateAfterMs !== undefined) setTimeout(() => write(attempt), fault.duplicateAfterMs)
    return write(attempt)
  }

  const store: MemoryStore = {
    sends: 0,
    onSend: () => ({}),
    onRead: () => false,
    all: () => log,
    stream: (name) => streams.get(name) ?? [],
    async send(attempt, deadlineMs) {
      const fault = store.onSend(attempt)
      const unknown = async (): Promise<SendOutcome> => {
        await pause(deadlineMs)
        return { kind: 'unknown', cause: new Error('no answer before the deadline') }
      }
      if (fault.requestLost) return unknown()
      const answer = arrive(attempt, fault)
      if (fault.answerLost) return unknown()
      return fault.landsAfterMs === undefined ? answer : Promise.race([answer, unknown()])
    },
    async *readForward(name, fromRevision, maxCount = Number.POSITIVE_INFINITY) {
      await pause(0)
      if (store.onRead()) throw new EventStoreUnavailable('the store cannot be read')
      yield* store.stream(name).slice(Number(fromRevision), Number(fromRevision) + maxCount)
    },
    async *readBackward(name, maxCount = Number.POSITIVE_INFINITY, from) {
      await pause(0)
      if (store.onRead()) throw new EventStoreUnavailable('the store cannot be read')
      const end = from === undefined ? undefined : Number(from) + 1
      yield* store.stream(name).slice(0, end).reverse().slice(0, maxCount)
    },
    async *subscribe({ after, signal, ...wanted }) {
      const isWanted = ({ stream, type }: PositionedEvent) =>
        'types' in wanted ? wanted.types.includes(type) : wanted.prefixes.some((prefix) => stream.startsWith(prefix))
      let next = after === undefined ? 0 : Number(after.commit) + 1
      while (!signal.aborted) {
        const event = log[next]
        if (event === undefined) {
          await once(appended, 'appended', { signal }).catch(() => {})
          continue
        }
        next += 1
        if (isWanted(event)) yield event
      }
    },
    async *readAll({ prefixes, after }) {
      await pause(0)
      if (store.onRead()) throw new EventStoreUnavailable('the store cannot be read')
      const next = after === undefined ? 0 : Number(after.commit) + 1
      yield* log.slice(next).filter(({ stream }) => prefixes.some((prefix) => stream.startsWith(prefix)))
    },
    async close() {},
  }
  return store
}
