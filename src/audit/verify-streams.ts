/**
 * Each stream read by itself. The store finds the events of a stream by an index of its own, and it is the streams that
 * decide what is billed: they must hold what the log holds, in the same order.
 */
import type { Head } from '../events/chain.ts'
import type { EventStore } from '../eventstore/store.ts'
import { type Heads, passEvent } from './heads.ts'
import { placeOf } from './verify-anchors.ts'
import type { Difference, Say } from './verify-report.ts'

export interface StreamsOptions {
  readonly store: Pick<EventStore, 'readForward'>
  readonly say: Say
  /** What the log itself was found to hold is not said twice. */
  readonly said: readonly Difference[]
  /** Throws to end it. */
  readonly onEvent: () => void
}

/** A read waits for the event store before its first event; these wait together. */
const atOnce = 4

/**
 * @param heads of the log as it was read
 * @returns streams that went further, with their last revision: what was appended since, which the log must hold by now
 * @throws EventStoreUnavailable
 */
export async function checkStreams(heads: Heads, options: StreamsOptions): Promise<Map<string, bigint>> {
  const further = new Map<string, bigint>()
  const said = new Set(options.said.map(({ id, fault }) => `${id} ${fault}`))
  const waiting = [...heads].values()
  let failure: { readonly error: unknown } | undefined
  const onEvent = () => {
    // Where one has failed, the others read no further.
    if (failure !== undefined) throw failure.error
    options.onEvent()
  }
  const readInTurn = async (): Promise<void> => {
    try {
      for (const [stream, head] of waiting) {
        const last = await checkStream(stream, head, said, { ...options, onEvent })
        if (last > head.revision) further.set(stream, last)
      }
    } catch (error) {
      failure ??= { error }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, readInTurn))
  if (failure !== undefined) throw failure.error
  return further
}

/** Returns the revision of the last event that the stream has now. */
async function checkStream(
  stream: string,
  head: Head,
  said: ReadonlySet<string>,
  { store, say, onEvent }: StreamsOptions,
): Promise<bigint> {
  const read: Heads = new Map()
  let last = -1n
  for await (const stored of store.readForward(stream, 0n)) {
    onEvent()
    const where = { ...placeOf(stream), revision: `${stored.revision}`, id: stored.id }
    if (stored.stream !== stream) {
      say('chain', where, `in its stream: it is an event of ${stored.stream}`)
      continue
    }
    last = stored.revision
    if (stored.revision > head.revision) continue
    const broken = passEvent(read, stored)
    if (broken !== null && !said.has(`${stored.id} ${broken.fault}`))
      say('chain', where, `in its stream: ${broken.fault}`)
  }
  const end = read.get(stream)
  if (end?.revision === head.revision && end.hash === head.hash) return last
  const is = end === undefined ? 'it is empty' : `it ends at revision ${end.revision}`
  say(
    'chain',
    { ...placeOf(stream), revision: `${head.revision}` },
    `read by itself, the stream is not what the log holds: ${is}`,
  )
  return last
}

/** @param heads of the log, read again behind `checkStreams` */
export function checkFurther(further: ReadonlyMap<string, bigint>, heads: Heads, say: Say): void {
  for (const [stream, last] of further) {
    const { revision = -1n } = heads.get(stream) ?? {}
    if (revision >= last) continue
    const fault = `read by itself, the stream goes on to this revision; the log has nothing of it behind ${revision}`
    say('chain', { ...placeOf(stream), revision: `${last}` }, fault)
  }
}
