import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { activityOf } from '../../src/readmodels/activity.ts'
import { firstCallAt, keysOf } from '../../src/readmodels/api-keys.ts'
import { consoleReads } from '../../src/readmodels/console.ts'
import { monthsOf } from '../../src/readmodels/months.ts'
import { statementOf } from '../../src/readmodels/usage.ts'
import type { MonthStatement } from '../../src/statements/month.ts'
import { type Database, openDatabase, projectAll } from '../projections/support.ts'
import { createPlayer, histories, type Step } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'

let database: Database
let store: MemoryStore
let player: ReturnType<typeof createPlayer>
beforeEach(async () => {
  database = await openDatabase()
  await ensureReadModels(database.pool)
  begin()
})
afterEach(() => database.close())

function begin(start = '2026-01-10T08:00:00.000Z') {
  store = createMemoryStore()
  player = createPlayer(store, start)
}

const step = (action: Step['action'], minutes = 1): Step => ({ customer: 0, minutes, action })
const detect = step({ kind: 'detect', key: undefined })

async function play(...steps: Step[]) {
  await player.play(steps)
  await projectAll(database.pool, store)
  const [found] = player.customers()
  if (found === undefined) throw new Error('nobody is registered')
  return found.id
}

const statement = (id: string, month: string) => consoleReads(database.pool, store).statement(id, month)

describe('activity', () => {
  test('tells what happened and by whom, the newest first, without the calls', async () => {
    const id = await play(detect, step({ kind: 'capOn' }), detect, step({ kind: 'regenerate', slot: 'primary' }))
    const all = await activityOf(database.pool, id, { limit: 10 })
    expect(all.map(({ event, revision, actor }) => [event.type, revision, actor])).toEqual([
      ['ApiKeyRegenerated', 7n, 'operator'],
      ['HardCapEnabled', 5n, 'operator'],
      ['ApiKeyIssued', 3n, 'operator'],
      ['ApiKeyIssued', 2n, 'operator'],
      ['MonthlyCreditsGranted', 1n, 'operator'],
      ['CustomerRegistered', 0n, 'operator'],
    ])
    expect(all[0]?.eventId).toBe(store.stream(customerStream(id))[7]?.id)
    const older = await activityOf(database.pool, id, { limit: 2, before: 5n })
    expect(older.map(({ revision }) => revision)).toEqual([3n, 2n])
    const ofMonth = await activityOf(database.pool, id, { limit: 9, month: '2026-01', types: ['HardCapEnabled'] })
    expect(ofMonth.map(({ revision }) => revision)).toEqual([5n])
    expect(await activityOf(database.pool, id, { limit: 9, month: '2026-02' })).toEqual([])
  })

  test('a key says when it was last used, and the first call is known', async () => {
    const id = await play(step({ kind: 'capOn' }))
    expect(await firstCallAt(database.pool, id)).toBeNull()
    await play(detect, detect)
    expect(await firstCallAt(database.pool, id)).toBe('2026-01-10T08:02:00.000Z')
    const keys = await keysOf(database.pool, id)
    expect(keys.map(({ slot, lastUsedAt }) => [slot, lastUsedAt])).toEqual([
      ['primary', '2026-01-10T08:03:00.000Z'],
      ['secondary', null],
    ])
  })
})

describe('statement of a month', () => {
  test('has a line per price, overage by hour, changes in order, and names the events it was made of', async () => {
    const id = await play(
      detect, // revision 4
      detect,
      detect, // past the limit of 2, at 08:03
      step({ kind: 'detect', key: undefined }, 60),
      step({ kind: 'setPlan', plan: 'business', limit: 5 }),
      detect,
      step({ kind: 'void', back: 1 }), // the second overage call
      step({ kind: 'openMonth' }, 31 * 24 * 60),
    )
    const made = await statement(id, '2026-01')
    const events = store.stream(customerStream(id))
    const place = (revision: number) => ({ revision: BigInt(revision), eventId: events[revision]?.id })
    expect(made).toMatchObject({
      customerId: id,
      month: '2026-01',
      hardCap: false,
      creditCalls: 3,
      overageCalls: 1,
      voidedCalls: 1,
      sequences: { first: 1, last: 5 },
      overageAmount: '0.15',
      digest: { first: place(0), last: place(10), events: 11 },
    })
    expect(events[10]?.metadata).toMatchObject({ hash: made?.digest.hash })
    expect(
      made?.terms.map(({ plan, monthlyLimit, monthlyFee, revision }) => [plan, monthlyLimit, monthlyFee, revision]),
    ).toEqual([
      ['standard', 2, '750', 1n],
      ['business', 5, '2400', 8n],
    ])
    expect(made?.lines).toMatchObject([
      {
        plan: 'standard',
        creditCalls: 2,
        overageCalls: 1,
        voidedCalls: 1,
        amount: '0.15',
        first: place(4),
        last: place(7),
      },
      {
        plan: 'business',
        creditCalls: 1,
        overageCalls: 0,
        voidedCalls: 0,
        amount: '0',
        first: place(9),
        last: place(9),
      },
    ])
    expect(made?.hours).toMatchObject([
      { hour: '2026-01-10T08Z', overageCalls: 1, voidedCalls: 0, amount: '0.15', first: place(6) },
      { hour: '2026-01-10T09Z', overageCalls: 0, voidedCalls: 1, amount: '0' },
    ])
    expect(made?.changes.map(({ event }) => event.type)).toEqual([
      'CustomerRegistered',
      'MonthlyCreditsGranted',
      'ApiKeyIssued',
      'ApiKeyIssued',
      'PlanChanged',
      'DetectionVoided',
    ])
    expect(await statement(id, '2025-12')).toBeNull()
  })

  test('a call that is taken back in the next month leaves the statement of its own', async () => {
    begin('2026-01-31T23:50:00.000Z')
    const id = await play(detect, detect, step({ kind: 'void', back: 0 }, 20))
    expect(await statement(id, '2026-01')).toMatchObject({ creditCalls: 1, voidedCalls: 1 })
    expect((await statement(id, '2026-01'))?.changes.at(-1)?.event.type).toBe('DetectionVoided')
    expect(await statement(id, '2026-02')).toMatchObject({ creditCalls: 0, voidedCalls: 0, sequences: null })
  })

  test('whatever happened, the fold of the log and the read models tell the same', async () => {
    await fc.assert(
      fc.asyncProperty(histories({ maxLength: 60 }), async (steps) => {
        player = createPlayer(store) // other customers, further down the same log
        await player.play(steps)
        await projectAll(database.pool, store)
        for (const { id } of player.customers()) {
          for (const totals of await monthsOf(database.pool, id)) {
            const { month } = totals
            const read = await statementOf(database.pool, id, month)
            const made = await statement(id, month)
            if (read === null || made === null) throw new Error(`no statement of ${month}`)
            const { creditCalls, overageCalls, voidedCalls, hardCap } = read.usage
            expect(made).toMatchObject({ creditCalls, overageCalls, voidedCalls, hardCap })
            expect(totals).toMatchObject({ creditCalls, overageCalls, voidedCalls })
            expect(byPrice(made)).toEqual([...read.lines].sort(byPlanAndPrice))
            const hours = made.hours.reduce((sum, hour) => sum + hour.overageCalls, 0)
            expect(hours).toBe(overageCalls)
          }
        }
      }),
      { numRuns: 40 },
    )
  })

  test('an event that does not follow the one before it is not told as if it did', async () => {
    const id = await play(detect, detect, detect)
    const gaps: Pick<MemoryStore, 'readForward'> = {
      async *readForward(...where) {
        for await (const event of store.readForward(...where)) if (event.revision !== 5n) yield event
      },
    }
    await expect(consoleReads(database.pool, gaps).statement(id, '2026-01')).rejects.toThrow(LogMismatch)
  })

  test('asked again it reads on from where it stopped, over the end of the month and later voids too', async () => {
    begin('2026-01-31T23:50:00.000Z')
    const read: bigint[] = []
    const counting: Pick<MemoryStore, 'readForward'> = {
      async *readForward(stream, from, maxCount) {
        for await (const event of store.readForward(stream, from, maxCount)) {
          read.push(event.revision)
          yield event
        }
      },
    }
    const reads = consoleReads(database.pool, counting)
    const id = await play(detect, detect)
    expect(await reads.statement(id, '2026-01')).toMatchObject({ creditCalls: 2 })
    await play(detect, step({ kind: 'void', back: 1 }, 20), step({ kind: 'void', back: 0 }))
    expect(await reads.statement(id, '2026-01')).toMatchObject({ creditCalls: 1, overageCalls: 0, voidedCalls: 2 })
    await play(detect)
    const again = await reads.statement(id, '2026-01')
    expect(again).toEqual(await statement(id, '2026-01'))
    expect(read).toEqual([0n, 1n, 2n, 3n, 4n, 5n, 6n, 8n, 9n])
  })
})

const byPlanAndPrice = (a: { plan: string; overageUnitPrice: string }, b: typeof a) =>
  a.plan < b.plan || (a.plan === b.plan && a.overageUnitPrice < b.overageUnitPrice) ? -1 : 1
const byPrice = ({ lines }: MonthStatement) =>
  lines.map(({ amount: _, first: __, last: ___, ...line }) => line).sort(byPlanAndPrice)
