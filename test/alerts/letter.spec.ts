import { describe, expect, test } from 'vitest'
import { alertLetter, type LetterFacts } from '../../src/alerts/letter.ts'
import { isReached, messageIdOf, monthsWorthALetter } from '../../src/alerts/rule.ts'

const publicUrl = 'https://liveness.example'

describe('what a month has earned', () => {
  const limit = (monthlyLimit: number, creditCalls: number, overageCalls = 0) => ({
    monthlyLimit,
    creditCalls,
    overageCalls,
  })

  test('80 % and 100 % begin at the first call that reaches them', () => {
    expect(isReached('credits_80', limit(5_000, 3_999))).toBe(false)
    expect(isReached('credits_80', limit(5_000, 4_000))).toBe(true)
    expect(isReached('credits_100', limit(5_000, 4_999))).toBe(false)
    expect(isReached('credits_100', limit(5_000, 5_000))).toBe(true)
    // 80 % of 7 is 5.6
    expect(isReached('credits_80', limit(7, 5))).toBe(false)
    expect(isReached('credits_80', limit(7, 6))).toBe(true)
  })

  test('overage begins with the first call that was paid so, also where an upgrade has left credits since', () => {
    expect(isReached('overage', limit(5_000, 5_000))).toBe(false)
    expect(isReached('overage', limit(5_000, 5_000, 1))).toBe(true)
    expect(isReached('overage', limit(10_000, 5_000, 1))).toBe(true)
    expect(isReached('credits_80', limit(10_000, 5_000, 3_000))).toBe(false)
  })

  test('a month is written about while it runs and for a day afterwards', () => {
    expect(monthsWorthALetter('2026-02-15T12:00:00.000Z')).toEqual(['2026-02'])
    expect(monthsWorthALetter('2026-03-01T23:59:59.999Z')).toEqual(['2026-03', '2026-02'])
    expect(monthsWorthALetter('2026-03-02T00:00:00.000Z')).toEqual(['2026-03'])
    expect(monthsWorthALetter('2026-01-01T05:00:00.000Z')).toEqual(['2026-01', '2025-12'])
  })

  test('a Message-ID is the same for the same letter only, and does not say whose it is', () => {
    const customerId = '11111111-1111-4111-8111-111111111111'
    const alert = { customerId, month: '2026-05', kind: 'credits_80' } as const
    const id = messageIdOf(alert, 'http://localhost:8080')
    expect(id).toMatch(/^<alert\.2026-05\.credits_80\.[0-9a-f]{16}@localhost>$/)
    expect(messageIdOf({ ...alert }, 'http://localhost:8080')).toBe(id)
    const others = [
      { ...alert, month: '2026-06' },
      { ...alert, kind: 'overage' as const },
      { ...alert, customerId: '22222222-2222-4222-8222-222222222222' },
    ]
    expect(new Set([id, ...others.map((other) => messageIdOf(other, 'http://localhost:8080'))]).size).toBe(4)
  })
})

describe('the letters', () => {
  const usage: LetterFacts['usage'] = {
    month: '2026-05',
    plan: 'standard',
    monthlyLimit: 5_000,
    creditCalls: 4_000,
    overageCalls: 0,
    hardCap: false,
    overageUnitPrice: '0.15',
  }
  const used = { ...usage, creditCalls: 5_000 }
  const letter = (facts: Partial<LetterFacts>) =>
    alertLetter({ kind: 'credits_80', usage, ended: null, monthNow: '2026-05', publicUrl, ...facts })
  const paragraphs = (facts: Partial<LetterFacts>) => letter(facts).text.split('\n\n')

  test('80 %: what is used and left, what happens at the limit, and where to read on', () => {
    expect(letter({})).toEqual({
      subject: '80 % of your credits for May 2026 are used',
      text: `You have used 80 % of your credits for May 2026. 4,000 of 5,000 credits used. 1,000 left until 31 May, 23:59 UTC.

Past 5,000 calls, calls keep going, $0.15 for each further call. To stop there instead, switch the hard cap on: https://liveness.example/console/plan

Your usage: https://liveness.example/console/usage

You can stop mail about usage at https://liveness.example/console/account

Liveness Detection API
`,
    })
  })

  test('100 %: how calls are answered from there on', () => {
    const facts = { kind: 'credits_100', usage: used } as const
    expect(letter(facts).subject).toBe('All your credits for May 2026 are used')
    expect(paragraphs(facts).slice(0, 2)).toEqual([
      'You have used all your credits for May 2026. 5,000 of 5,000 credits used.',
      'Calls keep going, $0.15 for each further call. To stop them instead, switch the hard cap on: https://liveness.example/console/plan',
    ])
    expect(paragraphs({ ...facts, usage: { ...used, hardCap: true } })[1]).toBe(
      'Calls are answered with 429 until 31 May, 23:59 UTC, because the hard cap is on. To keep going, $0.15 for each further call, switch it off: https://liveness.example/console/plan',
    )
    expect(paragraphs({ ...facts, usage: { ...used, plan: 'free', monthlyLimit: 100, hardCap: true } })[1]).toBe(
      'Calls are answered with 429 until 31 May, 23:59 UTC; the free plan never costs anything. Your plan: https://liveness.example/console/plan',
    )
    const ended = { licence: { kind: 'none' }, paidUntil: '2026-06-01T00:00:00.000Z', reason: 'cancelled' } as const
    expect(paragraphs({ ...facts, ended })[1]).toBe(
      'Calls are answered with 429, and from 1 June 2026, 00:00 UTC on with 401, because the subscription has ended.',
    )
    expect(paragraphs({ ended })[1]).toBe(
      'Calls stop at 5,000 calls and are answered with 429 from there on, and from 1 June 2026, 00:00 UTC on with 401, because the subscription has ended.',
    )
  })

  test('overage: how many calls, and how to stop it', () => {
    const facts = { kind: 'overage', usage: { ...used, overageCalls: 1 } } as const
    expect(letter(facts).subject).toBe('Overage has begun in May 2026')
    expect(paragraphs(facts)[0]).toBe('Overage has begun in May 2026: 1 call so far. 5,000 of 5,000 credits used.')
    expect(paragraphs(facts)[1]).toContain('switch the hard cap on')
    expect(paragraphs({ ...facts, usage: { ...used, overageCalls: 1_200, monthlyLimit: 10_000 } })[0]).toBe(
      'Overage has begun in May 2026: 1,200 calls so far. 5,000 of 10,000 credits used. 5,000 left until 31 May, 23:59 UTC.',
    )
  })

  test('when the month is over, nothing is said of calls to come', () => {
    expect(paragraphs({ monthNow: '2026-06' }).slice(0, 2)).toEqual([
      'You have used 80 % of your credits for May 2026. 4,000 of 5,000 credits used.',
      'Your usage: https://liveness.example/console/usage/2026-05',
    ])
  })
})
