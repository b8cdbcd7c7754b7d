import { describe, expect, test } from 'vitest'
import { accountsWorld, password } from './world.ts'

const world = accountsWorld()
const next = 'seven purple lamps in rain'
const from = '192.0.2.1'

async function codeFor(email: string): Promise<string> {
  expect(await world.accounts.requestReset(email, from)).toEqual({ kind: 'ok' })
  const [letter] = await world.lettersTo(email)
  return /\b(\d{6})\b/.exec(letter?.text ?? '')?.[1] ?? ''
}
const reset = (email: string, code: string, more: { password?: string; from?: string } = {}) =>
  world.accounts.reset({ email, code, password: next, from, ...more })
const otherThan = (code: string) => (code === '000000' ? '000001' : '000000')

describe('a forgotten password', () => {
  test('is replaced with the code from the mail; sessions end and the second factor stays', async () => {
    const { email, secret, token } = await world.activated()
    const code = await codeFor(email)
    expect(await reset(email, code)).toEqual({ kind: 'ok' })
    expect(await world.accounts.findSession(token)).toBeNull()
    expect(await world.signIn(email, world.nextCode(secret))).toEqual({ kind: 'wrong' })
    expect(await world.signIn(email, world.wrongCode(secret), { password: next })).toEqual({ kind: 'wrong' })
    expect((await world.signIn(email, world.nextCode(secret), { password: next })).kind).toBe('ok')
    expect(await world.lettersTo(email)).toMatchObject([{ subject: 'Your password was changed' }, {}])
  })

  test('a code works once', async () => {
    const { email } = await world.activated()
    const code = await codeFor(email)
    const ends = await Promise.all([reset(email, code), reset(email, code)])
    expect(ends.map(({ kind }) => kind).sort()).toEqual(['ok', 'wrong'])
    expect(await reset(email, code)).toEqual({ kind: 'wrong' })
  })

  test('a code is tried five times, and is good for 15 minutes', async () => {
    const { email } = await world.activated()
    const first = await codeFor(email)
    for (let i = 0; i < 5; i++) expect(await reset(email, otherThan(first))).toEqual({ kind: 'wrong' })
    expect(await reset(email, first)).toEqual({ kind: 'wrong' })
    const second = await codeFor(email)
    await world.pool.query(`update password_resets set expires_at = expires_at - interval '15 minutes'`)
    expect(await reset(email, second)).toEqual({ kind: 'wrong' })
  })

  test('a weak password costs none of the five tries', async () => {
    const { email } = await world.activated()
    const code = await codeFor(email)
    for (let i = 0; i < 6; i++) {
      expect(await reset(email, code, { password: 'password1234' })).toMatchObject({ kind: 'weak' })
    }
    expect(await reset(email, code)).toEqual({ kind: 'ok' })
  })

  test('another request makes the code before it void', async () => {
    const { email } = await world.activated()
    const first = await codeFor(email)
    const second = await codeFor(email)
    if (first !== second) expect(await reset(email, first)).toEqual({ kind: 'wrong' })
    expect(await reset(email, second)).toEqual({ kind: 'ok' })
  })

  test('guesses over many codes lock the address out', async () => {
    const { email } = await world.activated()
    for (let i = 0; i < 2; i++) {
      const code = await codeFor(email)
      for (let k = 0; k < 5; k++) await reset(email, otherThan(code))
    }
    const code = await codeFor(email)
    expect(await reset(email, code)).toMatchObject({ kind: 'locked' })
  })

  test('an address gets three letters an hour, and the answer stays the same', async () => {
    const { email } = await world.activated()
    for (let i = 0; i < 5; i++) expect(await world.accounts.requestReset(email, from)).toEqual({ kind: 'ok' })
    expect(await world.lettersTo(email)).toHaveLength(3)
  })
})

describe('an address without an account', () => {
  test('gets the same answers and leaves the same traces, but no letter', async () => {
    const email = 'nobody@example.com'
    expect(await world.accounts.requestReset(email, from)).toEqual({ kind: 'ok' })
    expect(await world.lettersTo(email)).toEqual([])
    const { rows } = await world.pool.query<{ account_id: string | null }>(
      'select account_id from password_resets where account_id is null',
    )
    expect(rows).toHaveLength(1)
    for (let i = 0; i < 10; i++) expect(await reset(email, '000000')).toEqual({ kind: 'wrong' })
    expect(await reset(email, '000000')).toMatchObject({ kind: 'locked' })
  })

  test('one that is not activated yet is such an address', async () => {
    const { email } = await world.customer()
    expect(await world.accounts.requestReset(email, from)).toEqual({ kind: 'ok' })
    expect(await world.lettersTo(email)).toEqual([])
  })

  test('no address stands in the table of resets or of failures', async () => {
    const { email } = await world.activated()
    await codeFor(email)
    await world.signIn(email, '000000', { password: `${password}!` })
    for (const table of ['password_resets', 'failed_attempts']) {
      const { rows } = await world.pool.query<{ row: string }>(`select t::text as row from ${table} t`)
      expect(rows.length).toBeGreaterThan(0)
      expect(rows.map(({ row }) => row).join()).not.toContain('@')
    }
  })
})
