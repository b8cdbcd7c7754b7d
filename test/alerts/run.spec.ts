/** The leader at work: woken by the projections' notifications, two at once, and stopped. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { keepAlerting } from '../../src/alerts/run.ts'
import { MailFailed } from '../../src/mail/mail.ts'
import { until } from '../projections/support.ts'
import { alertsWorld, detections, emailOf, limitOf, publicUrl } from './world.ts'

const world = alertsWorld()
const pace = { roundEveryMs: 10, lookAtAllEveryMs: 3_600_000, settleMs: 0 }

/** A leader of the test's own; `stop` resolves when it has. */
function leader(now = () => world.now) {
  const stopping = new AbortController()
  const logged: { level: string; facts: Record<string, unknown>; message: string }[] = []
  const log = {
    info: (facts: object, message: string) => void logged.push({ level: 'info', facts: { ...facts }, message }),
    warn: (facts: object, message: string) => void logged.push({ level: 'warn', facts: { ...facts }, message }),
  }
  const { pool, databaseUrl, mail } = world
  const work = keepAlerting({ pool, databaseUrl, clock: { now }, mail, publicUrl, log }, stopping.signal, pace)
  const stop = async () => {
    stopping.abort()
    await work
  }
  onTestFinished(stop)
  return { logged, stop }
}

/** Resolves once that many sessions listen to the read models: that was their last query, or a heartbeat after it. */
const listening = (sessions: number) =>
  until(async () => {
    const { rows } = await world.pool.query<{ there: number }>(
      `select count(*)::integer as there from pg_stat_activity
       where application_name = 'liveness listen readmodels' and datname = current_database() and state = 'idle'
         and (query like 'listen%' or query = 'select 1')`,
    )
    return rows[0]?.there === sessions
  })

test('two leaders at once, woken by each commit of the projections, write once about each threshold', async () => {
  await world.registered()
  const leaders = [leader(), leader()]
  await listening(2)
  for (let call = 1; call <= 11; call++) await world.play(...detections(1))
  await until(() => world.letters.length >= 3)
  // Letters of a second customer come from later rounds: by then a second letter of the first would have come too.
  await world.play(limitOf(10, 1))
  await world.account(1)
  await world.play(...detections(8, 1))
  await until(() => world.letters.some(({ to }) => to === emailOf(1)))
  expect(world.letters.filter(({ to }) => to === emailOf(0))).toHaveLength(3)
  await Promise.all(leaders.map(({ stop }) => stop()))
  const told = leaders.flatMap(({ logged }) => logged)
  expect(told.map(({ level }) => level)).toEqual(['info', 'info', 'info', 'info'])
  expect(JSON.stringify(told)).not.toContain('@')
})

test('a leader that begins finds what was reached while there was none', async () => {
  await world.registered()
  await world.play(...detections(8))
  leader()
  await until(() => world.letters.length === 1)
})

test('after a notification that says nothing, all are looked at', async () => {
  await world.registered()
  const { logged } = leader()
  await listening(1)
  await world.play(...detections(8))
  await until(() => world.letters.length === 1)
  // An account made later is no event: only a look at all finds what its customer had reached before.
  await world.play(limitOf(10, 1), ...detections(8, 1))
  await world.account(1)
  await world.pool.query("select pg_notify('readmodels', '')")
  await until(() => world.letters.length === 2)
  expect(logged.filter(({ level }) => level === 'warn')).toEqual([])
})

test('a mail server that refuses is said in the log without an address, and holds up nobody else’s letter', async () => {
  await world.registered(0)
  await world.play(limitOf(10, 1))
  await world.account(1)
  world.deliver = async ({ to }) => {
    if (to === emailOf(0)) throw new MailFailed('the mail server did not take a letter (EENVELOPE, 550)')
  }
  await world.play(...detections(8, 0), ...detections(8, 1))
  const { logged } = leader()
  await until(() => world.letters.length === 1)
  await until(() => logged.some(({ level }) => level === 'warn'))
  expect(world.letters.map(({ to }) => to)).toEqual([emailOf(1)])
  const warned = logged.filter(({ level }) => level === 'warn')
  expect(warned).toHaveLength(1)
  expect(warned[0]?.facts).toMatchObject({ customerId: world.customerId(0), month: '2026-01', kind: 'credits_80' })
  expect(JSON.stringify(logged) + warned.map(({ facts }) => String(facts.err)).join()).not.toContain('@')
})

test('a clock that is out of service stops the letters until it is back', async () => {
  await world.registered()
  await world.play(...detections(8))
  let broken = true
  const { logged } = leader(() => {
    if (broken) throw new Error('the clock differs')
    return world.now
  })
  await until(() => logged.length > 1)
  expect(world.letters).toEqual([])
  broken = false
  await until(() => world.letters.length === 1)
})

test('to stop waits for the letter under way', async () => {
  await world.registered()
  await world.play(...detections(8))
  let finish = () => {}
  const sending = new Promise<void>((begun) => {
    world.deliver = () => {
      begun()
      return new Promise((resolve) => {
        finish = resolve
      })
    }
  })
  const { stop } = leader()
  await sending
  const stopped = stop().then(() => 'stopped')
  expect(await Promise.race([stopped, pause(50, 'still at work')])).toBe('still at work')
  finish()
  expect(await stopped).toBe('stopped')
  expect(await world.rows()).toEqual(['2026-01 credits_80 sent'])
})
