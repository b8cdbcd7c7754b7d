import { decideAppend, type Recorded } from './decide.ts'
import { parseMetadata, truncatingMetadata } from './metadata.ts'
import {
  type AppendRequest,
  type AppendResult,
  absentStream,
  DELETED,
  describedBy,
  metastreamOf,
  type ProposedEvent,
  type StoredRow,
  type StreamState,
} from './model.ts'
import { encodeEvent } from './protocol.ts'

/** A group of appends decided one after the other, each on top of those before it, and not yet written. */
export interface Draft {
  readonly rows: readonly StoredRow[]
  /** One per request, in their order; each holds once the rows are committed. */
  readonly results: readonly AppendResult[]
  /** The streams that change, as they will be. */
  readonly states: ReadonlyMap<string, StreamState>
  /** Where each event stands, by its id. */
  readonly placesById: ReadonlyMap<string, Place>
}

/** What is in the log already. */
export interface Committed {
  readonly headPosition: bigint
  state(stream: string): StreamState | Promise<StreamState>
  idAt(stream: string, revision: bigint): Promise<string | undefined>
  remembered(id: string): Place | undefined
}

export interface Place {
  readonly stream: string
  readonly revision: bigint
}

/** Decides the requests in order and gives their events the revisions and positions behind those of the log. */
export async function draftGroup(
  requests: readonly AppendRequest[],
  committed: Committed,
  nowMs: number,
  newId: () => string,
): Promise<Draft> {
  const rows: StoredRow[] = []
  const states = new Map<string, StreamState>()
  // A retry may stand in the same group as its original.
  const idsByPlace = new Map<string, string>()
  const placesById = new Map<string, Place>()

  async function stateOf(stream: string): Promise<StreamState> {
    return states.get(stream) ?? (await committed.state(stream)) ?? absentStream
  }

  /** Writes events from revision `first` on and returns the position of the last. */
  async function write(stream: string, first: bigint, events: readonly ProposedEvent[]): Promise<bigint> {
    let revision = first - 1n
    let position = committed.headPosition + BigInt(rows.length)
    for (const event of events) {
      revision += 1n
      position += 1n
      const message = encodeEvent(event, stream, revision, position, nowMs)
      rows.push({ position, stream, revision, type: event.type, message })
      idsByPlace.set(placeKey(stream, revision), event.id)
      placesById.set(event.id, { stream, revision })
    }
    states.set(stream, { ...(await stateOf(stream)), head: revision })
    const described = describedBy(stream)
    const metadata = events.at(-1)
    if (described !== undefined && metadata !== undefined) {
      states.set(described, { ...(await stateOf(described)), ...parseMetadata(metadata.data) })
    }
    return position
  }

  /** Other metadata than the limits are not carried over to the new metadata event, unlike in EventStoreDB. */
  async function truncate(stream: string, state: StreamState, truncateBefore: bigint): Promise<bigint> {
    const metastream = metastreamOf(stream)
    const metadata: ProposedEvent = {
      id: newId(),
      type: '$metadata',
      contentType: 'application/json',
      data: truncatingMetadata(truncateBefore, state.maxCount),
      customMetadata: new Uint8Array(),
    }
    return write(metastream, (await stateOf(metastream)).head + 1n, [metadata])
  }

  async function draft({ stream, expected, events, deletion }: AppendRequest): Promise<AppendResult> {
    const recorded: Recorded = {
      idAt: async (revision) => idsByPlace.get(placeKey(stream, revision)) ?? (await committed.idAt(stream, revision)),
      remembered: (id) => {
        const place = placesById.get(id) ?? committed.remembered(id)
        return place?.stream === stream ? place.revision : undefined
      },
    }
    const state = await stateOf(stream)
    const decision = await decideAppend(
      state,
      expected,
      events.map((event) => event.id),
      recorded,
    )
    if (decision.kind === 'repeated') return { kind: 'appended', last: decision.last, position: undefined }
    if (decision.kind !== 'append') return decision
    if (deletion === 'soft') {
      return { kind: 'appended', last: state.head, position: await truncate(stream, state, DELETED) }
    }
    if (deletion === 'hard') {
      return { kind: 'appended', last: DELETED, position: await write(stream, DELETED, events) }
    }
    if (events.length === 0) return { kind: 'appended', last: state.head, position: undefined }
    if (decision.undelete) await truncate(stream, state, decision.first)
    const position = await write(stream, decision.first, events)
    return { kind: 'appended', last: decision.first + BigInt(events.length) - 1n, position }
  }

  const results: AppendResult[] = []
  for (const request of requests) results.push(await draft(request))
  return { rows, results, states, placesById }
}

function placeKey(stream: string, revision: bigint): string {
  return `${revision} ${stream}`
}
