import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Finding, foldWhilePassing, replayMonth, replayStream } from '../../src/audit/replay.ts'
import type { CustomerState } from '../../src/commands/state.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { eventHash } from '../../src/events/chain.ts'
import type { PositionedEvent } from '../../src/eventstore/store.ts'
import { createPlayer, histories } from '../support/histories.ts'
import { createMemoryStore, type MemoryStore } from '../support/memory-store.ts'
import { allOf } from './world.ts'

async function replayed(store: MemoryStore, customerId: string) {
  const findings: Finding[] = []
  const all = await allOf(replayStream(store, customerId, (finding) => findings.push(finding)))
  return { findings, all }
}

async function statementOf(store: MemoryStore, customerId: string, month: string) {
  const findings: Finding[] = []
  const found = (finding: Finding) => void findings.push(finding)
  const stream = customerStream(customerId)
  const { events, statement } = foldWhilePassing(month, replayMonth(store, customerId, month, found), found, stream)
  for await (const _ of events);
  return { findings, statement: statement() }
}

test('the replay of any history is the state that the ledger held after each step, and finds nothing wrong', async () => {
  await fc.assert(
    fc.asyncProperty(histories({ maxLength: 60 }), async (steps) => {
      const store = createMemoryStore()
      const player = createPlayer(store)
      const held = new Map<string, CustomerState>()
      for (const step of steps) {
        await player.play([step])
        for (const { id, state, head } of player.customers()) held.set(`${id} ${head.revision} ${head.hash}`, state)
      }
      for (const { id, head } of player.customers()) {
        const { findings, all } = await replayed(store, id)
        expect(findings).toEqual([])
        expect(all.at(-1)).toMatchObject({ revision: head.revision, hash: head.hash })
        for (const { revision, hash, state } of all) {
          const name = `${id} ${revision} ${hash}`
          const was = held.get(name)
          held.delete(name)
          // Within a step several events are decided at once, and only the last is reported.
          if (was !== undefined) expect(state).toEqual(JSON.parse(JSON.stringify(was)))
        }
      }
      expect([...held.keys()]).toEqual([])
      for (const { id, state } of player.customers()) {
        const { findings, statement } = await statementOf(store, id, state.yearMonth)
        expect(findings).toEqual([])
        expect(statement).toMatchObject({ creditCalls: state.creditCalls, overageCalls: state.overageCalls })
      }
    }),
    { numRuns: 40 },
  )
})

/** A month with calls, a void, a change of plan and a key. */
async function month() {
  const store = createMemoryStore()
  const player = createPlayer(store, '2026-03-10T08:00:00.000Z')
  const step = (action: Parameters<typeof player.play>[0][number]['action']) => ({ customer: 1, minutes: 7, action })
  await player.play([
    step({ kind: 'capOff' }),
    ...Array.from({ length: 6 }, (_, i) => step({ kind: 'detect', key: i })),
    step({ kind: 'void', back: 1 }),
    step({ kind: 'regenerate', slot: 'primary' }),
    step({ kind: 'setPlan', plan: 'business', limit: 5 }),
    step({ kind: 'detect', key: undefined }),
    step({ kind: 'detect', key: undefined }),
  ])
  const [customer] = player.customers()
  if (customer === undefined) throw new Error('nobody registered')
  const stream = store.stream(customerStream(customer.id)) as PositionedEvent[]
  return { store, id: customer.id, stream }
}

test('the statement has every figure with its place in the log, and amounts without floats', async () => {
  const { store, id, stream } = await month()
  const { statement } = await statementOf(store, id, '2026-03')
  const voided = stream.find(({ type }) => type === 'DetectionVoided')
  expect(statement).toMatchObject({
    creditCalls: 5,
    overageCalls: 2,
    voidedCalls: 1,
    sequences: { first: 1, last: 8 },
    overageAmount: '0.3',
    digest: { events: stream.length, last: { eventId: stream.at(-1)?.id } },
  })
  expect(statement?.changes.map(({ eventId }) => eventId)).toContain(voided?.id)
  expect(statement?.lines.map(({ plan, first }) => [plan, stream[Number(first.revision)]?.type])).toEqual([
    ['standard', 'DetectionSucceeded'],
    ['business', 'DetectionSucceeded'],
  ])
})

/** What the chain does not see: an event with all its successors hashed anew. */
function forge(stream: PositionedEvent[], at: number, change: (data: Record<string, unknown>) => void): void {
  let { prevHash } = (stream[at] as PositionedEvent).metadata as { prevHash: string }
  for (const event of stream.slice(at)) {
    const [data, metadata] = [event.data, event.metadata] as Record<string, unknown>[]
    if (data === undefined || metadata === undefined) throw new Error('no event')
    if (event === stream[at]) change(data)
    metadata.prevHash = prevHash
    metadata.hash = eventHash({ ...event, data, metadata })
    prevHash = metadata.hash as string
  }
}

const isCall = ({ type }: PositionedEvent) => type === 'DetectionSucceeded'

test.for<[string, (stream: PositionedEvent[]) => number, RegExp]>([
  [
    'altered',
    (stream) => {
      const at = stream.findIndex(isCall)
      ;(stream[at]?.data as { funding: string }).funding = 'overage'
      return at
    },
    /its hash is not that of its content/,
  ],
  [
    'removed',
    (stream) => {
      const at = stream.findIndex(isCall)
      stream.splice(at, 1)
      return at + 1
    },
    /expected revision/,
  ],
  [
    'removed, its successors moved up',
    (stream) => {
      const at = stream.findIndex(isCall)
      stream.splice(at, 1)
      for (const [i, event] of stream.entries()) Object.assign(event, { revision: BigInt(i) })
      return at
    },
    /prevHash is not the hash of the event before it/,
  ],
  [
    'inserted',
    (stream) => {
      const at = stream.findIndex(isCall)
      stream.splice(at, 0, structuredClone(stream[at]) as PositionedEvent)
      for (const [i, event] of stream.entries()) Object.assign(event, { revision: BigInt(i) })
      return at + 1
    },
    /prevHash is not the hash of the event before it/,
  ],
  [
    'swapped with the next',
    (stream) => {
      const at = stream.findIndex(isCall)
      stream.splice(at, 2, ...(stream.slice(at, at + 2).reverse() as PositionedEvent[]))
      for (const [i, event] of stream.entries()) Object.assign(event, { revision: BigInt(i) })
      return at
    },
    /prevHash is not the hash of the event before it/,
  ],
])('an event that was %s is named', async ([, tamper, fault]) => {
  const { store, id, stream } = await month()
  const revision = BigInt(tamper(stream))
  const { findings } = await replayed(store, id)
  const found = findings.filter((finding) => finding.revision === revision)
  expect(found.map((finding) => finding.fault).join('\n')).toMatch(fault)
  expect(found[0]?.id).toBe(stream.find((event) => event.revision === revision)?.id)
})

test.for<[string, string, (data: Record<string, unknown>) => void, RegExp]>([
  [
    'a number left out',
    'DetectionSucceeded',
    (data) => Object.assign(data, { sequence: 2 }),
    /its number is 2, expected 1/,
  ],
  [
    'another funding',
    'DetectionSucceeded',
    (data) => Object.assign(data, { funding: 'overage' }),
    /it is paid by overage/,
  ],
  [
    'another price',
    'DetectionSucceeded',
    (data) => Object.assign(data, { overageUnitPrice: '9' }),
    /its unit price is 9/,
  ],
  ['another plan', 'DetectionSucceeded', (data) => Object.assign(data, { plan: 'free' }), /its plan is free/],
  ['another month', 'DetectionSucceeded', (data) => Object.assign(data, { yearMonth: '2026-04' }), /billed to 2026-04/],
  [
    'a key of nobody',
    'DetectionSucceeded',
    (data) => Object.assign(data, { keyId: '99999999-9999-4999-8999-999999999999' }),
    /was not valid/,
  ],
  [
    'another bucket',
    'DetectionSucceeded',
    (data) => Object.assign(data, { bucketKey: `${data.customerId}|none|standard_over|2026-03-10T09Z` }),
    /its bucket key/,
  ],
  [
    'time that runs back',
    'HardCapDisabled',
    (data) => Object.assign(data, { occurredAt: '2026-03-01T00:00:00.000Z' }),
    /lies before/,
  ],
  [
    'a void of no call',
    'DetectionVoided',
    (data) => Object.assign(data, { revision: 1 }),
    /no such call stands at revision 1/,
  ],
  [
    'more credits than held',
    'MonthlyCreditsGranted',
    (data) => Object.assign(data, { monthlyLimit: 99 }),
    /its monthlyLimit is not/,
  ],
  ['a plan from nowhere', 'PlanChanged', (data) => Object.assign(data, { from: 'free' }), /it changes plan free/],
])('a forgery with a correct chain and %s is named', async ([, type, change, fault]) => {
  const { store, id, stream } = await month()
  const at = stream.findIndex((event) => event.type === type)
  forge(stream, at, change)
  const { findings } = await replayed(store, id)
  expect(
    findings
      .filter(({ revision }) => revision === BigInt(at))
      .map((finding) => finding.fault)
      .join('\n'),
  ).toMatch(fault)
})

/** A customer who moves to a product code twice, in mid-month and over its end, and has a smaller plan scheduled. */
async function moves() {
  const store = createMemoryStore()
  const player = createPlayer(store, '2026-03-10T08:00:00.000Z')
  const step = (minutes: number, action: Parameters<typeof player.play>[0][number]['action']) =>
    player.play([{ customer: 0, minutes, action }])
  await step(7, { kind: 'licence', serial: 3 })
  await step(7, { kind: 'detect', key: undefined })
  await step(60, { kind: 'detect', key: undefined })
  await step(1, { kind: 'setPlan', plan: 'starter', limit: 1 })
  await step(Math.round((Date.parse('2026-03-31T23:30:00.000Z') - Date.parse(player.now)) / 60_000), {
    kind: 'licence',
    serial: 1,
  })
  await step(45, { kind: 'detect', key: undefined })
  const [customer] = player.customers()
  if (customer === undefined) throw new Error('nobody registered')
  const stream = store.stream(customerStream(customer.id)) as PositionedEvent[]
  return { store, id: customer.id, stream }
}

test.for<[string, (stream: PositionedEvent[]) => number, RegExp]>([
  [
    'a licence that did not take over at its hour',
    (stream) => leaveOut(stream, 0),
    /a licence was to take over at 2026-03-10T09:00:00.000Z, before this event/,
  ],
  [
    "a licence that did not take over behind a month's opener",
    (stream) => leaveOut(stream, 1),
    /a licence was to take over at 2026-04-01T00:00:00.000Z, before this event/,
  ],
  [
    'another licence that took over',
    (stream) => forgeFirst(stream, 'LicenceChanged', (data) => Object.assign(data, { licence: { kind: 'none' } })),
    /a licence was to take over at 2026-03-10T09/,
  ],
  [
    'a licence that took over before its hour',
    (stream) =>
      forgeFirst(stream, 'LicenceChanged', (data) => Object.assign(data, { occurredAt: '2026-03-10T08:50:00.000Z' })),
    /it moves the customer between product code and licence, which is not due/,
  ],
  [
    'a licence scheduled for another hour',
    (stream) =>
      forgeFirst(stream, 'LicenceChangeScheduled', (data) =>
        Object.assign(data, { effectiveAt: '2026-03-10T11:00:00.000Z' }),
      ),
    /its licence takes over at 2026-03-10T11.*, and not with the next hour/,
  ],
  [
    'a plan scheduled for another month',
    (stream) => forgeFirst(stream, 'PlanChangeScheduled', (data) => Object.assign(data, { effectiveMonth: '2026-06' })),
    /it takes effect in 2026-06, the contract lets it in 2026-04/,
  ],
  [
    'a plan that did not take effect in its month',
    (stream) => forgeAt(stream, opener(stream), (data) => Object.assign(data, { plan: 'standard' })),
    /its plan is not what held before it/,
  ],
])('a forgery with a correct chain and %s is named', async ([, tamper, fault]) => {
  const { store, id, stream } = await moves()
  expect((await replayed(store, id)).findings).toEqual([])
  const at = tamper(stream)
  const { findings } = await replayed(store, id)
  const found = findings.filter(({ revision }) => revision === BigInt(at))
  expect(found.map((finding) => finding.fault).join('\n')).toMatch(fault)
})

const opener = (stream: readonly PositionedEvent[]): number =>
  stream.findLastIndex(({ type }) => type === 'MonthlyCreditsGranted')

function forgeAt(stream: PositionedEvent[], at: number, change: (data: Record<string, unknown>) => void): number {
  forge(stream, at, change)
  return at
}

const forgeFirst = (stream: PositionedEvent[], type: string, change: (data: Record<string, unknown>) => void): number =>
  forgeAt(
    stream,
    stream.findIndex((event) => event.type === type),
    change,
  )

/** Takes the n-th LicenceChanged away, and its successors' places are theirs again. */
function leaveOut(stream: PositionedEvent[], n: number): number {
  const [at = -1] = stream.flatMap(({ type }, i) => (type === 'LicenceChanged' ? [i] : [])).slice(n)
  for (const { metadata } of stream.splice(at, 1)) {
    const { prevHash } = metadata as { prevHash: string }
    Object.assign(stream[at]?.metadata ?? {}, { prevHash })
  }
  for (const [i, event] of stream.entries()) Object.assign(event, { revision: BigInt(i) })
  return forgeAt(stream, at, () => {})
}

test('an event that cannot be read is named, and the rest is still looked at', async () => {
  const { store, id, stream } = await month()
  const at = stream.findIndex(isCall)
  forge(stream, at, (data) => delete data.plan)
  const { findings, all } = await replayed(store, id)
  expect(findings[0]).toMatchObject({ revision: BigInt(at), fault: expect.stringMatching(/cannot be read/) })
  expect(all).toHaveLength(stream.length - 1)
})
