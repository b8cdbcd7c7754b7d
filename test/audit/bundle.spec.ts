/** A bundle of a full month and every way to tamper with it, before both verifiers. */
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listAnchors, readAnchor } from '../../src/audit/anchor-files.ts'
import { checkBundle } from '../../src/audit/check-bundle.ts'
import { NotAnchoredYet } from '../../src/audit/choose-anchors.ts'
import { NothingToExport } from '../../src/audit/export.ts'
import { freeze } from '../../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal } from '../../src/commands/customer.ts'
import { evolve, initialState } from '../../src/commands/state.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { emptyHead } from '../../src/events/chain.ts'
import { reachableFolder } from '../support/folder.ts'
import { registration } from '../support/given.ts'
import { histories, type Step } from '../support/histories.ts'
import { february } from './february.ts'
import { bundleOf, faultsOf, type Line, linesOf, rechain, resign } from './lines.ts'
import { havePython, verifyByPython } from './python.ts'
import { chunksOf, createWorld, type World } from './world.ts'

const python = await havePython()

let world: World
let customerId: string
let good: Buffer
beforeAll(async () => {
  const made = await february()
  ;({ world, customerId } = made)
  good = await world.export(customerId, made.month)
})
afterAll(() => world.close())

describe('an untouched bundle', () => {
  test('agrees, and says what it holds', async () => {
    const { differences, content } = await checkBundle(chunksOf(good, 77), world.keys)
    expect(differences).toEqual([])
    expect(content).toMatchObject({
      customerId,
      month: '2026-02',
      monthOver: true,
      closed: true,
      openCalls: 0,
      records: 7,
    })
    expect(world.troubles).toEqual([])
    const types = new Set(linesOf(good).map(({ event }) => event?.type))
    for (const type of ['AdjustmentNoted', 'RecordCarriedForward', 'MonthClosed', 'PlanChanged', 'DetectionVoided']) {
      expect(types, type).toContain(type)
    }
    expect(linesOf(good).some(({ event }) => event?.data.lateQuantity === 1)).toBe(true)
  })

  test('agrees in Python', { skip: !python }, async () => {
    expect(await verifyByPython(world.keys, [good])).toEqual([[]])
  })

  test('agrees with anchors that somebody kept, and says when they do not reach it', async () => {
    const [first, last] = await keptAnchors()
    for (const kept of [[first], [last], [first, last]]) {
      const anchors = kept.filter((anchor) => anchor !== undefined)
      expect((await checkBundle(chunksOf(good), world.keys, anchors)).differences).toEqual([])
      if (python) expect(await verifyByPython(world.keys, [good], anchors)).toEqual([[]])
    }
    await world.player.play([{ customer: 0, minutes: 60, action: { kind: 'detect', key: undefined } }])
    const behind = [await world.anchor()]
    const { differences } = await checkBundle(chunksOf(good), world.keys, behind)
    expect(differences.map(({ where }) => where)).toEqual(['the anchors given'])
    if (python) expect((await verifyByPython(world.keys, [good], behind))[0]).toHaveLength(1)
  })
})

const keptAnchors = async () =>
  Promise.all((await listAnchors(world.anchorDir)).map(({ path }) => readAnchor(path, world.keys)))

const first = (lines: Line[], part: string, type?: string): number =>
  lines.findIndex((line) => line.part === part && (type === undefined || line.event.type === type))
const at = (lines: Line[], index: number): Line => lines[index] ?? {}

/** What was done, to which lines, and what must be named. Signed again by the holder of the key where it says so. */
const tamperings: readonly [
  name: string,
  tamper: (lines: Line[]) => Line[] | undefined,
  named: RegExp,
  byKey?: 'signed',
][] = [
  [
    'an event altered',
    (lines) =>
      void Object.assign(at(lines, first(lines, 'event', 'DetectionSucceeded')).event.data, { funding: 'overage' }),
    /revision 5 \(DetectionSucceeded/,
  ],
  [
    'an event altered',
    (lines) => void Object.assign(at(lines, first(lines, 'event', 'DetectionVoided')).event.metadata, { actor: 'me' }),
    /\(DetectionVoided.*hash is not that of its content/,
    'signed',
  ],
  [
    'the hour of a call made unreadable',
    (lines) => {
      const call = lines.find(({ event }) => event?.data.funding === 'overage')
      if (call !== undefined) call.event.data.bucketKey = call.event.data.bucketKey.replace(/\|[^|]*$/, '|at noon')
    },
    /revision \d+ \(DetectionSucceeded.*hash is not that of its content/,
    'signed',
  ],
  [
    'an event removed',
    (lines) => void lines.splice(first(lines, 'event', 'DetectionVoided'), 1),
    /expected revision/,
    'signed',
  ],
  [
    'an event inserted',
    (lines) =>
      void lines.splice(
        first(lines, 'event', 'DetectionVoided'),
        0,
        structuredClone(at(lines, first(lines, 'event', 'DetectionSucceeded'))),
      ),
    /expected revision/,
    'signed',
  ],
  [
    'two events swapped',
    (lines) => {
      const i = first(lines, 'event', 'DetectionSucceeded') + 2
      return lines.with(i, at(lines, i + 1)).with(i + 1, at(lines, i))
    },
    /expected revision/,
    'signed',
  ],
  [
    'the tail of the events cut off',
    (lines) => lines.filter(({ part, event }) => part !== 'event' || Number(event.revision) < 24),
    /it ends at revision 23/,
    'signed',
  ],
  ['the tail of the file cut off', (lines) => lines.slice(0, -3), /it has no manifest/],
  [
    'the statement changed',
    (lines) => void Object.assign(at(lines, first(lines, 'statement')).statement, { overageAmount: '0' }),
    /^the statement: its? /m,
    'signed',
  ],
  [
    'a statement line changed',
    (lines) => void Object.assign(at(lines, first(lines, 'statement')).statement.lines[0], { creditCalls: 99 }),
    /^the statement: its? /m,
    'signed',
  ],
  [
    'a metering event altered',
    (lines) =>
      void Object.assign(at(lines, first(lines, 'metering', 'RecordAccepted')).event.data, { meteringRecordId: 'x' }),
    /\(RecordAccepted.*hash is not that of its content/,
    'signed',
  ],
  [
    'a metering event removed',
    (lines) => void lines.splice(first(lines, 'metering', 'SubmissionAttempted'), 1),
    /expected revision/,
    'signed',
  ],
  [
    'the tail of metering cut off',
    (lines) => lines.filter(({ event }) => event?.type !== 'MonthClosed' || event.data.yearMonth !== '2026-02'),
    /metering-.* it ends at revision/,
    'signed',
  ],
  [
    'a proof changed',
    (lines) => void at(lines, 0).after.customer.proof.fill('a'.repeat(64)),
    /anchor after: .*does? not lead to (its|the) root/,
    'signed',
  ],
  [
    'a head changed',
    (lines) => void at(lines, 0).after.customer.head.fill('a'.repeat(64), 2),
    /anchor after: .*does? not lead to (its|the) root/,
    'signed',
  ],
  [
    'an anchor changed',
    (lines) => void Object.assign(at(lines, 0).before.anchor, { root: 'a'.repeat(64) }),
    /anchor before: its signature is wrong/,
    'signed',
  ],
  [
    'metering left out',
    (lines) => {
      const { after } = at(lines, 0)
      after.metering = after.customer
      return lines.filter(({ part }) => part !== 'metering')
    },
    /anchor after: it proves the head of customer-.*, not that of metering-/,
    'signed',
  ],
  [
    'the manifest changed',
    (lines) => void Object.assign(at(lines, lines.length - 1).manifest, { createdAt: '2026-01-01T00:00:00.000Z' }),
    /the manifest: its signature is wrong/,
  ],
  ['another month in the first line', (lines) => void Object.assign(at(lines, 0), { month: '2026-03' }), /./],
  ['another spelling of a line', (lines) => lines, /not in canonical form/],
  ['a line behind the manifest', (lines) => [...lines, at(lines, first(lines, 'event'))], /behind the manifest/],
]

describe('tampering', () => {
  const tampered = () =>
    tamperings.map(([name, tamper, , byKey]) => {
      const lines = linesOf(good)
      const changed = tamper(lines) ?? lines
      const bundle = bundleOf(byKey === 'signed' ? resign(changed, world.privateKey) : changed)
      return name === 'another spelling of a line' ? Buffer.from(bundle.toString().replace('{"', '{ "')) : bundle
    })

  test.for(tamperings.map(([name, , named, byKey], index) => ({ name, named, index, how: byKey ?? 'unsigned' })))(
    'is found and named: $name ($how)',
    async ({ named, index }) => {
      const bundle = tampered()[index] ?? good
      expect(faultsOf(await checkBundle(chunksOf(bundle), world.keys)).join('\n')).toMatch(named)
    },
  )

  test('is found and named by the Python verifier too', { skip: !python }, async () => {
    const found = await verifyByPython(world.keys, tampered())
    for (const [index, [name, , named]] of tamperings.entries()) {
      expect(found[index]?.join('\n'), name).toMatch(named)
    }
  })

  /** Everything rewritten consistently behind the first anchor: only what was anchored knows better. */
  const rewritten = (): Line[] => {
    const lines = linesOf(good)
    const call = at(
      lines,
      lines.findIndex(({ event }) => event?.data.funding === 'overage'),
    )
    lines.splice(lines.indexOf(call), 1)
    rechain(lines, 'event')
    return lines
  }

  test('a log rewritten consistently does not lead to its anchored head', async () => {
    const bundle = bundleOf(resign(rewritten(), world.privateKey))
    expect(faultsOf(await checkBundle(chunksOf(bundle), world.keys)).join('\n')).toMatch(/customer-.*: it ends at/)
    if (python) expect((await verifyByPython(world.keys, [bundle]))[0]?.join('\n')).toMatch(/customer-.*: it ends at/)
  })

  test("another's key is refused, whatever it signed", async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const forged = bundleOf(resign(linesOf(good), privateKey))
    expect(faultsOf(await checkBundle(chunksOf(forged), world.keys))).toEqual([
      'the manifest: it is signed with another key',
    ])
    // Who takes the key out of the bundle's own hands is told of the anchors, which it did not sign.
    expect(faultsOf(await checkBundle(chunksOf(forged), [publicKey])).join('\n')).toMatch(
      /anchor after: it is signed with another key/,
    )
    if (!python) return
    expect(await verifyByPython(world.keys, [forged])).toEqual([['the manifest: it is signed with another key']])
  })
})

test('bundles of any history agree in both verifiers, whenever anchors were taken', async () => {
  const run = fc.record({
    steps: histories({ maxLength: 50 }),
    anchors: fc.array(fc.nat(49), { maxLength: 5 }),
    meters: fc.array(fc.record({ step: fc.nat(49), hours: fc.nat(30), send: fc.boolean() }), { maxLength: 8 }),
  })
  await fc.assert(
    fc.asyncProperty(run, async ({ steps, anchors, meters }) => {
      const world = createWorld()
      try {
        for (const [index, step] of steps.entries()) {
          await world.player.play([step])
          for (const meter of meters) if (meter.step === index) await world.meter(meter)
          if (anchors.includes(index)) await world.anchor()
        }
        const bundles: Buffer[] = []
        for (const { id } of world.player.customers()) {
          for (const month of world.months(id)) bundles.push(await world.export(id, month))
        }
        for (const bundle of bundles) expect(faultsOf(await checkBundle(chunksOf(bundle), world.keys))).toEqual([])
        if (python) expect((await verifyByPython(world.keys, bundles)).flat()).toEqual([])
      } finally {
        await world.close()
      }
    }),
    { numRuns: 15 },
  )
}, 120_000)

test('an export that is killed in the middle leaves nothing under its name, and what it left proves nothing', async () => {
  const folder = reachableFolder('liveness-killed-')
  const [whole, path] = [join(folder, 'whole.ndjson'), join(folder, 'bundle.ndjson')]
  writeFileSync(whole, good)
  const module = new URL('../../dist/write-whole.js', import.meta.url).href
  // Half of a bundle, and then nothing for ever.
  const script = `
    const { writeWhole } = await import(${JSON.stringify(module)})
    const bytes = (await import('node:fs')).readFileSync(${JSON.stringify(whole)})
    await writeWhole(${JSON.stringify(path)}, (async function* () {
      yield bytes.subarray(0, bytes.length / 2)
      process.send('half')
      await new Promise(() => setInterval(() => {}, 1_000))
    })())`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  await once(child, 'message')
  child.kill('SIGKILL')
  await exited
  const [left = '', ...others] = readdirSync(folder).filter((name) => name !== 'whole.ndjson')
  expect(others).toEqual([])
  expect(left).toMatch(/^bundle\.ndjson\..*\.part$/)
  const half = readFileSync(join(folder, left))
  expect(half.length).toBe(Math.floor(good.length / 2))
  expect(faultsOf(await checkBundle(chunksOf(half), world.keys)).join('\n')).toMatch(/it has no manifest/)
  if (python) expect(await verifyByPython(world.keys, [half])).not.toEqual([[]])
  rmSync(folder, { recursive: true })
})

test('after a change of the signing key a bundle is verified with both keys, and with one alone it is not', async () => {
  const { world, customerId } = await february()
  const old = world.keys[0]
  world.rotateKey()
  await world.meter({ hours: 30 })
  await world.player.play([{ customer: 0, minutes: 10, action: { kind: 'detect', key: undefined } }])
  const bundle = await world.export(customerId, '2026-03')
  expect((await checkBundle(chunksOf(bundle), world.keys)).differences).toEqual([])
  expect(faultsOf(await checkBundle(chunksOf(bundle), [world.keys[0]]))).toEqual([
    'the anchor before: it is signed with another key',
  ])
  expect(faultsOf(await checkBundle(chunksOf(bundle), [old])).toSorted()).toEqual([
    'the anchor after: it is signed with another key',
    'the manifest: it is signed with another key',
  ])
  if (python) expect(await verifyByPython(world.keys, [bundle])).toEqual([[]])
  await world.close()
})

test('without leave to anchor, a bundle reaches the newest anchor, and there is none before the first', async () => {
  const world = createWorld()
  await world.player.play([{ customer: 0, minutes: 0, action: { kind: 'detect', key: undefined } }])
  const [customer] = world.player.customers()
  const id = customer?.id ?? ''
  const takeNow = undefined
  await expect(world.export(id, '2026-01', { takeNow })).rejects.toThrow(NotAnchoredYet)
  await expect(world.export(id, '2025-12', { takeNow })).rejects.toThrow(NothingToExport)
  await world.anchor()
  await world.player.play([{ customer: 0, minutes: 5, action: { kind: 'detect', key: undefined } }])
  const report = await checkBundle(chunksOf(await world.export(id, '2026-01', { takeNow })), world.keys)
  expect(report).toMatchObject({ differences: [], content: { events: 5, monthOver: false, closed: false } })
  await world.close()
})

test('a month that begins late, with a licence that was due and a void of the month before, is whole in its bundle', async () => {
  const world = createWorld()
  const play = (hours: number, action: Step['action']) =>
    world.player.play([{ customer: 0, minutes: hours * 60, action }])
  await play(0, { kind: 'detect', key: undefined }) // 30 January, 22:00
  await play(25.5, { kind: 'licence', serial: 3 }) // takes over as February begins
  const { through } = await world.anchor()
  await play(96, { kind: 'fence' }) // 4 February
  await play(0, { kind: 'void', back: 0 })
  const [customer] = world.player.customers()
  const bundle = await world.export(customer?.id ?? '', '2026-02')
  const types = linesOf(bundle).flatMap(({ part, event }) => (part === 'event' ? [event.type] : []))
  expect(types).toEqual(['MonthlyCreditsGranted', 'LicenceChanged', 'AttemptFenced', 'DetectionVoided'])
  const report = await checkBundle(chunksOf(bundle), world.keys)
  expect(report).toMatchObject({ differences: [], content: { from: through, monthOver: false } })
  if (python) expect(await verifyByPython(world.keys, [bundle])).toEqual([[]])
  await world.close()
})

test('a bundle begins before its month, though a later anchor knows nothing of the month either', async () => {
  const world = createWorld()
  const play = (days: number, action: Step['action'], customer = 0) =>
    world.player.play([{ customer, minutes: days * 24 * 60, action }])
  await play(0, { kind: 'detect', key: undefined }) // 30 January
  const { through } = await world.anchor()
  await play(3, { kind: 'openMonth' }, 1)
  await world.anchor()
  await play(3, { kind: 'detect', key: undefined })
  const [customer] = world.player.customers()
  const bundle = await world.export(customer?.id ?? '', '2026-02')
  expect(await checkBundle(chunksOf(bundle), world.keys)).toMatchObject({ differences: [], content: { from: through } })
  await world.close()
})

test('text of any script is hashed alike in both', { skip: !python }, async () => {
  const world = createWorld()
  const id = '22222222-2222-4222-8222-222222222222'
  const reasons = ['Grüße', '\u2028\u2029', '"\\/\b\t\n\f\r\u0001\u001f\u007f', '𝄞 😀 \uFFFD', '税込み', 'e\u0301']
  const renewals = reasons.map((reason, n): CustomerCommand => {
    const licenceArn = `arn:aws:license-manager::1:license:${n}`
    return { type: 'ChangeLicence', licence: { kind: 'licence', awsAccountId: '123456789012', licenceArn }, reason }
  })
  let state = initialState
  const events = [registration({ customerId: id }), ...renewals].flatMap((command) => {
    const decision = decide(state, command, world.player.now)
    if (isRefusal(decision)) throw new Error(decision.message)
    state = decision.reduce(evolve, state)
    return decision
  })
  const origin = { correlationId: 'text', causationId: 'text', actor: 'operator' }
  const caused = events.map((event) => ({ event, origin }))
  await world.store.send(freeze(customerStream(id), emptyHead, caused).attempt, 1_000)
  const bundle = await world.export(id, '2026-01')
  expect(bundle.toString()).toContain('Grüße')
  expect((await checkBundle(chunksOf(bundle), world.keys)).differences).toEqual([])
  expect(await verifyByPython(world.keys, [bundle])).toEqual([[]])
  await world.close()
})
