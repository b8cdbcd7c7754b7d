/**
 * What the application asks of an event store. `client.ts` answers it through @eventstore/db-client; tests answer it
 * with a store in memory that fails when told to (test/support/memory-store.ts). Revisions are bigint here and everywhere
 * inside.
 */

/** An event as it is handed to the store: everything is fixed before the first send, the id included. */
export interface NewEvent {
  readonly id: string
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
  readonly metadata: Readonly<Record<string, unknown>>
}

/** Commit and prepare position of an event in $all. Both are kept, always (KurrentDB #4970). */
export interface Position {
  readonly commit: bigint
  readonly prepare: bigint
}

/** An event as the store returned it. `data` and `metadata` are unparsed: a body that is no JSON arrives as a string. */
export interface StoredEvent {
  readonly stream: string
  readonly revision: bigint
  readonly id: string
  readonly type: string
  readonly data: unknown
  readonly metadata: unknown
  readonly created: Date
}

/** A stored event together with its place in $all. */
export interface PositionedEvent extends StoredEvent {
  readonly position: Position
}

/** The revision an append must find at the head of the stream; 'no_stream' when the stream must not exist yet. */
export type ExpectedRevision = bigint | 'no_stream'

/** The frozen unit of writing. Once sent it never grows, is never decided again and never gets new ids. */
export interface Attempt {
  readonly stream: string
  readonly expectedRevision: ExpectedRevision
  readonly events: readonly NewEvent[]
}

/**
 * How one send of an attempt ended.
 * - `appended`: the events are in the log at expectedRevision + 1 … `revision`, by this send or an earlier one.
 * - `conflict`: WrongExpectedVersion. Nothing of this unchanged attempt is in the log, and nothing ever will be.
 * - `refused`: the server definitely did not take it (too large, access denied, stream deleted).
 * - `unknown`: deadline, lost connection or an unrecognised error. It may or may not be in the log, now or later.
 */
export type SendOutcome =
  | { readonly kind: 'appended'; readonly revision: bigint }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'refused'; readonly cause: Error }
  | { readonly kind: 'unknown'; readonly cause: Error }

/** The store cannot be read just now. Reads are safe to repeat. */
export class EventStoreUnavailable extends Error {
  override name = 'EventStoreUnavailable'
}

/** Events whose stream begins with one of `prefixes`, or those of certain types, whatever their stream. */
export type Wanted = { readonly prefixes: readonly string[] } | { readonly types: readonly string[] }

export interface EventStore {
  /** Sends an attempt once. Never throws; ends at the latest after `deadlineMs` milliseconds, then as `unknown`. */
  send(attempt: Attempt, deadlineMs: number): Promise<SendOutcome>

  /**
   * Events of one stream from `fromRevision` (included) to the head, oldest first, at most `maxCount`.
   * An absent stream is empty.
   * @throws EventStoreUnavailable
   */
  readForward(stream: string, fromRevision: bigint, maxCount?: number): AsyncIterable<StoredEvent>

  /**
   * Events of one stream from `from` (included; default the head) backwards, newest first, at most `maxCount`.
   * @throws EventStoreUnavailable
   */
  readBackward(stream: string, maxCount?: number, from?: bigint): AsyncIterable<StoredEvent>

  /**
   * Events of $all that `Wanted` names, after `after` (from the start when absent), in order, for ever: first what is
   * stored, then what arrives. Throws EventStoreUnavailable when the connection is lost; the caller subscribes again
   * from its own checkpoint. Leaving the loop or aborting the signal ends the server's call.
   */
  subscribe(
    options: Wanted & { readonly after?: Position | undefined; readonly signal: AbortSignal },
  ): AsyncIterable<PositionedEvent>

  /**
   * Events of $all whose stream begins with one of `prefixes`, after `after` (from the start when absent), in order, up
   * to the last there is when the read reaches it.
   * @throws EventStoreUnavailable
   */
  readAll(options: {
    readonly prefixes: readonly string[]
    readonly after?: Position | undefined
  }): AsyncIterable<PositionedEvent>

  close(): Promise<void>
}
