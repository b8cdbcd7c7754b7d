import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Draft, draftGroup, type Place } from './draft.ts'
import {
  type AppendRequest,
  type AppendResult,
  absentStream,
  type Log,
  LogUnavailable,
  type StreamState,
} from './model.ts'
import { openWriterSession, type WriterSession } from './session.ts'
import { idAt, insertRows, loadStreams } from './storage.ts'
import { createTail, type Tail } from './tail.ts'

/** One group is one transaction; these bounds keep its statement small while it is still worth a flush to disk. */
const GROUP_EVENTS = 2_000
const GROUP_BYTES = 4 * 1024 * 1024
/** Past this many bytes waiting, callers are asked to hold back. */
const BACKLOG_BYTES = 32 * 1024 * 1024
const STREAMS_KEPT = 100_000
/** EventStoreDB remembers some 8 MiB of ids for ANY and STREAM_EXISTS; this is as many. */
const IDS_KEPT = 50_000

export interface Writer {
  readonly tail: Tail
  /** Resolves after the commit. @throws LogUnavailable: the events may be in the log or not. */
  append(request: AppendRequest): Promise<AppendResult>
  /** Undefined while there is room for more appends; else resolves when there is again. */
  hasRoom(): Promise<void> | undefined
  /** What is known of a stream without asking Postgres: committed, and current as this process is the only writer. */
  knownStream(stream: string): StreamState | undefined
  /** Finishes what was accepted, then lets go of the lock. */
  close(): Promise<void>
}

interface Waiting {
  readonly request: AppendRequest
  readonly resolve: (result: AppendResult) => void
  readonly reject: (error: LogUnavailable) => void
}

/** Connects, takes the writer's lock (waiting for it as long as it takes) and reads where the log ends. */
export async function openWriter(databaseUrl: string, log: Log, signal: AbortSignal): Promise<Writer> {
  const tail = createTail()
  const streams = new LRUCache<string, StreamState>({ max: STREAMS_KEPT })
  const ids = new LRUCache<string, Place>({ max: IDS_KEPT })
  const closing = new AbortController()
  let session: WriterSession | undefined
  let queue: Waiting[] = []
  let queuedBytes = 0
  let working = false
  let roomWanted: (() => void)[] = []
  const idle: (() => void)[] = []

  async function connect(connectSignal: AbortSignal): Promise<void> {
    const opened = await openWriterSession(databaseUrl, log, connectSignal)
    // What the last session committed without being told so is in the table now. Memory starts from there.
    streams.clear()
    tail.reset(opened.head)
    session = opened
    log.info(`The log is open at position ${opened.head}.`)
    opened.ended.then(() => lost(opened))
  }

  /** The session is over, or one of its statements failed: everything waiting is in doubt, and memory is worth nothing. */
  function lost(broken: WriterSession): void {
    if (session !== broken) return
    session = undefined
    rejectAll(queue)
    queue = []
    queuedBytes = 0
    wakeRoom()
    if (closing.signal.aborted) return
    log.warn('The connection to Postgres is lost; appends are refused until it is back.')
    void broken.client.end().catch(() => undefined)
    void reconnect()
  }

  async function reconnect(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        return await connect(closing.signal)
      } catch (error) {
        if (!closing.signal.aborted) log.warn(`The log could not be opened: ${String(error)}`)
      }
    }
  }

  function wakeRoom(): void {
    const wakes = roomWanted
    roomWanted = []
    for (const wake of wakes) wake()
  }

  async function work(): Promise<void> {
    working = true
    while (queue.length > 0 && session !== undefined) {
      const current = session
      const group = takeGroup()
      try {
        const draft = await prepare(current, group)
        if (draft.rows.length > 0) await insertRows(current.client, draft.rows)
        if (session !== current) throw new LogUnavailable('The connection to Postgres was lost')
        remember(draft)
        for (const [index, { resolve, reject }] of group.entries()) {
          const result = draft.results[index]
          if (result === undefined) reject(new LogUnavailable('The append was left without a result'))
          else resolve(result)
        }
      } catch (error) {
        log.warn(`A group of ${group.length} appends failed: ${String(error)}`)
        rejectAll(group)
        lost(current)
      }
    }
    working = false
    for (const done of idle.splice(0)) done()
  }

  function takeGroup(): Waiting[] {
    let events = 0
    let bytes = 0
    let size = 0
    for (const { request } of queue) {
      if (size > 0 && (events + request.events.length > GROUP_EVENTS || bytes + request.bytes > GROUP_BYTES)) break
      events += request.events.length
      bytes += request.bytes
      size += 1
    }
    const group = queue.slice(0, size)
    queue = queue.slice(size)
    queuedBytes -= bytes
    if (queuedBytes <= BACKLOG_BYTES) wakeRoom()
    return group
  }

  async function prepare(current: WriterSession, group: readonly Waiting[]): Promise<Draft> {
    const requests = group.map((waiting) => waiting.request)
    const unknown = new Set(requests.map(({ stream }) => stream).filter((stream) => !streams.has(stream)))
    if (unknown.size > 0) {
      // Read under the writer's lock, so it stays true until this writer itself changes it.
      for (const [stream, state] of await loadStreams(current.client, [...unknown])) streams.set(stream, state)
    }
    return draftGroup(
      requests,
      {
        headPosition: tail.head,
        state: (stream) => streams.get(stream) ?? loadStream(current, stream),
        idAt: (stream, revision) => idAt(current.client, stream, revision),
        remembered: (id) => ids.get(id),
      },
      Date.now(),
      randomUUID,
    )
  }

  async function loadStream(current: WriterSession, stream: string): Promise<StreamState> {
    return (await loadStreams(current.client, [stream])).get(stream) ?? absentStream
  }

  /** Only after the commit does memory know of the new events. */
  function remember(draft: Draft): void {
    for (const [stream, state] of draft.states) streams.set(stream, state)
    for (const [id, place] of draft.placesById) ids.set(id, place)
    if (draft.rows.length > 0) tail.publish(draft.rows)
  }

  await connect(AbortSignal.any([signal, closing.signal]))

  return {
    tail,
    append(request) {
      if (session === undefined || closing.signal.aborted) {
        return Promise.reject(new LogUnavailable('The event store cannot reach Postgres'))
      }
      return new Promise((resolve, reject) => {
        queue.push({ request, resolve, reject })
        queuedBytes += request.bytes
        if (!working) void work()
      })
    },
    hasRoom() {
      if (queuedBytes <= BACKLOG_BYTES) return undefined
      return new Promise((resolve) => roomWanted.push(resolve))
    },
    knownStream: (stream) => (session === undefined ? undefined : streams.get(stream)),
    async close() {
      closing.abort() // nothing more is accepted
      if (working) await new Promise<void>((resolve) => idle.push(resolve))
      const last = session
      session = undefined
      await last?.client.end().catch(() => undefined)
    },
  }
}

function rejectAll(waiting: readonly Waiting[]): void {
  for (const { reject } of waiting) reject(new LogUnavailable('The connection to Postgres was lost'))
}
