/** What the consumer and the sealer rely on, of metering tables of any kind: Postgres's and memory's alike. */
import { expect, test } from 'vitest'
import {
  type Adjustment,
  CheckpointMoved,
  type ClosedMonth,
  type DirectFeedRow,
  type MeteringTables,
  type MeteringTransaction,
  type PartitionRow,
} from '../../src/metering/tables.ts'
import { partitionCount } from '../../src/relay/feed.ts'
import { adjustment, closedMonth, customer, id, open, sealed } from './table-rows.ts'

const grace = 600_000
const partition = customer(id(1)).partition

/** Declares the tests; `fresh` gives empty tables to each. */
export function meteringTablesContract(fresh: () => Promise<MeteringTables>): void {
  const judged = (tables: MeteringTables, partition: number, judgedThrough: string) =>
    tables.transaction(async (tx) => {
      const row = await tx.lockPartition(partition)
      await tx.save({ partition: { ...row, judgedThrough, judgedPosition: { commit: 1n, prepare: 1n } } })
    })
  const save = (tables: MeteringTables, changes: Parameters<MeteringTransaction['save']>[0]) =>
    tables.transaction((tx) => tx.save(changes))

  test('what is saved is read back as it was', async () => {
    const tables = await fresh()
    const customers = [
      customer(id(1), {
        head: { revision: 9_007_199_254_740_993n, hash: 'ab' },
        meteringHead: { revision: -1n, hash: '' },
        sealedUpTo: '2026-03-05T10:00:00.000Z',
        closed: ['2026-01', '2026-02'],
      }),
      customer(id(2), {
        ends: { 'arn:aws:1': '2026-03-05T10:59:59.999Z' },
        months: { '2026-02': { credit: 3, overage: 0 }, '2026-03': { credit: 0, overage: 7 } },
      }),
    ]
    const records = [
      open(id(1), '2026-03-05T11:00:00.000Z', { calls: { quantity: 4, late: 1, digest: 'c'.repeat(64) } }),
      open(id(2), '2026-03-05T12:00:00.000Z', {
        carriedFrom: [{ recordId: 'a|b', quantity: 2 }],
        sealEarly: 'licence_replaced',
      }),
      {
        ...sealed(id(2), '2026-03-05T10:00:00.000Z', { carriedFrom: [{ recordId: 'a|b', quantity: 2 }] }),
        state: 'unknown' as const,
        attempts: 2,
        lastAttemptAt: '2026-03-05T11:20:00.000Z',
        unanswered: true,
        doubtful: true,
        objected: true,
        lastAnswer: 'server_error: with "quotes", \\ and\nlines',
        meteringRecordId: 'm-1',
        carriedTo: 'x|y',
        reason: 'a reason',
      },
    ]
    const adjustments = [adjustment(id(1), 12), adjustment(id(1), 7, { noted: true })]
    await save(tables, { customers, records, adjustments })

    await tables.transaction(async (tx) => {
      const found = await tx.lockCustomers([id(2), id(3), id(1)])
      expect([...found.keys()]).toEqual([id(1), id(2)])
      expect([...found.values()]).toEqual(customers)
      const wanted = records.map(({ recordId }) => recordId)
      const byId = await tx.recordsById([...wanted, 'nobody|knows|this|one'])
      expect(wanted.map((recordId) => byId.get(recordId))).toEqual(records)
      expect(byId.size).toBe(records.length)
      expect(await tx.adjustmentsOf(id(1))).toEqual([...adjustments].reverse())
      expect(await tx.adjustmentsOf(id(2))).toEqual([])
    })
  })

  test('saving again replaces: an emptied month leaves, another customer stays as it was', async () => {
    const tables = await fresh()
    const months = { '2026-02': { credit: 3, overage: 1 }, '2026-03': { credit: 1, overage: 0 } }
    await save(tables, { customers: [customer(id(1), { months }), customer(id(2), { months })] })
    const later = customer(id(1), {
      months: { '2026-03': { credit: 2, overage: 0 } },
      closed: ['2026-02'],
      head: { revision: 5n, hash: 'ff' },
    })
    await save(tables, { customers: [later] })
    const found = await tables.transaction((tx) => tx.lockCustomers([id(1), id(2)]))
    expect(found.get(id(1))).toEqual(later)
    expect(found.get(id(2))?.state.months).toEqual(months)
  })

  test('what a transaction saved it sees, others see at its end, and nobody when it fails', async () => {
    const tables = await fresh()
    const failure = new Error('on purpose')
    const failing = tables.transaction(async (tx) => {
      await tx.lockPartition(partition)
      await tx.save({ customers: [customer(id(1), { head: { revision: 6n, hash: 'aa' } })] })
      expect(await tx.foldedCount(partition)).toBe(7n)
      throw failure
    })
    await expect(failing).rejects.toBe(failure)
    await tables.transaction(async (tx) => {
      expect(await tx.foldedCount(partition)).toBe(0n)
      expect(await tx.lockCustomers([id(1)])).toEqual(new Map())
    })
  })

  test('transactions on the same partition take turns', async () => {
    const tables = await fresh()
    const add = () =>
      tables.transaction(async (tx) => {
        const row = await tx.lockPartition(4)
        await new Promise((resolve) => setImmediate(resolve))
        await tx.save({ partition: { ...row, nextOffset: (row.nextOffset ?? 0n) + 1n } })
      })
    await Promise.all(Array.from({ length: 8 }, add))
    expect((await tables.partitions()).find((row) => row.partition === 4)?.nextOffset).toBe(8n)
  })

  test('whoever waited for a customer sees its row and its months as they are then', async () => {
    const tables = await fresh()
    await save(tables, { customers: [customer(id(1))] })
    const add = () =>
      tables.transaction(async (tx) => {
        const found = (await tx.lockCustomers([id(1)])).get(id(1))
        if (found === undefined) throw new Error('the customer is gone')
        await new Promise((resolve) => setImmediate(resolve))
        const { state, head } = found
        const { credit = 0, overage = 0 } = state.months['2026-03'] ?? {}
        const months = { '2026-03': { credit: credit + 1, overage } }
        await tx.save({
          customers: [{ ...found, head: { ...head, revision: head.revision + 1n }, state: { ...state, months } }],
        })
      })
    await Promise.all(Array.from({ length: 8 }, add))
    const found = (await tables.transaction((tx) => tx.lockCustomers([id(1)]))).get(id(1))
    expect(found?.head.revision).toBe(8n)
    expect(found?.state.months['2026-03']?.credit).toBe(8)
  })

  test('a partition begins unread, and counts the folded events of its customers', async () => {
    const tables = await fresh()
    const unread: PartitionRow = { partition: 3, nextOffset: null, judgedThrough: '', judgedPosition: null }
    expect(await tables.transaction((tx) => tx.lockPartition(3))).toEqual(unread)
    const moved: PartitionRow = {
      partition: 3,
      nextOffset: 12n,
      judgedThrough: '2026-03-05T10:00:00.000Z',
      judgedPosition: { commit: 77n, prepare: 76n },
    }
    await save(tables, { partition: moved })
    expect(await tables.transaction((tx) => tx.lockPartition(3))).toEqual(moved)
    expect((await tables.partitions()).find((row) => row.partition === 3)).toEqual(moved)

    const heads = [4n, 0n, 10n].map((revision, i) => customer(id(i), { partition: 3, head: { revision, hash: 'aa' } }))
    await save(tables, { customers: [...heads, customer(id(9), { partition: 4 })] })
    expect(await tables.transaction((tx) => tx.foldedCount(3))).toBe(17n)
  })

  test('records of a customer: all, or those of some months and what is not at an end, in the order of their ids', async () => {
    const tables = await fresh()
    const hours = ['2026-03-05T11:00:00.000Z', '2026-02-28T23:00:00.000Z', '2026-03-05T10:00:00.000Z']
    const accepted = (hour: string) => ({ ...sealed(id(1), hour), state: 'accepted' as const })
    const unsettled = (['open', 'sealed', 'unknown', 'refused'] as const).map((state, i) => ({
      ...sealed(id(1), `2026-01-05T0${i}:00:00.000Z`),
      state,
    }))
    const records = [...hours.map(accepted), ...unsettled]
    await save(tables, { records: [...records, open(id(2), '2026-03-05T10:00:00.000Z')] })
    await tables.transaction(async (tx) => {
      const hoursOf = async (months?: string[]) => (await tx.recordsOf(id(1), months)).map(({ hour }) => hour)
      const january = unsettled.map(({ hour }) => hour)
      expect(await hoursOf()).toEqual([...january, ...hours].sort())
      expect(await hoursOf(['2026-03'])).toEqual([...january, '2026-03-05T10:00:00.000Z', '2026-03-05T11:00:00.000Z'])
      expect(await hoursOf([])).toEqual(january)
    })
  })

  test('a customer who is folded anew leaves no record, adjustment or closed month behind', async () => {
    const tables = await fresh()
    const hour = '2026-03-05T10:00:00.000Z'
    await save(tables, {
      customers: [customer(id(1))],
      records: [open(id(1), hour), open(id(2), hour)],
      adjustments: [adjustment(id(1), 7)],
      closed: [closedMonth(id(1), '2026-02')],
    })
    await tables.transaction(async (tx) => {
      await tx.forgetRecords(id(1))
      expect(await tx.recordsOf(id(1))).toEqual([])
    })
    await tables.transaction(async (tx) => {
      expect((await tx.lockCustomers([id(1)])).size).toBe(1)
      expect(await tx.adjustmentsOf(id(1))).toEqual([])
      expect(await tx.recordsById([open(id(1), hour).recordId])).toEqual(new Map())
      expect(await tx.recordsOf(id(2))).toHaveLength(1)
    })
  })

  test('customers to seal: an hour and its grace are judged, or the record does not wait for that', async () => {
    const tables = await fresh()
    const hour = '2026-03-05T10:00:00.000Z'
    await save(tables, {
      customers: [1, 2, 3, 4].map((number) => customer(id(number), { partition: number === 2 ? 2 : 1 })),
      records: [
        open(id(1), hour),
        open(id(2), hour),
        sealed(id(3), hour),
        open(id(4), '2026-03-05T12:00:00.000Z', { sealEarly: 'subscription_ended' }),
      ],
    })
    expect(await tables.customersToSeal(grace)).toEqual([id(4)])
    await judged(tables, 1, '2026-03-05T11:09:59.999Z')
    expect(await tables.customersToSeal(grace)).toEqual([id(4)])
    await judged(tables, 1, '2026-03-05T11:10:00.000Z')
    expect(await tables.customersToSeal(grace)).toEqual([id(1), id(4)])
    await judged(tables, 2, '2026-03-05T11:10:00.000Z')
    expect(await tables.customersToSeal(grace)).toEqual([id(1), id(2), id(4)])
  })

  test('customers to adjust: those with a void that is not noted', async () => {
    const tables = await fresh()
    const adjustments: Adjustment[] = [
      adjustment(id(2), 7),
      adjustment(id(2), 8),
      adjustment(id(1), 7, { noted: true }),
    ]
    await save(tables, { adjustments })
    expect(await tables.customersToAdjust()).toEqual([id(2)])
    await save(tables, { adjustments: adjustments.map((it) => ({ ...it, noted: true })) })
    expect(await tables.customersToAdjust()).toEqual([])
  })

  test('records to send: due and not answered for good, by deadline, page by page', async () => {
    const tables = await fresh()
    const late = sealed(id(1), '2026-03-05T12:00:00.000Z')
    const early = sealed(id(1), '2026-03-05T10:00:00.000Z')
    const unknown = { ...sealed(id(2), '2026-03-05T10:00:00.000Z'), state: 'unknown' as const }
    const off = sealed(id(3), '2026-03-05T10:00:00.000Z', { submission: 'off' })
    const accepted = { ...sealed(id(4), '2026-03-05T10:00:00.000Z'), state: 'accepted' as const }
    await save(tables, { records: [late, off, unknown, accepted, early, open(id(5), '2026-03-05T10:00:00.000Z')] })
    expect(await tables.recordsToSend(10)).toEqual([early, unknown, late])
    expect(await tables.recordsToSend(2)).toEqual([early, unknown])
    const cursor = { deadline: unknown.sealed.deadline, recordId: unknown.recordId }
    expect(await tables.recordsToSend(2, cursor)).toEqual([late])
    expect(await tables.recordsToSend(2, { deadline: unknown.sealed.deadline, recordId: early.recordId })).toEqual([
      unknown,
      late,
    ])
  })

  test('months to close: their end and its grace are judged, nothing of them is open', async () => {
    const tables = await fresh()
    const months = { '2026-02': { credit: 3, overage: 0 }, '2026-03': { credit: 1, overage: 1 } }
    await save(tables, {
      customers: [customer(id(1), { partition: 1, months }), customer(id(2), { partition: 1, months })],
      records: [open(id(2), '2026-02-28T23:00:00.000Z'), sealed(id(1), '2026-02-28T23:00:00.000Z')],
    })
    await judged(tables, 1, '2026-03-01T00:09:59.999Z')
    expect(await tables.monthsToClose(grace)).toEqual([])
    await judged(tables, 1, '2026-03-01T00:10:00.000Z')
    expect(await tables.monthsToClose(grace)).toEqual([{ customerId: id(1), yearMonth: '2026-02' }])
    await save(tables, { records: [sealed(id(2), '2026-02-28T23:00:00.000Z')] })
    expect(await tables.monthsToClose(grace)).toEqual([
      { customerId: id(1), yearMonth: '2026-02' },
      { customerId: id(2), yearMonth: '2026-02' },
    ])
    const closed: ClosedMonth[] = [closedMonth(id(1), '2026-02')]
    const closedCustomer = customer(id(1), {
      partition: 1,
      months: { '2026-03': months['2026-03'] },
      closed: ['2026-02'],
    })
    await save(tables, { customers: [closedCustomer], closed })
    expect(await tables.monthsToClose(grace)).toEqual([{ customerId: id(2), yearMonth: '2026-02' }])
  })

  test('metered customers: AWS knows their licence, and it has not ended', async () => {
    const tables = await fresh()
    const at = '2026-03-05T10:00:00.000Z'
    await save(tables, {
      customers: [
        customer(id(1)),
        customer(id(2), { licence: { kind: 'none' } }),
        customer(id(3), { ends: { 'arn:aws:1': at } }),
        customer(id(4), { ends: { 'arn:aws:0': at } }),
      ],
    })
    const all = Array.from({ length: partitionCount }, (_, index) => index)
    expect(await tables.meteredCustomers(all)).toEqual([id(1), id(4)])
    const { partition: another } = customer(id(4))
    expect(another).not.toBe(partition)
    expect(await tables.meteredCustomers([another])).toEqual([id(4)])
  })

  test('the direct feed moves only from where its writer left it', async () => {
    const tables = await fresh()
    const at = (place: bigint): DirectFeedRow => ({
      position: { commit: place, prepare: place - 1n },
      counts: Array.from({ length: 12 }, (_, i) => BigInt(i) * place),
      stream: `customer-${id(1)}`,
      revision: place,
      hash: 'ab',
    })
    const move = (before: DirectFeedRow | null, after: DirectFeedRow) =>
      tables.transaction((tx) => tx.moveDirectFeed(before, after))
    const row = () => tables.transaction((tx) => tx.directFeed())
    expect(await row()).toBeNull()
    await move(null, at(5n))
    await expect(move(null, at(7n))).rejects.toThrow(CheckpointMoved)
    expect(await row()).toEqual(at(5n))
    await move(at(5n), at(9n))
    await expect(move(at(5n), at(7n))).rejects.toThrow(CheckpointMoved)
    expect(await row()).toEqual(at(9n))
  })
}
