/** Bundles of streams that were forged before they were anchored: both verifiers find what contradicts itself. */
import { describe, expect, test } from 'vitest'
import type { PublicKeys } from '../../src/audit/anchor.ts'
import { checkBundle } from '../../src/audit/check-bundle.ts'
import type { Step } from '../support/histories.ts'
import { february } from './february.ts'
import { faultsOf, type Line, rechain } from './lines.ts'
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
  ])('is found by its own contradictions: %s', async ([, change, named]) => {
    const { bundle, keys } = await forged(await february(), 'metering', change)
    expect(faultsOf(await checkBundle(chunksOf(bundle), keys)).join('\n')).toMatch(named)
    if (python) expect((await verifyByPython(keys, [bundle]))[0]?.join('\n')).toMatch(named)
  })
})
