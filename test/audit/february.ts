/** A month in which everything happens that a bundle can hold, between two anchors. */
import type { Step } from '../support/histories.ts'
import { createWorld } from './world.ts'

const detect = { kind: 'detect', key: undefined } as const

/** Customer 0 of the player: a licence of AWS Marketplace, two credits a month, overage allowed. */
export async function february() {
  const world = createWorld()
  const { player } = world
  const play = (minutes: number, action: Step['action'], customer = 0) => player.play([{ customer, minutes, action }])
  const days = (count: number) => count * 24 * 60

  await play(0, { kind: 'detect', key: 1 }) // 30 January, 22:00
  await play(5, { kind: 'openMonth' }, 1)
  await world.anchor()
  await play(60, detect) // still January, behind the anchor
  await play(days(2), { kind: 'openMonth' }) // 1 February, 23:05
  for (let i = 0; i < 5; i++) await play(3, detect)
  await play(1, { kind: 'void', back: 0 }) // before its record is sealed
  await world.meter({ hours: 2 }) // sealed and accepted
  await play(1, { kind: 'void', back: 0 }) // after it was sealed: an adjustment
  await play(1, detect) // its hour is sealed: late
  await world.meter({ hours: 0 })
  await play(days(1), detect)
  await world.meter({ hours: 2, send: false }) // sealed, not sent in time …
  await play(days(1) + 300, detect)
  await world.meter({ hours: 0, send: false }) // … so it is carried forward
  await world.meter({ hours: 3 })
  await play(10, { kind: 'regenerate', slot: 'primary' })
  await play(10, { kind: 'setPlan', plan: 'business', limit: 4 })
  for (let i = 0; i < 6; i++) await play(30, { kind: 'detect', key: i })
  await play(1, { kind: 'replay', back: 0 })
  await play(1, { kind: 'setPlan', plan: 'starter', limit: 3 })
  await world.meter({ hours: 4 })
  await play(days(26), { kind: 'openMonth' }) // March
  await play(10, { kind: 'detect', key: 7 })
  await play(1, { kind: 'replay', back: 0 })
  await play(1, { kind: 'detect', key: 8 })
  await world.meter({ hours: 9 }) // closes February
  await world.anchor()
  const [customer] = player.customers()
  if (customer === undefined) throw new Error('nobody registered')
  return { world, customerId: customer.id, month: '2026-02' }
}
