/** The leader's rounds over a feed that lags: what one of them reads beyond it, the next must not misread. */
import { expect, test } from 'vitest'
import { type MeteringEvent, meteringStream } from '../../src/events/metering.ts'
import { isWaiting } from '../../src/metering/answers.ts'
import { createRounds } from '../../src/metering/rounds.ts'
import { customerId } from '../support/given.ts'
import { accepted, attempted, rules } from './books.ts'
import { meteringWorld } from './consuming.ts'
import { licence } from './story.ts'

test('a void that a seal read beyond the feed is noted, and the month is closed once the feed has brought it too', async () => {
  const world = meteringWorld()
  const { store, tables, decideFor } = world
  const told: string[] = []
  let now = '2026-04-01T00:20:00.000Z'
  const rounds = createRounds({
    tables,
    decideFor,
    rules,
    now: () => now,
    doubts: { standing: async () => [] },
    alarms: { onAlarm: (kind) => told.push(kind), onWarn: () => {} },
    onTrouble: (_, error) => {
      throw error
    },
  })
  const { signal } = new AbortController()
  const types = () => store.stream(meteringStream(customerId)).map(({ type }) => type)
  const logs = (eventOf: (recordId: string) => MeteringEvent) =>
    decideFor(customerId, ({ records }) => records.filter(isWaiting).map(({ recordId }) => eventOf(recordId)))

  await world.registers()
  const made = await world.call('2026-03-31T23:50:00.000Z')
  await world.tick(now)
  await world.catchUp()
  await rounds.seal(signal)
  await logs(attempted)
  await logs(accepted)

  // A licence was replaced a moment ago, which is what makes the leader look beyond the feed; it seals nothing yet.
  await world.call('2026-04-01T06:05:20.000Z')
  await world.call('2026-04-01T06:05:30.000Z')
  await world.does('2026-04-01T06:05:40.000Z', { type: 'ChangeLicence', licence: licence(2), reason: 'renewed' })
  await world.tick('2026-04-01T06:05:45.000Z')
  await world.catchUp()
  await world.does('2026-04-01T06:05:50.000Z', { type: 'VoidDetections', detections: [made] })
  now = '2026-04-01T06:06:00.000Z'
  await rounds.seal(signal)
  expect(types()).toContain('AdjustmentNoted')

  await rounds.close(signal)
  expect(told, 'the books are no imbalance').toEqual([])
  expect(types()).not.toContain('MonthClosed')
  await world.catchUp()
  await rounds.close(signal)
  expect(types().at(-1)).toBe('MonthClosed')
})
