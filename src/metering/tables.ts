/**
 * What the consumer and the sealer ask of the metering tables. Postgres answers it in the product, memory in the
 * simulation (test/simulation), where a crash may come at any call. Everything in them is a fold of the log: dropped,
 * they fill again from the feed and the metering streams.
 */
import type { Licence, PlanName } from '../events/catalogue.ts'
import type { Head } from '../events/chain.ts'
import type { MeteringDataOf } from '../events/metering.ts'
import type { Position } from '../eventstore/store.ts'
import type { MeteringRecord } from './record.ts'

/** What metering knows of a customer besides the records. Bounded: months leave when they are closed. */
export interface MeterState {
  readonly licence: Licence
  readonly plan: PlanName
  /** licenceIdentity → the newest that was said of that licence. */
  readonly licences: Readonly<Record<string, Licence>>
  /** licenceIdentity → occurredAt of the first event that named it: AWS takes no usage from before the customer came. */
  readonly since: Readonly<Record<string, string>>
  /** licenceIdentity → when AWS ended it; without those that run again. Another licence that follows undoes no end. */
  readonly ends: Readonly<Record<string, string>>
  /** UTC months that are not closed → detections that were not voided. */
  readonly months: Readonly<Record<string, { readonly credit: number; readonly overage: number }>>
}

/** One customer: how far both streams are folded. */
export interface CustomerMeter {
  readonly customerId: string
  readonly partition: number
  /** Of `customer-{uuid}`. */
  readonly head: Head
  /** Of `metering-{uuid}`. */
  readonly meteringHead: Head
  readonly state: MeterState
  /** Start of the latest hour that has a sealed record; '' without one. Heartbeats are made for later hours only. */
  readonly sealedUpTo: string
  /** Months that are closed, oldest first. */
  readonly closed: readonly string[]
}

/** A call voided after its record was sealed. */
export interface Adjustment {
  readonly customerId: string
  /** Of the DetectionVoided in the customer's stream. */
  readonly revision: number
  readonly recordId: string
  readonly yearMonth: string
  readonly detectionId: string
  /** AdjustmentNoted is in the log. */
  readonly noted: boolean
}

export type ClosedMonth = MeteringDataOf<'MonthClosed'>

/** A partition of the feed. */
export interface PartitionRow {
  readonly partition: number
  /** The Kafka offset to read next; null on the direct feed and before the first message. */
  readonly nextOffset: bigint | null
  /** T of the last watermark that was judged complete; '' before the first. */
  readonly judgedThrough: string
  /** The place in $all of that watermark's tick: up to it, everything of this partition is folded. */
  readonly judgedPosition: Position | null
}

/** The direct feed's place; one row, written compare-and-set. Counts belong to the position: they move together. */
export interface DirectFeedRow {
  readonly position: Position
  readonly counts: readonly bigint[]
  /** The event at that position, so that another store is found out. */
  readonly stream: string
  readonly revision: bigint
  readonly hash: string
}

export interface MeteringTransaction {
  /** The rows of these customers, locked until the transaction ends, in the order of their ids; absent ones left out. */
  lockCustomers(customerIds: readonly string[]): Promise<Map<string, CustomerMeter>>
  lockPartition(partition: number): Promise<PartitionRow>
  /** Σ (head revision + 1) over a partition's customers: how many of its events are folded. */
  foldedCount(partition: number): Promise<bigint>
  /** Records by id; absent ones left out. */
  recordsById(recordIds: readonly string[]): Promise<Map<string, MeteringRecord>>
  /**
   * A customer's records by id: all of these months, and whatever their month those that are not at an end (open,
   * sealed, unknown, refused). Every record when no months are given.
   */
  recordsOf(customerId: string, yearMonths?: readonly string[]): Promise<MeteringRecord[]>
  adjustmentsOf(customerId: string): Promise<Adjustment[]>
  directFeed(): Promise<DirectFeedRow | null>
  save(changes: {
    readonly customers?: readonly CustomerMeter[]
    readonly records?: readonly MeteringRecord[]
    readonly adjustments?: readonly Adjustment[]
    readonly closed?: readonly ClosedMonth[]
    readonly partition?: PartitionRow
  }): Promise<void>
  /** Deletes a customer's records, adjustments and closed months: both streams are folded anew. */
  forgetRecords(customerId: string): Promise<void>
  /** @throws CheckpointMoved when the row is no longer `before`: another process feeds */
  moveDirectFeed(before: DirectFeedRow | null, after: DirectFeedRow): Promise<void>
}

export interface MeteringTables {
  /** Committed when `work` resolves, rolled back when it rejects. */
  transaction<T>(work: (tx: MeteringTransaction) => Promise<T>): Promise<T>

  // Questions of the leader that seals, sends and closes. Each looks outside of any transaction: what it finds is
  // looked at again under the customer's lock before anything is decided.

  /** Customers with an open record that is due: its hour + 1 h + grace is judged, or it is to be sealed early. */
  customersToSeal(graceMs: number): Promise<string[]>
  /** Customers with an adjustment that is not noted. */
  customersToAdjust(): Promise<string[]>
  /**
   * Records that wait to be sent (sealed or unknown, submission due), by deadline, then recordId; those after `after`,
   * so that records which wait for their next attempt hide none behind them.
   */
  recordsToSend(limit: number, after?: SendCursor): Promise<MeteringRecord[]>
  /** Customers and months that are not closed, whose month's end + grace is judged, with nothing open. */
  monthsToClose(graceMs: number): Promise<{ customerId: string; yearMonth: string }[]>
  /** Customers of those partitions whose licence is metered and runs; for heartbeats. */
  meteredCustomers(partitions: readonly number[]): Promise<string[]>
  partitions(): Promise<PartitionRow[]>
}

export interface SendCursor {
  readonly deadline: string
  readonly recordId: string
}

/** Another process has written what this one was about to: stop and look again. */
export class CheckpointMoved extends Error {
  override name = 'CheckpointMoved'
}
