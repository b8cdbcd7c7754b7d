/**
 * The metering tables in memory, with what their callers rely on in Postgres: rows that are there are locked until the
 * transaction ends, a transaction sees its own writes and what others have committed, and all of its writes appear at
 * once or never.
 */

import { licenceIdentity, monthStart, nextMonth } from '../../src/commands/plans.ts'
import { type MeteringRecord, unsettledStates } from '../../src/metering/record.ts'
import { addHours, addMs } from '../../src/metering/rules.ts'
import {
  type Adjustment,
  CheckpointMoved,
  type ClosedMonth,
  type CustomerMeter,
  type DirectFeedRow,
  type MeteringTables,
  type MeteringTransaction,
  type PartitionRow,
} from '../../src/metering/tables.ts'
import { comparePositions } from '../../src/projections/generations.ts'
import { partitionCount } from '../../src/relay/feed.ts'

/** Every row, by its key. */
interface Rows {
  readonly customers: Map<string, CustomerMeter>
  readonly records: Map<string, MeteringRecord>
  readonly adjustments: Map<string, Adjustment>
  readonly closed: Map<string, ClosedMonth>
  readonly partitions: Map<number, PartitionRow>
  /** One row, under the key `row`. */
  readonly directFeed: Map<'row', DirectFeedRow>
}

/** What a transaction has written: null where it deleted. */
type Written = {
  readonly [Table in keyof Rows]: Rows[Table] extends Map<infer Key, infer Row> ? Map<Key, Row | null> : never
}

const noRows = () => ({
  customers: new Map(),
  records: new Map(),
  adjustments: new Map(),
  closed: new Map(),
  partitions: new Map(),
  directFeed: new Map(),
})

export interface MemoryTables extends MeteringTables {
  /** All that is committed, in the order of its keys: equal tables have equal dumps. */
  dump(): Record<keyof Rows, unknown[]>
}

export function memoryTables(): MemoryTables {
  const committed: Rows = noRows()
  for (let partition = 0; partition < partitionCount; partition++) {
    committed.partitions.set(partition, { partition, nextOffset: null, judgedThrough: '', judgedPosition: null })
  }
  const locks = rowLocks()

  const judgedThrough = (customerId: string): string => {
    const partition = committed.customers.get(customerId)?.partition ?? -1
    return committed.partitions.get(partition)?.judgedThrough ?? ''
  }

  return {
    async transaction(work) {
      const held = locks.holder()
      const written: Written = noRows()
      try {
        const result = await work(inTransaction(committed, written, held.lock))
        for (const table of Object.keys(written) as (keyof Rows)[]) {
          const target = committed[table] as Map<unknown, unknown>
          for (const [key, row] of written[table]) {
            if (row === null) target.delete(key)
            else target.set(key, row)
          }
        }
        return result
      } finally {
        held.release()
      }
    },

    async customersToSeal(graceMs) {
      const due = [...committed.records.values()].filter(
        ({ state, sealEarly, hour, customerId }) =>
          state === 'open' && (sealEarly !== null || addMs(addHours(hour, 1), graceMs) <= judgedThrough(customerId)),
      )
      return [...new Set(due.map(({ customerId }) => customerId))].toSorted()
    },
    async customersToAdjust() {
      const waiting = [...committed.adjustments.values()].filter(({ noted }) => !noted)
      return [...new Set(waiting.map(({ customerId }) => customerId))].toSorted()
    },
    async recordsToSend(limit, after) {
      const place = ({ deadline, recordId }: { deadline: string; recordId: string }) => `${deadline} ${recordId}`
      return [...committed.records.values()]
        .filter(({ state, sealed }) => sealed?.submission === 'due' && (state === 'sealed' || state === 'unknown'))
        .map((record) => ({ record, at: place({ ...record, deadline: record.sealed?.deadline ?? '' }) }))
        .filter(({ at }) => after === undefined || at > place(after))
        .toSorted((a, b) => (a.at < b.at ? -1 : 1))
        .slice(0, limit)
        .map(({ record }) => record)
    },
    async monthsToClose(graceMs) {
      const open = new Set(
        [...committed.records.values()]
          .filter(({ state }) => state === 'open')
          .map(({ customerId, yearMonth }) => `${customerId} ${yearMonth}`),
      )
      return sorted(committed.customers).flatMap(({ customerId, state }) =>
        Object.keys(state.months)
          .toSorted()
          .filter((yearMonth) => addMs(monthStart(nextMonth(yearMonth)), graceMs) <= judgedThrough(customerId))
          .filter((yearMonth) => !open.has(`${customerId} ${yearMonth}`))
          .map((yearMonth) => ({ customerId, yearMonth })),
      )
    },
    async meteredCustomers(partitions) {
      return sorted(committed.customers)
        .filter(
          ({ partition, state: { licence, ends } }) =>
            partitions.includes(partition) && licence.kind !== 'none' && ends[licenceIdentity(licence)] === undefined,
        )
        .map(({ customerId }) => customerId)
    },
    async partitions() {
      return sorted(committed.partitions)
    },

    dump() {
      const { customers, records, adjustments, closed, partitions, directFeed } = committed
      return {
        customers: sorted(customers),
        records: sorted(records),
        adjustments: sorted(adjustments),
        closed: sorted(closed),
        partitions: sorted(partitions),
        directFeed: sorted(directFeed),
      }
    },
  }
}

function inTransaction(committed: Rows, written: Written, lock: (row: string) => Promise<void>): MeteringTransaction {
  const find = <Key, Row>(before: Map<Key, Row>, after: Map<Key, Row | null>, key: Key): Row | undefined =>
    after.has(key) ? (after.get(key) ?? undefined) : before.get(key)
  const all = <Row>(before: Map<string, Row>, after: Map<string, Row | null>): Row[] =>
    sorted(new Map<string, Row | null>([...before, ...after])).filter((row) => row !== null)
  const customerOf = (customerId: string) => find(committed.customers, written.customers, customerId)

  return {
    async lockCustomers(customerIds) {
      const found = new Map<string, CustomerMeter>()
      for (const customerId of [...new Set(customerIds)].toSorted()) {
        if (customerOf(customerId) === undefined) continue
        await lock(`customer ${customerId}`)
        const row = customerOf(customerId)
        if (row !== undefined) found.set(customerId, row)
      }
      return found
    },
    async lockPartition(partition) {
      await lock(`partition ${partition}`)
      const row = find(committed.partitions, written.partitions, partition)
      if (row === undefined) throw new RangeError(`there is no partition ${partition}`)
      return row
    },
    async foldedCount(partition) {
      return all(committed.customers, written.customers)
        .filter((row) => row.partition === partition)
        .reduce((sum, { head }) => sum + head.revision + 1n, 0n)
    },
    async recordsById(recordIds) {
      const found = new Map<string, MeteringRecord>()
      for (const recordId of recordIds) {
        const row = find(committed.records, written.records, recordId)
        if (row !== undefined) found.set(recordId, row)
      }
      return found
    },
    async recordsOf(customerId, yearMonths) {
      return all(committed.records, written.records).filter(
        ({ customerId: of, yearMonth, state }) =>
          of === customerId &&
          (yearMonths === undefined || yearMonths.includes(yearMonth) || unsettledStates.includes(state)),
      )
    },
    async adjustmentsOf(customerId) {
      return all(committed.adjustments, written.adjustments).filter((row) => row.customerId === customerId)
    },
    async directFeed() {
      return find(committed.directFeed, written.directFeed, 'row') ?? null
    },
    async save({ customers = [], records = [], adjustments = [], closed = [], partition }) {
      for (const row of customers) written.customers.set(row.customerId, structuredClone(row))
      for (const row of records) written.records.set(row.recordId, structuredClone(row))
      for (const row of adjustments) {
        written.adjustments.set(`${row.customerId} ${`${row.revision}`.padStart(12, '0')}`, structuredClone(row))
      }
      for (const row of closed) written.closed.set(`${row.customerId} ${row.yearMonth}`, structuredClone(row))
      if (partition !== undefined) written.partitions.set(partition.partition, structuredClone(partition))
    },
    async forgetRecords(customerId) {
      for (const table of ['records', 'adjustments', 'closed'] as const) {
        const keys = new Set([...committed[table].keys(), ...written[table].keys()])
        for (const key of keys) {
          const row = find<string, { readonly customerId: string }>(committed[table], written[table], key)
          if (row?.customerId === customerId) written[table].set(key, null)
        }
      }
    },
    async moveDirectFeed(before, after) {
      await lock('direct feed')
      const now = find(committed.directFeed, written.directFeed, 'row') ?? null
      const unmoved =
        now === null ? before === null : before !== null && comparePositions(now.position, before.position) === 0
      if (!unmoved) throw new CheckpointMoved('the direct feed is not where this process left it')
      written.directFeed.set('row', structuredClone(after))
    },
  }
}

/** Locks by name, each handed on in the order in which it was asked for. */
function rowLocks() {
  const free = new Map<string, Promise<void>>()
  return {
    holder() {
      const mine = new Map<string, () => void>()
      return {
        async lock(name: string): Promise<void> {
          if (mine.has(name)) return
          const before = free.get(name)
          let release = () => {}
          free.set(
            name,
            new Promise<void>((resolve) => {
              release = resolve
            }),
          )
          mine.set(name, release)
          await before
        },
        release() {
          for (const release of mine.values()) release()
        },
      }
    },
  }
}

const sorted = <Key extends string | number, Row>(rows: Map<Key, Row>): Row[] =>
  [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
