/** The consumer on tables and an event store in memory: what the feed brings twice, late, with holes, or not at all. */
import { beforeEach, describe, expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import type { Fed } from '../../src/relay/feed.ts'
import { customerId } from '../support/given.ts'
import { memoryTables } from '../support/memory-tables.ts'
import { fedOf, meteringWorld, partition, processOn, rowsOf } from './consuming.ts'
import { itemsOf } from './feeding.ts'

let world: ReturnType<typeof meteringWorld>
beforeEach(async () => {
  world = meteringWorld()
  await world.registers()
})

const row = async () => (await world.tables.partitions())[partition]

describe('what comes', () => {
  test('once or twice, in one batch or in many, makes the same rows', async () => {
    for (const minute of ['01', '02', '59']) await world.call(`2026-03-10T10:${minute}:00.000Z`)
    await world.tick('2026-03-10T11:00:00.000Z')
    await world.call('2026-03-10T11:01:00.000Z')
    await world.tick('2026-03-10T11:10:00.000Z')
    const fed = await world.fed()
    await world.consume(fed)
    const rows = world.rows()
    expect(world.lines()).toEqual(['10: 3 open', '11: 1 open'])
    await world.consume(fed)
    expect(world.rows()).toEqual(rows)

    const tables = memoryTables()
    const other = processOn(world.store, tables)
    for (const [i] of fed.entries()) await other.consume(fed.slice(Math.max(0, i - 2), i + 1))
    expect(rowsOf(tables)).toEqual(rows)
    expect([...world.alarms, ...other.alarms]).toEqual([])
  })

  test('below the offset to read next is skipped; the offset moves with the rows', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    const fed = (await world.fed()).map(({ item }, i): Fed => ({ item, offset: BigInt(100 + i) }))
    await world.consume(fed.slice(0, 3))
    expect(await row()).toMatchObject({ nextOffset: 103n })
    await world.consume(fed)
    expect(await row()).toMatchObject({ nextOffset: BigInt(100 + fed.length) })
    await world.consume(fed.slice(0, 2))
    expect(await row()).toMatchObject({ nextOffset: BigInt(100 + fed.length) })
    expect(world.lines()).toEqual(['10: 1 open'])
  })

  test('from another event store stops the consumer, and nothing of the batch is kept', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.catchUp()
    const rows = world.rows()
    const other = meteringWorld()
    await other.registers()
    await other.call('2026-03-10T10:01:00.000Z')
    await expect(world.consume(await other.fed())).rejects.toThrow(LogMismatch)
    await other.call('2026-03-10T10:02:00.000Z')
    await expect(world.consume(await other.fed())).rejects.toThrow(LogMismatch)
    expect(world.rows()).toEqual(rows)
  })
})

describe('what is missing', () => {
  test('between two events is read from the event store, with an alarm', async () => {
    for (const minute of ['01', '02', '03']) await world.call(`2026-03-10T10:${minute}:00.000Z`)
    const fed = await world.fed()
    await world.consume(fed.slice(0, 2))
    await world.consume(fed.slice(-1))
    expect(world.lines()).toEqual(['10: 3 open'])
    expect(world.alarms.map(({ kind }) => kind)).toEqual(['metering_gap'])
    expect(world.rows()).toEqual(await world.rebuilt())
  })

  test('within a batch too', async () => {
    for (const minute of ['01', '02', '03']) await world.call(`2026-03-10T10:${minute}:00.000Z`)
    const fed = await world.fed()
    await world.consume([...fed.slice(0, -2), ...fed.slice(-1)])
    expect(world.lines()).toEqual(['10: 3 open'])
    expect(world.alarms.map(({ kind }) => kind)).toEqual(['metering_gap'])
  })

  test('at a partition’s end is found out by the watermark’s count and read from the log up to its place', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.catchUp()
    const seen = (await world.fed()).length
    await world.call('2026-03-10T10:02:00.000Z')
    await world.call('2026-03-10T10:03:00.000Z')
    await world.tick('2026-03-10T11:00:00.000Z')
    await world.call('2026-03-10T11:01:00.000Z')
    const [, , watermark] = await world.fed(seen)
    if (watermark?.item.kind !== 'watermark') throw new Error('this is no watermark')
    await world.consume([watermark])
    expect(world.lines()).toEqual(['10: 3 open'])
    expect(world.alarms.map(({ kind }) => kind)).toEqual(['metering_tail_lost'])
    expect(await row()).toMatchObject({
      judgedThrough: '2026-03-10T11:00:00.000Z',
      judgedPosition: watermark.item.position,
    })
  })

  test('a customer’s whole stream, lost, is found out in the same way', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.tick('2026-03-10T11:00:00.000Z')
    await world.consume((await world.fed()).slice(-1))
    expect(world.lines()).toEqual(['10: 1 open'])
    expect(world.rows()).toEqual(await world.rebuilt())
  })

  test('in the event store too stops the consumer before anything is judged', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.tick('2026-03-10T11:00:00.000Z')
    const fed = await world.fed()
    const rows = world.rows()
    const empty = processOn(meteringWorld().store, world.tables)
    await expect(empty.consume(fed.slice(-1))).rejects.toThrow(/no tick/)
    await expect(empty.consume([...fed.slice(0, 1), ...fed.slice(-2)])).rejects.toThrow(LogMismatch)
    expect(world.rows()).toEqual(rows)
  })

  test('a batch that is rolled back raises no alarm', async () => {
    for (const minute of ['01', '02', '03']) await world.call(`2026-03-10T10:${minute}:00.000Z`)
    await world.tick('2026-03-10T11:00:00.000Z')
    const fed = await world.fed()
    const [watermark] = fed.slice(-1)
    if (watermark?.item.kind !== 'watermark') throw new Error('this is no watermark')
    const wrong = { ...watermark, item: { ...watermark.item, count: 1_000n } }
    await expect(world.consume([...fed.slice(0, 2), ...fed.slice(3, -1), wrong])).rejects.toThrow(/1000 events/)
    expect(world.alarms).toEqual([])
  })
})

describe('watermarks', () => {
  test('the newest of a batch is judged; one that is not newer than the last is ignored', async () => {
    await world.tick('2026-03-10T11:00:00.000Z')
    await world.tick('2026-03-10T11:01:00.000Z')
    const fed = await world.fed()
    await world.consume(fed)
    expect(await row()).toMatchObject({ judgedThrough: '2026-03-10T11:01:00.000Z' })
    await world.consume(fed.slice(0, -1))
    expect(await row()).toMatchObject({ judgedThrough: '2026-03-10T11:01:00.000Z' })
  })

  test('what stands behind it in the batch does not stand in for what is missing before it', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.catchUp()
    const seen = (await world.fed()).length
    await world.call('2026-03-10T10:02:00.000Z')
    await world.tick('2026-03-10T11:00:00.000Z')
    await world.call('2026-03-10T11:01:00.000Z')
    await world.consume(await world.fed(seen + 1))
    expect(world.lines()).toEqual(['10: 2 open', '11: 1 open'])
    expect(world.alarms.map(({ kind }) => kind)).toEqual(['metering_tail_lost'])
  })
})

describe('seals', () => {
  test('of a sealer that crashed before it committed are read before a late call is folded', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.tick('2026-03-10T11:10:00.000Z')
    await world.catchUp()
    const before = await tablesNow()
    await world.seals('2026-03-10T11:10:00.000Z')
    // The commit is lost, the append is not.
    const restored = processOn(world.store, before)
    await world.call('2026-03-10T10:30:00.000Z')
    await restored.consume(fedOf(await itemsOf(world.store)))
    expect(before.dump().records).toMatchObject([
      { state: 'sealed', calls: { quantity: 1 } },
      { state: 'open', calls: { quantity: 1, late: 1 } },
    ])
    expect(restored.alarms.map(({ kind }) => kind)).toEqual(['metering_late_call'])
    expect(rowsOf(before)).toEqual(await world.rebuilt())
  })

  test('that turn up after a call they do not hold: the customer is folded anew', async () => {
    await world.call('2026-03-10T10:01:00.000Z')
    await world.tick('2026-03-10T11:10:00.000Z')
    await world.catchUp()
    // The append reaches the store long after its sealer has given up.
    const late: (() => void)[] = []
    const send = world.store.send
    world.store.send = async (attempt) => {
      late.push(() => void send(attempt, 1_000))
      return { kind: 'unknown', cause: new Error('no answer') }
    }
    await expect(world.seals('2026-03-10T11:10:00.000Z')).rejects.toThrow(/ended as unknown/)
    world.store.send = send
    await world.call('2026-03-10T10:30:00.000Z')
    await world.catchUp()
    expect(world.lines()).toEqual(['10: 2 open'])
    for (const land of late) land()
    await world.seals('2026-03-10T11:11:00.000Z')
    expect(world.lines()).toEqual(['10: 1 sealed', '11: 1 open'])
    expect(world.alarms.map(({ kind }) => kind)).toEqual(['metering_folded_anew', 'metering_late_call'])
    expect(world.rows()).toEqual(await world.rebuilt())
  })

  test('empty tables become the same rows from the two streams, late calls and adjustments included', async () => {
    const first = await world.call('2026-03-10T10:01:00.000Z')
    await world.tick('2026-03-10T11:10:00.000Z')
    await world.catchUp()
    await world.seals('2026-03-10T11:10:00.000Z')
    await world.call('2026-03-10T10:30:00.000Z')
    await world.does('2026-03-10T11:11:00.000Z', { type: 'VoidDetections', detections: [first] })
    await world.tick('2026-03-10T12:10:00.000Z')
    await world.catchUp()
    await world.seals('2026-03-10T12:10:00.000Z')
    expect(world.lines()).toEqual(['10: 1 sealed', '11: 1 sealed'])
    expect(world.tables.dump().adjustments).toMatchObject([{ noted: true }])
    const seals = world.store.stream(`metering-${customerId}`).length
    expect(world.rows()).toEqual(await world.rebuilt())
    expect(world.store.stream(`metering-${customerId}`)).toHaveLength(seals)
    expect(world.store.stream(customerStream(customerId)).length).toBeGreaterThan(4)
  })

  /** A copy of the tables as they are. */
  async function tablesNow() {
    const copy = memoryTables()
    const customers = [...(await world.tables.transaction((tx) => tx.lockCustomers([customerId]))).values()]
    await copy.transaction(async (tx) => {
      await tx.save({ customers, records: world.records() })
      for (const row of await world.tables.partitions()) await tx.save({ partition: row })
    })
    return copy
  }
})
