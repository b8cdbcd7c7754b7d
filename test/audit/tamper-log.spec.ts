/** What somebody with the event store's table at hand can do to the log, and that verification finds and names it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Anchor } from '../../src/audit/anchor.ts'
import { listAnchors, readAnchor } from '../../src/audit/anchor-files.ts'
import { verify } from '../../src/audit/verify.ts'
import { textOf } from '../../src/cli/audit-verify-report.ts'
import { openDatabase } from '../projections/support.ts'
import { february } from './february.ts'
import { forgeChains, ofCustomer, startSystem, type TableEvent, type TamperedSystem } from './system.ts'
import { foldTables } from './tables.ts'

let system: TamperedSystem
let customerId: string
let anchors: Anchor[]
beforeAll(async () => {
  const { world, customerId: id } = await february()
  customerId = id
  const files = await listAnchors(world.anchorDir)
  anchors = await Promise.all(files.map(({ path }) => readAnchor(path, world.keys)))
  system = await startSystem(world.store.all())
  await world.close()
})
afterAll(() => system?.stop())
afterEach(() => system.restore())

const { signal } = new AbortController()

interface Question {
  readonly anchored?: boolean
  readonly customerOnly?: boolean
  readonly streams?: boolean
}

/** What is found, in the words of the command. */
async function found({ anchored = false, customerOnly = false, streams = true }: Question = {}): Promise<string[]> {
  const report = await verify({
    store: system.store,
    pool: system.untouched.pool,
    anchors: anchored ? anchors : [],
    signal,
    streams,
    ...(customerOnly ? { customerId } : {}),
  })
  return report.differences.map(textOf)
}

/** As after a rebuild of everything that is folded from the log: nothing but an anchor can disagree. */
async function foundBehindRebuild(anchored: boolean): Promise<string[]> {
  const database = await openDatabase()
  try {
    const { store } = system
    await foldTables(store, database.pool)
    const options = { store, pool: database.pool, anchors: anchored ? anchors : [], signal }
    return (await verify(options)).differences.map(textOf)
  } finally {
    await database.close()
  }
}

test('nothing is found in the untouched log', async () => {
  for (const question of [{}, { anchored: true }, { customerOnly: true, anchored: true }, { streams: false }]) {
    expect(await found(question)).toEqual([])
  }
  expect(await foundBehindRebuild(true)).toEqual([])
})

const call = (events: TableEvent[], n = 0) => ofCustomer(customerId).place(events, 'DetectionSucceeded', n)
const eventAt = (events: TableEvent[], at: number): TableEvent => {
  const event = events[at]
  if (event === undefined) throw new Error(`there is no event at ${at}`)
  return event
}

describe.for<[string, (events: TableEvent[]) => { events: TableEvent[]; named: TableEvent }, string]>([
  [
    'an event altered',
    (events) => {
      const named = eventAt(events, call(events))
      Object.assign(named.data, { funding: 'overage' })
      return { events, named }
    },
    'its hash is not that of its content',
  ],
  [
    "an event's actor altered",
    (events) => {
      const named = eventAt(events, ofCustomer(customerId).place(events, 'PlanChanged'))
      Object.assign(named.metadata, { actor: 'marketplace' })
      return { events, named }
    },
    'its hash is not that of its content',
  ],
  [
    'an event removed',
    (events) => {
      const at = call(events, 2)
      const named = events.find(({ stream, revision }) => {
        const gone = eventAt(events, at)
        return stream === gone.stream && revision === gone.revision + 1n
      })
      return { events: events.filter((_, i) => i !== at), named: named ?? eventAt(events, at) }
    },
    'expected revision',
  ],
  [
    'an event removed, those behind it moved up',
    (events) => {
      const at = call(events, 2)
      const { stream, revision } = eventAt(events, at)
      const rest = events.filter((_, i) => i !== at)
      for (const event of rest) if (event.stream === stream && event.revision > revision) event.revision -= 1n
      const named = rest.find((event) => event.stream === stream && event.revision === revision)
      return { events: rest, named: named ?? eventAt(events, at) }
    },
    'its prevHash is not the hash of the event before it',
  ],
  [
    'an event inserted',
    (events) => {
      const at = call(events, 1)
      const named = { ...structuredClone(eventAt(events, at)), id: '11111111-1111-4111-8111-111111111111' }
      named.revision += 1n
      named.position += 1n
      const rest = events.map((event) => ({
        ...event,
        position: event.position >= named.position ? event.position + 1n : event.position,
        revision:
          event.stream === named.stream && event.revision >= named.revision ? event.revision + 1n : event.revision,
      }))
      return { events: [...rest, named], named }
    },
    'its prevHash is not the hash of the event before it',
  ],
  [
    'two events swapped',
    (events) => {
      const [one, other] = [eventAt(events, call(events, 2)), eventAt(events, call(events, 3))]
      ;[one.revision, other.revision] = [other.revision, one.revision]
      ;[one.position, other.position] = [other.position, one.position]
      return { events, named: other }
    },
    'its prevHash is not the hash of the event before it',
  ],
  [
    'an answer of AWS altered',
    (events) => {
      const named = events.find(({ type }) => type === 'RecordAccepted') ?? eventAt(events, 0)
      Object.assign(named.data, { meteringRecordId: 'another' })
      return { events, named }
    },
    'its hash is not that of its content',
  ],
])('%s', ([, tamper, fault]) => {
  test.for<[string, Question]>([
    ['in the whole log', {}],
    ["in the customer's streams", { customerOnly: true }],
  ])('is found %s, and named', async ([, question]) => {
    let named: TableEvent | undefined
    await system.tamperLog((events) => {
      const tampered = tamper(events)
      named = tampered.named
      return tampered.events
    })
    const faults = await found(question)
    const place = `chain ${named?.stream} revision ${named?.revision} (${named?.id})`
    expect(faults.filter((text) => text.startsWith(place))).toEqual([expect.stringContaining(fault)])
  })
})

describe('a tail cut off', () => {
  const cut = (stream: (name: string) => boolean, last: number) =>
    system.tamperLog((events) => {
      const gone = events.filter((event) => stream(event.stream)).slice(-last)
      return events.filter((event) => !gone.includes(event))
    })

  test.for<[string, (stream: string) => boolean, number, RegExp?]>([
    [
      "of the customer's stream",
      (stream) => stream === `customer-${customerId}`,
      1,
      /it speaks of revision \d+ of the customer's stream/,
    ],
    ['of the metering stream', (stream) => stream === `metering-${customerId}`, 3],
    ['of the whole log', () => true, 12],
  ])('%s is found by an anchor', async ([, stream, last, otherwise]) => {
    await cut(stream, last)
    // Otherwise only by what metering has said of it meanwhile.
    const without = await foundBehindRebuild(false)
    expect(without).toEqual(otherwise === undefined ? [] : [expect.stringMatching(otherwise)])
    const faults = await foundBehindRebuild(true)
    expect(faults).toContainEqual(
      expect.stringMatching(/^anchor .*the stream ends at revision \d+; .*tail was cut off/),
    )
    // Whatever was folded from it is further than the log, which is found without an anchor.
    expect(await found()).not.toEqual([])
  })

  test("a customer's streams gone without a trace are found by an anchor", async () => {
    await system.tamperLog((events) => events.filter(({ stream }) => !stream.endsWith(customerId)))
    expect(await foundBehindRebuild(false)).toEqual([])
    expect(await foundBehindRebuild(true)).toContainEqual(expect.stringContaining('the stream is gone'))
  })
})

describe('a consistent forgery', () => {
  test('that keeps every rule is found by an anchor alone, and the first anchored event behind it named', async () => {
    await system.tamperLog((events) => {
      const last = eventAt(events, call(events, -1))
      // No seal stands behind it, so nothing in the log has kept its hash but its successors.
      expect(last.data.funding).toBe('credit')
      Object.assign(last.data, { modelVersion: 'forged' })
      return forgeChains(events)
    })
    expect(await foundBehindRebuild(false)).toEqual([])
    const stream = `customer-${customerId}`
    const head = anchors.at(-1)?.heads.find(([name]) => name === stream)
    const faults = await foundBehindRebuild(true)
    expect(faults).toEqual([expect.stringMatching(`^anchor ${stream} revision ${head?.[1]} `)])
    expect(faults[0]).toMatch('it is not the event that was anchored')
  })

  test('of a call before a seal is found by the seal, which its hash went into', async () => {
    await system.tamperLog((events) => {
      Object.assign(eventAt(events, call(events)).data, { modelVersion: 'forged' })
      return forgeChains(events)
    })
    expect(await foundBehindRebuild(false)).toContainEqual(
      expect.stringContaining('its digest is not that of its calls'),
    )
  })

  test('of what a record holds is found by the calls, which hash into the seal', async () => {
    await system.tamperLog((events) => {
      const seal = events.find(({ type }) => type === 'RecordSealed') ?? eventAt(events, 0)
      Object.assign(seal.data, { quantity: 1, ownQuantity: 1 })
      return forgeChains(events)
    })
    const faults = await foundBehindRebuild(false)
    expect(faults).toContainEqual(
      expect.stringMatching(
        /^metering metering-\S+ revision \d+ \(\S+\) 2026-02 .*holds 1 calls, the customer's stream \d/,
      ),
    )
  })

  test('that gives calls away is found by the rules', async () => {
    await system.tamperLog((events) => {
      const overage = events.find(({ data }) => data.funding === 'overage') ?? eventAt(events, 0)
      Object.assign(overage.data, { funding: 'credit' })
      return forgeChains(events)
    })
    const faults = await foundBehindRebuild(false)
    expect(faults).toContainEqual(
      expect.stringMatching(/^rule customer-.* 2026-0\d: it is paid by credit: 2 of 2 credits/),
    )
  })
})

describe("the event store's columns", () => {
  const set = (what: string, where: string) => `update eventstore.event set ${what} where stream = $1 and ${where}`
  const positionOf = (revision: number) =>
    `(select position from eventstore.event where stream = $1 and revision = ${revision})`
  const newest = 'revision = (select max(revision) from eventstore.event where stream = $1)'

  test.for<[string, string[], RegExp]>([
    [
      'two revisions swapped',
      [set('revision = -1', 'revision = 2'), set('revision = 2', 'revision = 3'), set('revision = 3', 'revision = -1')],
      /^chain customer-\S+ revision 3 \(\S+\): in its stream: expected revision 2, found 3/,
    ],
    [
      'two positions swapped',
      // Both in one number meanwhile, for no two may be alike.
      [
        set(`position = -(position * 1000000 + ${positionOf(3)})`, 'revision = 2'),
        set(`position = -${positionOf(2)} / 1000000`, 'revision = 3'),
        set('position = -position % 1000000', 'revision = 2'),
      ],
      /^chain customer-\S+ revision \d+ \(\S+\): /,
    ],
    [
      'an event hidden from the log, at its end',
      [set('position = -position', newest)],
      /^chain customer-\S+ revision \d+: read by itself, the stream goes on to this revision; the log has nothing of it/,
    ],
    [
      'an event given to another stream',
      [set("stream = 'customer-99999999-9999-4999-8999-999999999999'", newest)],
      /^chain customer-\S+ revision \d+: read by itself, the stream is not what the log holds/,
    ],
  ])('%s: found', async ([, statements, named]) => {
    await system.tamperIndex(`customer-${customerId}`, statements)
    expect(await found()).toContainEqual(expect.stringMatching(named))
  })

  test.for([
    ['spoilt', "message = '\\x00ff'"],
    ['emptied', "message = ''"],
    ['cut off', 'message = substring(message for length(message) / 2)'],
  ] as const)('an event %s: named, and what stands behind it is still looked at', async ([, damage]) => {
    await system.tamperIndex(`customer-${customerId}`, [
      set(damage, 'revision = 2'),
      set("stream = 'customer-99999999-9999-4999-8999-999999999999'", newest),
    ])
    for (const question of [{}, { customerOnly: true }]) {
      const faults = await found(question)
      expect(faults).toContainEqual(expect.stringMatching(/^unreadable customer-\S+ revision 2 /))
      expect(faults).toContainEqual(
        expect.stringMatching(/the stream (is not what the log holds|ends)|expected|goes on/),
      )
    }
  })

  test('revisions swapped are not to be seen where streams are left out, and are in those of a customer', async () => {
    await system.tamperIndex(`customer-${customerId}`, [
      set('revision = -1', 'revision = 2'),
      set('revision = 2', 'revision = 3'),
      set('revision = 3', 'revision = -1'),
    ])
    expect(await found({ streams: false })).toEqual([])
    expect(await found({ customerOnly: true })).toContainEqual(expect.stringMatching(/^chain /))
  })
})

test("events moved in the log's order across an anchor are found by it, though every stream is whole", async () => {
  const through = anchors.at(-1)
  await system.tamperLog((events) => {
    const tick = events.findIndex(
      ({ stream, revision }) =>
        stream === 'watermark' && through?.heads.some(([name, at]) => name === stream && at === `${revision}`),
    )
    const before = events.findLastIndex(({ stream }, at) => at < tick && stream === `customer-${customerId}`)
    const [moved] = events.splice(before, 1)
    if (moved !== undefined) events.splice(tick, 0, moved)
    for (const [at, event] of events.entries()) event.position = BigInt(at + 1)
    return events
  })
  expect(await foundBehindRebuild(true)).toContainEqual(
    expect.stringMatching(/^anchor customer-\S+ revision \d+: at the tick of .*events were moved/),
  )
})
