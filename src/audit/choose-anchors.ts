/** Which anchors a bundle reaches from and to. */
import { monthEnd, monthStart } from '../commands/plans.ts'
import { meteringStream, parseMeteringEvent } from '../events/metering.ts'
import type { EventStore } from '../eventstore/store.ts'
import type { Anchor, PublicKeys } from './anchor.ts'
import { type AnchorFile, BadAnchor, listAnchors, readAnchor } from './anchor-files.ts'
import { anchoredPoint, customerHead, meteringHead } from './anchored-point.ts'
import type { AnchoredPoint } from './bundle.ts'
import type { MonthPlace } from './month-place.ts'

/** No anchor reaches the month's events yet, and none may be taken now. */
export class NotAnchoredYet extends Error {
  override name = 'NotAnchoredYet'
}

export interface AnchorChoice {
  readonly store: Pick<EventStore, 'readForward'>
  readonly anchorDir: string
  /** Anchors signed by these are taken. */
  readonly publicKeys: PublicKeys
  /** Takes an anchor of the log as it is now and keeps it in the folder; absent where that may not be asked for. */
  readonly takeNow?: (() => Promise<Anchor>) | undefined
  /** Told of anchors in the folder that cannot be trusted; they are passed over. */
  readonly onBadAnchor: (error: BadAnchor) => void
}

/** The newest anchor from before the month and its first event; undefined where there is none that knew the customer. */
export async function anchorBefore(
  choice: AnchorChoice,
  customerId: string,
  month: string,
  { from }: MonthPlace,
): Promise<AnchoredPoint | undefined> {
  const files = (await listAnchors(choice.anchorDir)).filter(({ through }) => through <= monthStart(month))
  for (const file of files.reverse()) {
    const anchor = await trusted(choice, file)
    if (anchor === null) continue
    const point = anchoredPoint(anchor, customerId)
    if (point === null) return undefined // it was taken before the customer came
    if (customerHead(point).revision < from) return point
  }
  return undefined
}

/**
 * The first anchor that has all of the month: its last event and, where the month is closed, that event too. Without
 * one, an anchor taken now; where that may not be, the newest that knows any of the month.
 * @throws NotAnchoredYet, EventStoreUnavailable and what taking an anchor throws
 */
export async function anchorAfter(
  choice: AnchorChoice,
  customerId: string,
  month: string,
  place: MonthPlace,
  before: AnchoredPoint | undefined,
): Promise<AnchoredPoint> {
  const meteredFrom = before === undefined ? 0n : meteringHead(before).revision + 1n
  const closedAt = await revisionOfClose(choice.store, customerId, month, meteredFrom)
  const endOfMonth = monthEnd(month)
  const files = (await listAnchors(choice.anchorDir)).filter(({ through }) => through >= place.startsAt)
  // To read an anchor means to verify it, a second's work where it holds 10,000 customers: none without need.
  const isBehind = ({ through }: AnchorFile) => through >= endOfMonth
  let newest: AnchoredPoint | null = null
  for (const file of files.filter(isBehind)) {
    const point = await pointIn(choice, file, customerId, place)
    if (point === null) continue
    newest = point
    if (customerHead(point).revision >= place.last && meteringHead(point).revision >= closedAt) return point
  }
  if (choice.takeNow !== undefined) {
    const taken = anchoredPoint(await choice.takeNow(), customerId)
    if (taken !== null && customerHead(taken).revision >= place.from) return taken
  }
  if (newest !== null) return newest
  for (const file of files.filter((file) => !isBehind(file)).reverse()) {
    const point = await pointIn(choice, file, customerId, place)
    if (point !== null) return point
  }
  throw new NotAnchoredYet(`Nothing of ${month} is anchored yet; an anchor is taken once a day.`)
}

/** What the anchor knew of the customer; null when it cannot be trusted or knew nothing of the month. */
async function pointIn(
  choice: AnchorChoice,
  file: AnchorFile,
  customerId: string,
  { from }: MonthPlace,
): Promise<AnchoredPoint | null> {
  const anchor = await trusted(choice, file)
  const point = anchor === null ? null : anchoredPoint(anchor, customerId)
  return point === null || customerHead(point).revision < from ? null : point
}

async function trusted({ publicKeys, onBadAnchor }: AnchorChoice, { path }: AnchorFile): Promise<Anchor | null> {
  try {
    return await readAnchor(path, publicKeys)
  } catch (error) {
    if (!(error instanceof BadAnchor)) throw error
    onBadAnchor(error)
    return null
  }
}

/** Of the month's MonthClosed in the metering stream; −1 while it is not closed. */
async function revisionOfClose(
  store: AnchorChoice['store'],
  customerId: string,
  month: string,
  from: bigint,
): Promise<bigint> {
  for await (const stored of store.readForward(meteringStream(customerId), from)) {
    if (stored.type !== 'MonthClosed') continue
    const { event } = parseMeteringEvent(stored)
    if (event.type === 'MonthClosed' && event.data.yearMonth === month) return stored.revision
  }
  return -1n
}
