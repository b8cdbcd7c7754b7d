/**
 * What must be true at the end of any run, from the log and AWS's own ledger alone. It shares nothing with the product's
 * folds: it counts.
 */
import type { DataOf } from '../../src/events/catalogue.ts'
import type { MeteringDataOf } from '../../src/events/metering.ts'
import type { StoredEvent } from '../../src/eventstore/store.ts'
import type { BilledUsage } from '../aws/state.ts'

export interface Ends {
  /** Quantity of the month's records by how they ended; carried ones at their target only. */
  readonly byState: Readonly<Record<string, number>>
  readonly records: number
}

interface Sealed {
  readonly seal: MeteringDataOf<'RecordSealed'>
  state: string
  attempts: number
}

type Lines = string[]

/** Each difference as a sentence; none when everything adds up. */
export function differences(
  events: readonly StoredEvent[],
  billed: readonly BilledUsage[],
  /** The UTC month that still runs: those before it must be closed, with nothing that waits. */
  running: string,
  /** METERING_GRACE in milliseconds. */
  graceMs: number,
): Lines {
  const found: Lines = []
  const customers = new Set(
    events.filter(({ stream }) => stream.startsWith('customer-')).map(({ stream }) => stream.slice('customer-'.length)),
  )
  const accepted: Sealed[] = []
  const maybe: Sealed[] = []
  for (const customerId of customers) {
    const calls = events.filter(({ stream }) => stream === `customer-${customerId}`)
    const metering = events.filter(({ stream }) => stream === `metering-${customerId}`)
    const records = recordsIn(metering, found)
    checkCustomer(customerId, calls, metering, records, running, found)
    for (const record of records.values()) {
      if (record.state === 'accepted') accepted.push(record)
      else if (record.attempts > 0) maybe.push(record)
    }
  }
  checkSealedShort(events, graceMs, found)
  checkBill(accepted, maybe, billed, found)
  return found
}

function recordsIn(metering: readonly StoredEvent[], found: Lines): Map<string, Sealed> {
  const records = new Map<string, Sealed>()
  for (const { type, data, stream } of metering) {
    const { recordId } = data as { recordId?: string }
    if (type === 'RecordSealed') {
      const seal = data as MeteringDataOf<'RecordSealed'>
      if (records.has(seal.recordId)) found.push(`${seal.recordId} was sealed twice`)
      const state = {
        due: 'sealed',
        off: 'not_submittable',
        no_identity: 'not_submittable',
        no_hour_left: 'unbillable',
      }
      records.set(seal.recordId, { seal, state: state[seal.submission], attempts: 0 })
      continue
    }
    if (recordId === undefined || type === 'AdjustmentNoted') continue
    const record = records.get(recordId)
    if (record === undefined) {
      found.push(`${stream}: ${type} of ${recordId}, which was never sealed`)
      continue
    }
    if (type === 'SubmissionAttempted') record.attempts += 1
    const ends: Record<string, string> = {
      RecordAccepted: 'accepted',
      RecordRefused: 'refused',
      RecordCarriedForward: 'carried_forward',
      RecordUnbillable: 'unbillable',
      RecordWrittenOff: 'written_off',
    }
    const end = ends[type]
    if (end === undefined) continue
    if (record.state !== 'sealed' && !(record.state === 'refused' && type !== 'RecordAccepted')) {
      found.push(`${recordId} was ${record.state} and then ${end}`)
    }
    record.state = end
  }
  return records
}

function checkCustomer(
  customerId: string,
  calls: readonly StoredEvent[],
  metering: readonly StoredEvent[],
  records: ReadonlyMap<string, Sealed>,
  running: string,
  found: Lines,
): void {
  const overage = calls
    .filter(({ type }) => type === 'DetectionSucceeded')
    .map(({ data, revision }) => ({ ...(data as DataOf<'DetectionSucceeded'>), revision: Number(revision) }))
    .filter(({ funding }) => funding === 'overage')
  const voids = calls
    .filter(({ type }) => type === 'DetectionVoided')
    .map(({ data, revision }) => ({ ...(data as DataOf<'DetectionVoided'>), at: Number(revision) }))
    .filter(({ funding }) => funding === 'overage')
  const adjustments = metering
    .filter(({ type }) => type === 'AdjustmentNoted')
    .map(({ data }) => data as MeteringDataOf<'AdjustmentNoted'>)

  const months = new Set([
    ...overage.map(({ yearMonth }) => yearMonth),
    ...[...records.values()].map(({ seal }) => seal.yearMonth),
  ])
  for (const month of months) {
    const at = `${customerId} ${month}`
    const ofMonth = [...records.values()].filter(({ seal }) => seal.yearMonth === month)
    const sum = (pick: (seal: Sealed['seal']) => number, among = ofMonth) =>
      among.reduce((total, { seal }) => total + pick(seal), 0)
    const standing =
      overage.filter(({ yearMonth }) => yearMonth === month).length -
      voids.filter(({ yearMonth }) => yearMonth === month).length
    const adjusted = adjustments.filter(({ yearMonth }) => yearMonth === month).length
    const own = sum(({ ownQuantity }) => ownQuantity)
    if (own !== standing + adjusted) {
      found.push(`${at}: records hold ${own} calls; the log has ${standing} and ${adjusted} voided after their seal`)
    }
    const away = ofMonth.filter(({ state }) => state === 'carried_forward')
    const arrived = sum(({ quantity, ownQuantity }) => quantity - ownQuantity)
    const left = sum(({ quantity }) => quantity, away)
    if (left !== arrived) found.push(`${at}: ${left} calls were carried away, ${arrived} arrived`)
    if (month < running && ofMonth.some(({ state, attempts }) => state === 'sealed' && attempts === 0)) {
      found.push(`${at}: a record waits though its deadline is long past`)
    }
    const closes = metering.filter(
      ({ type, data }) => type === 'MonthClosed' && (data as MeteringDataOf<'MonthClosed'>).yearMonth === month,
    )
    if (month < running && closes.length !== 1) found.push(`${at}: closed ${closes.length} times`)
  }
  for (const { seal } of records.values()) checkRecord(seal, overage, voids, found)
  const identities = new Map<string, string>()
  for (const { seal, attempts } of records.values()) {
    if (attempts === 0) continue
    const known = identities.get(seal.hour) ?? seal.identity.kind
    if (known !== seal.identity.kind) found.push(`${customerId}: ${seal.hour} is told by product code and by licence`)
    identities.set(seal.hour, known)
  }
  const noted = new Set(adjustments.map(({ revision }) => revision))
  if (noted.size !== adjustments.length) found.push(`${customerId}: an adjustment was noted twice`)
}

/** Never across an hour, a month, a licence or a plan, and exactly the calls of its key up to its revision. */
function checkRecord(
  seal: Sealed['seal'],
  overage: readonly (DataOf<'DetectionSucceeded'> & { readonly revision: number })[],
  voids: readonly (DataOf<'DetectionVoided'> & { readonly at: number })[],
  found: Lines,
): void {
  const { recordId, hour, timestamp, yearMonth, ownQuantity, lateQuantity, throughRevision } = seal
  if (seal.submission === 'no_hour_left') return
  const own = overage.filter(({ bucketKey, revision }) => bucketKey === recordId && revision <= throughRevision)
  const gone = voids.filter(
    ({ bucketKey, revision, at }) => bucketKey === recordId && revision <= throughRevision && at <= throughRevision,
  )
  if (own.length - gone.length !== ownQuantity - lateQuantity) {
    found.push(
      `${recordId}: sealed with ${ownQuantity} (${lateQuantity} late); its hour had ${own.length - gone.length}`,
    )
  }
  for (const { occurredAt } of own) {
    if (occurredAt.slice(0, 13) !== hour.slice(0, 13)) found.push(`${recordId} holds a call of ${occurredAt}`)
  }
  if (timestamp.slice(0, 13) !== hour.slice(0, 13) || hour.slice(0, 7) !== yearMonth) {
    found.push(`${recordId}: hour ${hour}, month ${yearMonth}, told to AWS as ${timestamp}`)
  }
}

/**
 * A call that came too late for its hour's seal stands in the log behind a tick that had passed the hour and the grace:
 * before that tick nobody could know the hour to be complete, so nobody may have sealed it.
 */
function checkSealedShort(events: readonly StoredEvent[], graceMs: number, found: Lines): void {
  const seals = new Map<string, MeteringDataOf<'RecordSealed'>>()
  for (const { type, data } of events) {
    if (type !== 'RecordSealed') continue
    const seal = data as MeteringDataOf<'RecordSealed'>
    seals.set(seal.recordId, seal)
  }
  let ticked = ''
  for (const { type, data, revision } of events) {
    if (type === 'Tick') ticked = (data as { occurredAt: string }).occurredAt
    if (type !== 'DetectionSucceeded') continue
    const { bucketKey, funding } = data as DataOf<'DetectionSucceeded'>
    const seal = seals.get(bucketKey)
    if (funding !== 'overage' || seal?.cause !== 'hour_over' || seal.throughRevision >= Number(revision)) continue
    if (Date.parse(ticked || '1970-01-01') < Date.parse(seal.hour) + 3_600_000 + graceMs) {
      found.push(`${bucketKey} was sealed short: revision ${revision} was in the log before the hour was complete`)
    }
  }
}

/** AWS's ledger holds each accepted record once and with its quantity, and nothing that was not sent. */
function checkBill(
  accepted: readonly Sealed[],
  maybe: readonly Sealed[],
  billed: readonly BilledUsage[],
  found: Lines,
): void {
  const ids = new Set<string>()
  for (const usage of billed) {
    const fits = ({ seal }: Sealed) =>
      seal.timestamp === new Date(usage.timestamp).toISOString() &&
      seal.dimension === usage.dimension &&
      seal.identity.kind === usage.by &&
      seal.region === usage.region &&
      (usage.subscriptionId === seal.recordId.split('|')[1] || usage.subscriptionId.endsWith(seal.customerId))
    const record = accepted.find(fits) ?? maybe.find(fits)
    if (record === undefined)
      found.push(`AWS bills ${usage.quantity} of ${usage.subscriptionId} ${usage.hour}, which was never sent`)
    else if (record.seal.quantity !== usage.quantity)
      found.push(`AWS bills ${usage.quantity} for ${record.seal.recordId}, sealed with ${record.seal.quantity}`)
    else if (ids.has(record.seal.recordId)) found.push(`AWS bills ${record.seal.recordId} twice`)
    else ids.add(record.seal.recordId)
  }
  for (const { seal } of accepted) {
    if (!ids.has(seal.recordId)) found.push(`${seal.recordId} counts as accepted, and AWS does not bill it`)
  }
}
