/** Bundles of streams that were forged before they were anchored: both verifiers find what contradicts itself. */
import { describe, expect, test } from 'vitest'
import { type Anchor, type PublicKeys, signAnchor } from '../../src/audit/anchor.ts'
import { anchoredPoint, customerHead, meteringHead } from '../../src/audit/anchored-point.ts'
import { checkBundle } from '../../src/audit/check-bundle.ts'
import { statementDocument } from '../../src/audit/document.ts'
import { belongsTo, readable } from '../../src/audit/replay.ts'
import type { Head } from '../../src/events/chain.ts'
import type { StoredEvent } from '../../src/eventstore/store.ts'
import { foldMonth } from '../../src/statements/month.ts'
import type { Step } from '../support/histories.ts'
import { february } from './february.ts'
import { bundleOf, faultsOf, type Line, linesOf, rechain, resign } from './lines.ts'
import { havePython, verifyByPython } from './python.ts'
import { chunksOf, createWorld, type World } from './world.ts'

const python = await havePython()

/** A bundle of a stream that was forged before it was anchored, by the operator with the real key. */
async function forged(
  { world, customerId, month }: { world: World; customerId: string; month: string },
  part: 'event' | 'metering',
  change: (event: Line) => void,
): Promise<{ bundle: Buffer; keys: PublicKeys }> {
  const name = `${part === 'event' ? 'customer' : 'metering'}-${customerId}`
  const stream = world.store.stream(name) as unknown as Line[]
  for (const event of stream) change(event)
  rechain(
    stream.map((event) => ({ part, event })),
    part,
  )
  for (const event of stream) event.revision = BigInt(event.revision)
  await world.close() // and with it the anchors that know better
  const bundle = await world.export(customerId, month)
  await world.close()
  return { bundle, keys: world.keys }
}

test('another licence than the one that was to take over at its hour is named, though every call agrees with it', async () => {
  const world = createWorld()
  const step = (minutes: number, action: Step['action']) => world.player.play([{ customer: 0, minutes, action }])
  await step(5, { kind: 'licence', serial: 3 })
  await step(60, { kind: 'detect', key: undefined })
  const customerId = world.player.customers()[0]?.id ?? ''
  const { bundle, keys } = await forged({ world, customerId, month: '2026-01' }, 'event', ({ type, data }) => {
    if (type === 'LicenceChanged') data.licence.customerIdentifier = 'another'
    if (type === 'DetectionSucceeded') data.bucketKey = data.bucketKey.replace('/buyer', '/another')
  })
  const named = /revision \d+ \(LicenceChanged.*licence/
  expect(faultsOf(await checkBundle(chunksOf(bundle), keys))).toEqual([expect.stringMatching(named)])
  if (python) expect(await verifyByPython(keys, [bundle])).toEqual([[expect.stringMatching(named)]])
})

describe('a metering stream that was rewritten together with its anchor', () => {
  test.for<[string, (event: Line) => void, RegExp]>([
    [
      'less than the calls',
      ({ type, data }) =>
        type === 'RecordSealed' &&
        data.ownQuantity === 2 &&
        Object.assign(data, { ownQuantity: 1, quantity: data.quantity - 1 }),
      /holds 1 calls, the customer's stream 2/,
    ],
    [
      'another digest',
      ({ type, data }) => type === 'RecordSealed' && Object.assign(data, { digest: '1'.repeat(64) }),
      /its digest is not that of its calls/,
    ],
    [
      'a carry of nothing',
      ({ type, data }) => type === 'RecordCarriedForward' && Object.assign(data, { quantity: 0 }),
      /carried/,
    ],
    [
      'a void never adjusted',
      (event) => event.type === 'AdjustmentNoted' && Object.assign(event.data, { yearMonth: '2026-05' }),
      /was never adjusted/,
    ],
    [
      'an acceptance without an attempt',
      (event) => event.type === 'RecordAccepted' && Object.assign(event.data, { attempt: 2 }),
      /attempt.* never made/,
    ],
    [
      'another end of the month',
      ({ type, data }) => type === 'MonthClosed' && Object.assign(data, { overageCalls: 1 }),
      /closed with/,
    ],
    [
      'a month closed with calls that nobody has',
      (event) => event.type === 'MonthClosed' && Object.assign(event.data, { throughRevision: 10_000 }),
      /closed through revision 10000, the customer's stream ends at/,
    ],
  ])('is found by its own contradictions: %s', async ([, change, named]) => {
    const { bundle, keys } = await forged(await february(), 'metering', change)
    expect(faultsOf(await checkBundle(chunksOf(bundle), keys)).join('\n')).toMatch(named)
    if (python) expect((await verifyByPython(keys, [bundle]))[0]?.join('\n')).toMatch(named)
  })
})

describe("a bundle between anchors of the forger's own choice", () => {
  const detect = { kind: 'detect', key: undefined } as const
  const ofFebruary = '2026-02'

  /** Customer 0 has two credits a month. `forge` changes what stands behind the anchor `middle`, before `end` is taken. */
  async function givenFebruary(forge: (tail: Line[], opener: Line['data']) => void = () => {}) {
    const world = createWorld()
    const play = (days: number, action: Step['action']) =>
      world.player.play([{ customer: 0, minutes: days * 24 * 60, action }])
    await play(0, detect) // 30 January, 22:00
    const january = await world.anchor()
    await play(0.05, detect) // still January, behind the anchor
    await play(2, { kind: 'openMonth' }) // 1 February
    const opened = await world.anchor()
    await play(1, detect)
    const middle = await world.anchor()
    for (let i = 0; i < 3; i++) await play(5, detect)
    await play(15, { kind: 'openMonth' }) // March
    const customerId = world.player.customers()[0]?.id ?? ''
    const stream = world.store.stream(`customer-${customerId}`)
    const known = anchoredPoint(middle, customerId)
    const tail = stream.slice(known === null ? 0 : Number(customerHead(known).revision) + 1) as unknown as Line[]
    forge(tail, stream.find(({ type, data }) => type === 'MonthlyCreditsGranted' && isOf(ofFebruary, data))?.data)
    rechain(
      tail.map((event) => ({ part: 'event', event })),
      'event',
    )
    for (const event of tail) event.revision = BigInt(event.revision)
    return { world, customerId, january, opened, middle, end: await world.anchor() }
  }
  type Given = Awaited<ReturnType<typeof givenFebruary>>

  const isOf = (yearMonth: string, data: unknown) => (data as Line).yearMonth === yearMonth

  /** Signed by the forger as of another time. */
  const dated = ({ world }: Given, { position, heads }: Anchor, through: string): Anchor =>
    signAnchor({ through, position }, heads, world.privateKey)

  /** What both verifiers say of the log between two anchors, with a statement and a manifest that fit it. */
  async function found(
    given: Given,
    from: Anchor,
    to: Anchor,
    kept: Anchor[] = [],
    month = ofFebruary,
  ): Promise<string[][]> {
    const { world, customerId } = given
    const [before, after] = [from, to].map((anchor) => anchoredPoint(anchor, customerId))
    if (!before || !after) throw new Error('an anchor does not know the customer')
    const between = (stream: string, { revision: begin }: Head, { revision: end }: Head) =>
      world.store.stream(stream).slice(Number(begin) + 1, Number(end) + 1)
    const linesIn = (part: string, events: readonly StoredEvent[]): Line[] =>
      events.map(({ stream, revision, id, type, data, metadata }) => ({
        part,
        event: { stream, revision: `${revision}`, id, type, data, metadata },
      }))
    const events = between(`customer-${customerId}`, customerHead(before), customerHead(after))
    const fold = foldMonth(month)
    for (const stored of events) {
      const logged = readable(stored, (fault) => expect.unreachable(fault))
      if (logged !== null && belongsTo(month, logged)) fold.add(logged)
    }
    const statement = fold.statement()
    if (statement === null) throw new Error('the month has no events')
    const manifest = linesOf(await world.export(customerId, month)).at(-1)?.manifest
    const lines = [
      { part: 'anchors', customerId, month, before, after },
      ...linesIn('metering', between(`metering-${customerId}`, meteringHead(before), meteringHead(after))),
      ...linesIn('event', events),
      { part: 'statement', statement: statementDocument({ ...statement, customerId }) },
      { part: 'manifest', manifest },
    ]
    const bundle = bundleOf(resign(lines, world.privateKey))
    await world.close()
    const here = faultsOf(await checkBundle(chunksOf(bundle), world.keys, kept))
    return python ? [here, ...(await verifyByPython(world.keys, [bundle], kept))] : [here]
  }

  test('agrees where it holds all of the month', async () => {
    const given = await givenFebruary()
    const { january, opened, middle, end } = given
    for (const faults of await found(given, january, end, [january, opened, middle, end])) expect(faults).toEqual([])
  })

  test("begins with the month's opener, whatever time its first anchor says", async () => {
    // Dearer than the terms, and with the credit that was left unused.
    const given = await givenFebruary(([call]) =>
      Object.assign(call?.data, { funding: 'overage', overageUnitPrice: '9', sequence: 7 }),
    )
    const { january, middle, end } = given
    for (const faults of await found(given, dated(given, middle, january.through), end)) {
      expect(faults[0]).toMatch(/revision \d+ \(DetectionSucceeded.*first event of 2026-02 .*opener/)
    }
  })

  /** The month is opened a second time, and its first call is behind it. */
  const openAgain = ([first = {}, ...others]: Line[], opener: Line['data']) => {
    const { occurredAt } = first.data
    Object.assign(first, { type: 'MonthlyCreditsGranted', data: { ...opener, occurredAt } })
    for (const [i, { type, data }] of others.entries()) {
      if (type === 'DetectionSucceeded') Object.assign(data, { sequence: i + 1, funding: 'credit' })
    }
  }

  test('begins with an opener of the month that it stands in', async () => {
    const given = await givenFebruary((tail, opener) => {
      openAgain(tail, opener)
      Object.assign(tail[0]?.data, { yearMonth: '2026-03' })
    })
    const { january, middle, end } = given
    for (const faults of await found(given, dated(given, middle, january.through), end)) {
      expect(faults[0]).toMatch(/revision \d+ \(MonthlyCreditsGranted.*2026-0[23]/)
    }
  })

  test('begins before its month, though another opener stands at its beginning', async () => {
    const given = await givenFebruary(openAgain)
    for (const faults of await found(given, given.middle, given.end)) {
      expect(faults).toEqual([expect.stringMatching(/^the anchor before: .*2026-02-02.*2026-02/)])
    }
  })

  test('begins where a kept anchor says that it does not', async () => {
    const given = await givenFebruary(openAgain)
    const { january, opened, middle, end } = given
    for (const faults of await found(given, dated(given, middle, january.through), end, [opened, end])) {
      expect(faults).toEqual([expect.stringMatching(/^customer-\S+: .*the anchor before/)])
    }
  })

  test('ends where a kept anchor says that the month went on', async () => {
    const given = await givenFebruary()
    const { january, middle, end } = given
    const after = dated(given, middle, '2026-03-20T00:00:00.000Z')
    for (const faults of await found(given, january, after, [middle, end])) {
      expect(faults).toEqual([expect.stringMatching(/^customer-\S+: .*the anchor after/)])
    }
  })

  test('holds no call that is billed to the month and was made before it', async () => {
    const given = await givenFebruary(([{ data } = {}]) => {
      const bucketKey = data.bucketKey.replace(/[^|]*$/, '2026-03-01T05Z')
      Object.assign(data, { funding: 'overage', yearMonth: '2026-03', bucketKey })
    })
    for (const faults of await found(given, given.middle, given.end, [], '2026-03')) {
      expect(faults[0]).toMatch(/revision \d+ \(DetectionSucceeded.*2026-03/)
    }
  })
})
