/** Letters about usage, decided and sent over a real Postgres whose read models are folded from a log. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { postgresDoubts } from '../../src/commands/doubts.ts'
import { MailFailed } from '../../src/mail/mail.ts'
import { alertsWorld, detections, emailOf, limitOf, step } from './world.ts'

const world = alertsWorld()
const days = (count: number) => count * 24 * 60
const eighty = '80 % of your credits for January 2026 are used'
const all = 'All your credits for January 2026 are used'
const overage = 'Overage has begun in January 2026'

describe('each threshold', () => {
  test('is written about at the call that reaches it, and once', async () => {
    await world.registered()
    const subjects: string[][] = []
    for (let call = 1; call <= 13; call++) {
      await world.play(...detections(1))
      await world.round()
      subjects[call] = world.subjects()
    }
    expect(subjects[7]).toEqual([])
    expect(subjects[8]).toEqual([eighty])
    expect(subjects[9]).toEqual([eighty])
    expect(subjects[10]).toEqual([eighty, all])
    expect(subjects[11]).toEqual([eighty, all, overage])
    expect(subjects[13]).toEqual([eighty, all, overage])
    expect(new Set(world.letters.map(({ to }) => to))).toEqual(new Set([emailOf(0)]))
    expect(world.letters[2]?.text).toContain('Overage has begun in January 2026: 1 call so far.')
  })

  test('is written about once by leaders that decide and send at the same moment', async () => {
    const customers = [0, 1, 2, 3]
    for (const who of customers) {
      await world.registered(who)
      await world.play(step({ kind: who === 3 ? 'capOn' : 'capOff' }, who), ...detections(12, who))
    }
    const attempts = (await Promise.all(Array.from({ length: 6 }, () => world.round()))).flat()
    expect(attempts.every(({ outcome, tries }) => outcome === 'sent' && tries === 1)).toBe(true)
    expect(attempts).toHaveLength(11)
    expect(new Set(world.letters.map(({ messageId }) => messageId)).size).toBe(11)
    const lettersEach = customers.map((who) => world.letters.filter(({ to }) => to === emailOf(who)).length)
    expect(lettersEach).toEqual([3, 3, 3, 2])
  })

  test('an upgrade that raises the limit lets 80 % come a second time: the letter does not', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.round()
    await world.play(limitOf(20), ...detections(8)) // 16 of 20
    await world.round()
    expect(world.subjects()).toEqual([eighty])
    await world.play(...detections(4))
    await world.round()
    expect(world.subjects()).toEqual([eighty, all])
  })

  test('with the hard cap on there is no overage to write about', async () => {
    await world.registered()
    await world.play(step({ kind: 'capOn' }), ...detections(12))
    await world.round()
    expect(world.subjects()).toEqual([eighty, all])
    expect(world.letters[1]?.text).toContain('because the hard cap is on')
  })

  test('looking at those whose usage has changed finds theirs and nobody else’s', async () => {
    await world.registered()
    await world.play(...detections(8))
    expect(await world.decide(new Set())).toBe(0)
    expect(await world.decide(new Set([randomUUID()]))).toBe(0)
    expect(await world.decide(new Set([world.customerId()]))).toBe(1)
    expect(await world.decide('all')).toBe(0)
  })
})

describe('a call that is voided', () => {
  test('before the letter goes out takes the letter back; the next overage call brings it', async () => {
    await world.registered()
    await world.play(...detections(11))
    expect(await world.decide()).toBe(3)
    await world.play(step({ kind: 'void', back: 0 })) // the overage call
    expect((await world.round()).map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'withdrawn'])
    expect(world.subjects()).toEqual([eighty, all])
    await world.play(...detections(1))
    await world.round()
    expect(world.subjects()).toEqual([eighty, all, overage])
  })

  test('and one voided before anybody looked was never overage', async () => {
    await world.registered()
    await world.play(...detections(11), step({ kind: 'void', back: 0 }))
    await world.round()
    expect(world.subjects()).toEqual([eighty, all])
  })

  test('nothing goes out while it is in doubt whether a call will be voided', async () => {
    await world.registered()
    await world.play(...detections(8))
    const doubts = postgresDoubts(world.pool)
    const firstEventId = randomUUID()
    await doubts.record({ firstEventId, customerId: world.customerId(), expectedRevision: 9n, detectionIds: [] })
    expect(await world.round()).toEqual([])
    await doubts.remove(firstEventId)
    await world.round()
    expect(world.subjects()).toEqual([eighty])
  })

  test('a letter waits until no append can be unknown without a doubt of it', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.decide('all', 60_000)
    expect(await world.sendNext()).toBeNull()
    await world.waitOver()
    expect(await world.sendNext()).toMatchObject({ outcome: 'sent' })
  })
})

describe('a crash', () => {
  test('between decision and sending loses nothing', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.decide()
    expect(world.letters).toEqual([])
    await world.round()
    expect(world.subjects()).toEqual([eighty])
  })

  test('while a letter is sent repeats it after a pause, with the same Message-ID', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.decide()
    const taken = new Promise<void>((resolve) => {
      const { deliver } = world
      world.deliver = (letter) => {
        world.letters.push(letter) // the mail server has it, and its sender never hears so
        world.deliver = deliver
        resolve()
        return new Promise(() => {})
      }
    })
    void world.sendNext()
    await taken
    expect(await world.round()).toEqual([]) // nobody takes it over at once
    await world.waitOver()
    expect(await world.round()).toMatchObject([{ outcome: 'sent', tries: 2 }])
    expect(world.subjects()).toEqual([eighty, eighty])
    expect(world.letters[1]?.messageId).toBe(world.letters[0]?.messageId)
    await world.waitOver()
    expect(await world.round()).toEqual([])
  })
})

test('a letter that is not taken is tried again after 2, 4, 8 minutes, at last each 6 hours', async () => {
  await world.registered()
  await world.play(...detections(8))
  await world.decide()
  const { deliver } = world
  world.deliver = async () => {
    throw new MailFailed('the mail server did not take a letter (ECONNECTION)')
  }
  const pauses: number[] = []
  for (let tries = 1; tries <= 10; tries++) {
    expect(await world.sendNext()).toMatchObject({ outcome: 'failed', tries })
    expect(await world.sendNext()).toBeNull()
    const { rows } = await world.pool.query<{ minutes: number }>(
      'select round(extract(epoch from next_try_at - clock_timestamp()) / 60)::integer as minutes from usage_alerts',
    )
    pauses.push(rows[0]?.minutes ?? 0)
    await world.waitOver()
  }
  expect(pauses).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 360, 360])
  world.deliver = deliver
  await world.round()
  expect(world.subjects()).toEqual([eighty])
})

describe('months', () => {
  test('a new month brings each letter anew, under another Message-ID', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.round()
    await world.play(step({ kind: 'openMonth' }, 0, days(30)), ...detections(7)) // 9 February
    await world.round()
    expect(world.subjects()).toEqual([eighty])
    await world.play(...detections(1))
    await world.round()
    expect(world.subjects()).toEqual([eighty, '80 % of your credits for February 2026 are used'])
    expect(world.letters[1]?.messageId).not.toBe(world.letters[0]?.messageId)
  })

  test('what a month’s last calls reached is still written about on the day after', async () => {
    await world.registered()
    await world.play(...detections(8), step({ kind: 'openMonth' }, 0, days(21) + 17 * 60)) // 1 February
    expect(world.now.slice(0, 10)).toBe('2026-02-01')
    await world.round()
    expect(world.subjects()).toEqual([eighty])
    expect(world.letters[0]?.text).toContain('/console/usage/2026-01')
  })

  test('but no later: the letter is given up, and an older month is not looked at', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.decide()
    await world.play(...detections(2), step({ kind: 'openMonth' }, 0, days(23)))
    expect(await world.round()).toMatchObject([{ outcome: 'given_up' }])
    expect(world.letters).toEqual([])
    expect(await world.rows()).toEqual(['2026-01 credits_80 given_up'])
  })
})

describe('whoever does not want these letters', () => {
  test('gets none, and switching them on again brings no old one', async () => {
    await world.registered()
    await world.setAlerts(false)
    await world.play(...detections(8))
    await world.round()
    expect(await world.rows()).toEqual(['2026-01 credits_80 silent'])
    await world.setAlerts(true)
    await world.round()
    expect(world.letters).toEqual([])
    await world.play(...detections(2))
    await world.round()
    expect(world.subjects()).toEqual([all])
  })

  test('gets none that was decided before they said so', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.decide()
    await world.setAlerts(false)
    expect(await world.round()).toMatchObject([{ outcome: 'silent' }])
    expect(world.letters).toEqual([])
  })

  test('a customer without an account gets none until there is one', async () => {
    await world.play(limitOf(10), ...detections(8))
    await world.round()
    expect(await world.rows()).toEqual([])
    await world.account()
    await world.round()
    expect(world.subjects()).toEqual([eighty])
  })

  test('a deactivated customer gets none', async () => {
    await world.registered()
    await world.play(...detections(8), step({ kind: 'deactivate' }))
    expect(await world.round()).toMatchObject([{ outcome: 'silent' }])
  })

  test('a letter goes to the address that is the customer’s when it is sent', async () => {
    await world.registered()
    await world.play(...detections(8))
    await world.decide()
    await world.pool.query("update accounts set email = 'new@example.com'")
    await world.round()
    expect(world.letters.map(({ to }) => to)).toEqual(['new@example.com'])
  })
})
