/** Writing to a customer's metering stream: turns, lost answers, lost commits, and decisions longer than one append. */
import { beforeEach, expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { chain, chainFault, emptyHead, type Head } from '../../src/events/chain.ts'
import { type MeteringEvent, meteringStream } from '../../src/events/metering.ts'
import type { CustomerBooks } from '../../src/metering/books.ts'
import { decideForIn, MeteringUnavailable } from '../../src/metering/metering-log.ts'
import { customerId, uuid } from '../support/given.ts'
import { meteringWorld, processOn } from './consuming.ts'

let world: ReturnType<typeof meteringWorld>
beforeEach(async () => {
  world = meteringWorld()
  await world.registers()
  await world.call('2026-03-10T10:01:00.000Z')
  await world.tick('2026-03-10T11:10:00.000Z')
  await world.catchUp()
})

const now = '2026-03-10T11:10:00.000Z'
const stream = meteringStream(customerId)
const types = () => world.store.stream(stream).map(({ type }) => type)
const adjustment = (revision: number): MeteringEvent => ({
  type: 'AdjustmentNoted',
  data: {
    customerId,
    occurredAt: now,
    recordId: `${customerId}|none|standard_over|2026-03-10T10Z`,
    yearMonth: '2026-03',
    detectionId: uuid(),
    revision,
    quantity: -1,
  },
})

test('a customer of whom nothing is folded has nothing to decide', async () => {
  expect(await world.decideFor(uuid(), () => [adjustment(1)])).toBeNull()
})

test('what is decided is in the log, chained, and in the rows when it returns', async () => {
  const events = await world.seals(now)
  expect(events).toMatchObject([{ type: 'RecordSealed', data: { quantity: 1 } }])
  expect(world.lines()).toEqual(['10: 1 sealed'])
  const [stored] = world.store.stream(stream)
  expect(stored === undefined ? 'missing' : chainFault(emptyHead, stored)).toBeNull()
  expect(stored?.metadata).toMatchObject({ actor: 'system', schema: '1' })
})

test('deciders take turns: two at once make one record', async () => {
  const other = processOn(world.store, world.tables)
  const decided = await Promise.all([world.seals(now), other.seals(now), world.seals(now)])
  expect(decided.map((events) => events?.length)).toEqual([1, 0, 0])
  expect(types()).toEqual(['RecordSealed'])
})

test('a decider that lost its lock is refused by the stream, and decides again on what is there', async () => {
  const seen: string[][] = []
  const statesOf = ({ records }: CustomerBooks) => records.map(({ state }) => state)
  const send = world.store.send
  world.store.send = async (attempt, deadlineMs) => {
    world.store.send = send
    // Another process's append, which these tables know nothing of, comes first.
    const copy = { ...attempt, events: attempt.events.map((event) => ({ ...event, id: uuid() })) }
    await send(rechained(copy), deadlineMs)
    return await send(attempt, deadlineMs)
  }
  const events = await world.decideFor(customerId, (books) => {
    seen.push(statesOf(books))
    return [adjustment(books.adjustments.length + 1)]
  })
  expect(seen).toEqual([['open'], ['open']])
  expect(events).toMatchObject([{ data: { revision: 2 } }])
  expect(types()).toEqual(['AdjustmentNoted', 'AdjustmentNoted'])
})

test('an append whose outcome nobody knows leaves the rows alone; the next decision finds it', async () => {
  world.store.onSend = () => ({ answerLost: true })
  await expect(world.seals(now)).rejects.toThrow(MeteringUnavailable)
  expect(world.lines()).toEqual(['10: 1 open'])
  expect(types()).toEqual(['RecordSealed'])
  world.store.onSend = () => ({})
  expect(await world.seals(now)).toEqual([])
  expect(world.lines()).toEqual(['10: 1 sealed'])
  expect(types()).toEqual(['RecordSealed'])
})

test('a decision that is never made again in vain: one whose place is always taken is given up', async () => {
  world.store.send = async () => ({ kind: 'conflict' })
  await expect(world.seals(now)).rejects.toThrow(MeteringUnavailable)
  expect(world.lines()).toEqual(['10: 1 open'])
})

test('a long decision is appended in pieces, in one chain', async () => {
  const decided = Array.from({ length: 620 }, (_, revision) => adjustment(revision))
  expect(await world.decideFor(customerId, () => decided)).toHaveLength(620)
  let head: Head = emptyHead
  for (const stored of world.store.stream(stream)) {
    expect(chainFault(head, stored)).toBeNull()
    head = { revision: stored.revision, hash: (stored.metadata as { hash: string }).hash }
  }
  expect(head.revision).toBe(619n)
  expect(world.store.sends).toBeLessThan(20)
})

test('of a long decision, the part that is in the log is returned when somebody comes between', async () => {
  const decided = Array.from({ length: 620 }, (_, revision) => adjustment(revision))
  const send = world.store.send
  let sends = 0
  world.store.send = async (attempt, deadlineMs) =>
    ++sends === 3 ? { kind: 'conflict' } : await send(attempt, deadlineMs)
  const events = await world.decideFor(customerId, () => decided)
  expect(events).toEqual(decided.slice(0, world.store.stream(stream).length))
  expect(events?.length).toBeGreaterThan(0)
  expect(world.tables.dump().adjustments).toHaveLength(events?.length ?? 0)
})

test('what an operator decides is the operator’s, and one decision is one correlation', async () => {
  const decideFor = decideForIn({ store: world.store, tables: world.tables, actor: 'operator' })
  await decideFor(customerId, () => [adjustment(1), adjustment(2)])
  await decideFor(customerId, () => [adjustment(3)])
  const metadata = world.store.stream(stream).map((event) => event.metadata as Record<string, string>)
  expect(metadata.map(({ actor }) => actor)).toEqual(['operator', 'operator', 'operator'])
  expect(new Set(metadata.map(({ correlationId }) => correlationId)).size).toBe(2)
})

test('a seal that is not what its calls give is told, and changes nothing', async () => {
  await world.seals(now)
  const [record] = world.records()
  if (record === undefined) throw new Error('there is no record')
  const calls = { ...record.calls, quantity: 2 }
  await world.tables.transaction((tx) => tx.save({ records: [{ ...record, calls }] }))
  await world.decideFor(customerId, () => [])
  expect(world.alarms.map(({ kind }) => kind)).toEqual(['metering_seal_fault'])
})

/** The same attempt with other ids, in a chain of its own. */
function rechained(attempt: Parameters<typeof world.store.send>[0]): typeof attempt {
  const unchained = attempt.events.map(({ id, type, data, metadata }) => {
    const { prevHash: _, hash: __, ...rest } = metadata as Record<string, string>
    return { id, type, data, metadata: rest as never }
  })
  return { ...attempt, events: chain(attempt.stream, emptyHead, unchained).events }
}

test('a metering stream that contradicts itself is refused, and not folded anew for ever', async () => {
  const at = { customerId, occurredAt: now }
  const idOf = (hour: string) => `${customerId}|none|standard_over|2026-03-10T${hour}Z`
  const counts = { creditCalls: 1, overageCalls: 0, overage: [], adjusted: 0, throughRevision: 1 }
  const decided: MeteringEvent[] = [
    { type: 'RecordCarriedForward', data: { ...at, recordId: idOf('10'), quantity: 1, toRecordId: idOf('11') } },
    { type: 'MonthClosed', data: { ...at, ...counts, yearMonth: '2026-03', digest: '0'.repeat(64) } },
  ]
  const folding = world.decideFor(customerId, () => decided)
  await expect(folding).rejects.toThrow(LogMismatch)
  await expect(folding).rejects.toThrow(`${stream}: 2026-03 was closed without calls that stand in an hour of it`)
})
