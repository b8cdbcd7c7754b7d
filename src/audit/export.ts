/** Writes the bundle of a customer's month. The console hands out the same bytes as `audit export`. */
import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { LogMismatch } from '../commands/errors.ts'
import { canonicalBytes, canonicalText } from '../events/canonical.ts'
import { customerStream } from '../events/catalogue.ts'
import { chainFault, emptyHead, type Head } from '../events/chain.ts'
import { meteringStream } from '../events/metering.ts'
import { parseCustomerEvent } from '../events/parse.ts'
import type { EventStore, StoredEvent } from '../eventstore/store.ts'
import { foldMonth } from '../statements/month.ts'
import { keyId, type PublicKeys } from './anchor.ts'
import { customerHead, meteringHead } from './anchored-point.ts'
import { type AnchorsLine, type BundleLine, bundleFormat, type Manifest, type PartName, partNames } from './bundle.ts'
import { type AnchorChoice, anchorAfter, anchorBefore } from './choose-anchors.ts'
import { statementDocument } from './document.ts'
import { placeOfMonth } from './month-place.ts'
import { belongsTo } from './replay.ts'

/** The customer has no events in that month. */
export class NothingToExport extends Error {
  override name = 'NothingToExport'
}

export interface ExportSource extends Omit<AnchorChoice, 'store' | 'publicKeys'> {
  readonly store: Pick<EventStore, 'readForward' | 'readBackward'>
  readonly signingKey: KeyObject
  /** Those that signed anchors before a rotation. */
  readonly olderKeys?: PublicKeys | undefined
  /** For the manifest's `createdAt`. ISO 8601. */
  readonly now: () => string
}

/**
 * Finds the anchors and returns the bundle's bytes, to be streamed: the log is read as they are taken. What can be
 * refused is refused before the first byte; a chain that turns out to be broken ends the stream with an error, and a
 * file that stops there has no manifest.
 *
 * @param month `YYYY-MM`, UTC
 * @throws NothingToExport, NotAnchoredYet, EventStoreUnavailable; the stream: LogMismatch, UnreadableEvent
 */
export async function exportBundle(
  source: ExportSource,
  customerId: string,
  month: string,
): Promise<AsyncGenerator<Buffer, void, void>> {
  const place = await placeOfMonth(source.store, customerId, month)
  if (place === null) throw new NothingToExport(`Customer ${customerId} is unknown, or has nothing in ${month}.`)
  const publicKeys = [createPublicKey(source.signingKey), ...(source.olderKeys ?? [])]
  const choice: AnchorChoice = { ...source, publicKeys }
  const before = await anchorBefore(choice, customerId, month, place)
  const after = await anchorAfter(choice, customerId, month, place, before)
  const anchors: AnchorsLine = {
    part: 'anchors',
    customerId,
    month,
    ...(before === undefined ? {} : { before }),
    after,
  }
  return bundle(source, anchors)
}

async function* bundle(source: ExportSource, anchors: AnchorsLine): AsyncGenerator<Buffer, void, void> {
  const { store, signingKey, now } = source
  const { customerId, month, before, after } = anchors
  const tallies = new Map(partNames.map((part) => [part, { lines: 0, bytes: 0, hash: createHash('sha256') }]))
  const line = (value: Exclude<BundleLine, { part: 'manifest' }>): Buffer => {
    const bytes = lineOf(value)
    const tally = tallies.get(value.part)
    if (tally !== undefined) {
      tally.lines += 1
      tally.bytes += bytes.length
      tally.hash.update(bytes)
    }
    return bytes
  }

  yield line(anchors)

  const metering = { from: before === undefined ? emptyHead : meteringHead(before), to: meteringHead(after) }
  for await (const stored of between(store, meteringStream(customerId), metering.from, metering.to)) {
    yield line({ part: 'metering', event: bundled(stored) })
  }

  const fold = foldMonth(month)
  const calls = { from: before === undefined ? emptyHead : customerHead(before), to: customerHead(after) }
  for await (const stored of between(store, customerStream(customerId), calls.from, calls.to)) {
    const { event, metadata } = parseCustomerEvent(stored)
    const { actor, hash } = metadata
    const logged = { revision: stored.revision, eventId: stored.id, actor, hash, event }
    if (belongsTo(month, logged)) fold.add(logged)
    yield line({ part: 'event', event: bundled(stored) })
  }

  const statement = fold.statement()
  if (statement === null) throw new LogMismatch(`${customerStream(customerId)} has lost the events of ${month}`)
  yield line({ part: 'statement', statement: statementDocument(statement) })

  const parts = partNames.map((part: PartName) => {
    const tally = tallies.get(part)
    return { part, lines: tally?.lines ?? 0, bytes: tally?.bytes ?? 0, sha256: tally?.hash.digest('hex') ?? '' }
  })
  const key = keyId(createPublicKey(signingKey))
  const manifest: Manifest = { format: bundleFormat, customerId, month, createdAt: now(), parts, key }
  const signature = sign(null, canonicalBytes(manifest), signingKey).toString('base64')
  yield lineOf({ part: 'manifest', manifest, signature })
}

const lineOf = (value: BundleLine): Buffer => Buffer.from(`${canonicalText(value)}\n`)

/** The events behind one anchored head up to another. @throws LogMismatch where the log does not lead from one to the other */
async function* between(
  store: ExportSource['store'],
  stream: string,
  from: Head,
  to: Head,
): AsyncGenerator<StoredEvent, void, void> {
  let head = from
  const count = Number(to.revision - from.revision)
  for await (const stored of count <= 0 ? [] : store.readForward(stream, from.revision + 1n, count)) {
    const fault = chainFault(head, stored)
    if (fault !== null) throw new LogMismatch(`${stream} revision ${stored.revision} (${stored.id}): ${fault}`)
    head = { revision: stored.revision, hash: (stored.metadata as { hash: string }).hash }
    yield stored
  }
  if (head.revision !== to.revision || head.hash !== to.hash) {
    throw new LogMismatch(`${stream} does not lead to its anchored head at revision ${to.revision}`)
  }
}

const bundled = ({ stream, revision, id, type, data, metadata }: StoredEvent) => ({
  stream,
  revision: revision.toString(),
  id,
  type,
  // chainFault has hashed both: they are JSON objects.
  data: data as Record<string, unknown>,
  metadata: metadata as Record<string, unknown>,
})
