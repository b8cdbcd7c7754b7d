import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { resetAuthenticator, unlock } from '../../src/accounts/links.ts'
import { issueFirstKeys } from '../../src/accounts/own.ts'
import { connect, transaction } from '../../src/postgres/pool.ts'
import { accountsWorld, password, publicUrl, tokenIn } from './world.ts'

const world = accountsWorld()

describe('activation', () => {
  test('leads from the link over a password and an authenticator to a session and ten recovery codes', async () => {
    const { accounts } = world
    const { customerId, email } = await world.customer()
    const token = await world.activationToken(customerId)
    expect(await accounts.findLink(token)).toMatchObject({ purpose: 'activation', email })
    expect(await accounts.openLink(token, 'password1234')).toMatchObject({ kind: 'weak' })
    const opened = await accounts.openLink(token, password)
    if (opened.kind !== 'ok') throw new Error(opened.kind)
    expect(opened.session).toMatchObject({ stage: 'enrolling', customerId, email })
    const { secret = '' } = (await accounts.pendingAuthenticator(opened.session)) ?? {}
    expect(await accounts.confirmAuthenticator(opened.session, world.wrongCode(secret))).toEqual({ kind: 'wrong' })
    const enrolled = await accounts.confirmAuthenticator(opened.session, world.nextCode(secret))
    expect(enrolled).toMatchObject({ kind: 'ok', first: true, session: { stage: 'full', email } })
    if (enrolled.kind !== 'ok') throw new Error(enrolled.kind)
    expect(enrolled.recoveryCodes).toHaveLength(10)
    expect(await accounts.findSession(enrolled.token)).toEqual(enrolled.session)
    expect(await accounts.findSession(opened.token)).toBeNull()
    expect(await accounts.account(enrolled.session.accountId)).toMatchObject({ recoveryCodes: 10, hasFirstKeys: false })
  })

  test('may be begun again with the same link until it is complete, then the link is used up', async () => {
    const { accounts } = world
    const { customerId } = await world.customer()
    const token = await world.activationToken(customerId)
    const first = await accounts.openLink(token, password)
    const second = await accounts.openLink(token, password)
    if (first.kind !== 'ok' || second.kind !== 'ok') throw new Error('not opened')
    expect(await accounts.findSession(first.token)).toBeNull()
    const { secret = '' } = (await accounts.pendingAuthenticator(second.session)) ?? {}
    const enrolled = await accounts.confirmAuthenticator(second.session, world.nextCode(secret))
    expect(enrolled.kind).toBe('ok')
    expect(await accounts.openLink(token, password)).toEqual({ kind: 'gone' })
    await expect(world.activationToken(customerId)).rejects.toThrow(/activated already/)
  })

  test('a link ends with its seven days, and with the next one that is sent', async () => {
    const { accounts, pool } = world
    const { customerId } = await world.customer()
    const first = await world.activationToken(customerId)
    const opened = await accounts.openLink(first, password)
    const second = await world.activationToken(customerId)
    expect(await accounts.openLink(first, password)).toEqual({ kind: 'gone' })
    expect(opened.kind === 'ok' && (await accounts.findSession(opened.token))).toBeNull()
    await pool.query(`update account_links set expires_at = expires_at - interval '7 days'`)
    expect(await accounts.openLink(second, password)).toEqual({ kind: 'gone' })
  })

  test('the first keys are issued once, and again only if that failed', async () => {
    const { accounts } = world
    const { accountId } = await world.activated()
    await expect(
      accounts.issueFirstKeys(accountId, async () => {
        throw new Error('the ledger is away')
      }),
    ).rejects.toThrow('the ledger is away')
    // Postgres ends other transactions that are silent for so long.
    const impatient = connect(`${world.pool.options.connectionString}?idle_in_transaction_session_timeout=2000`)
    const issue = () => delay(2_500, 'keys')
    const both = await Promise.all([1, 2].map(() => issueFirstKeys({ pool: impatient }, accountId, issue)))
    expect(both.sort()).toEqual(['keys', null])
    await impatient.end()
    expect(await accounts.account(accountId)).toMatchObject({ hasFirstKeys: true })
  })
})

describe('sign-in', () => {
  test('takes address, password and code together, whatever the case of the address', async () => {
    const { email, secret } = await world.activated()
    const outcome = await world.signIn(email.toUpperCase(), world.nextCode(secret))
    expect(outcome).toMatchObject({ kind: 'ok', session: { email, stage: 'full' } })
  })

  test('says the same of a wrong password, a wrong code and an unknown address', async () => {
    const { email, secret } = await world.activated()
    expect(await world.signIn(email, world.nextCode(secret), { password: 'five unrelated tidy gloves' })).toEqual({
      kind: 'wrong',
    })
    expect(await world.signIn(email, world.wrongCode(secret))).toEqual({ kind: 'wrong' })
    expect(await world.signIn('nobody@example.com', '000000')).toEqual({ kind: 'wrong' })
  })

  test('takes a code once, also when two instances get it at the same moment', async () => {
    const { email, secret } = await world.activated()
    const code = world.nextCode(secret)
    const other = world.instance()
    const ends = await Promise.all([
      world.signIn(email, code),
      other.signIn({ email, password, code, from: '192.0.2.2', before: null }),
    ])
    expect(ends.map(({ kind }) => kind).sort()).toEqual(['ok', 'wrong'])
    expect(await world.signIn(email, code)).toEqual({ kind: 'wrong' })
  })

  test('takes no code that is older than the last one, nor the one of the enrolment', async () => {
    const { email, secret } = await world.activated()
    const enrolment = world.code(secret)
    expect(await world.signIn(email, enrolment)).toEqual({ kind: 'wrong' })
    const older = world.nextCode(secret)
    const newer = world.nextCode(secret)
    expect((await world.signIn(email, newer)).kind).toBe('ok')
    expect(await world.signIn(email, older)).toEqual({ kind: 'wrong' })
  })

  test('a wrong password uses up no code', async () => {
    const { email, secret } = await world.activated()
    const code = world.nextCode(secret)
    await world.signIn(email, code, { password: 'five unrelated tidy gloves' })
    expect((await world.signIn(email, code)).kind).toBe('ok')
  })

  test('takes a recovery code in place of a code, once', async () => {
    const { email, accountId, recoveryCodes } = await world.activated()
    const [code = ''] = recoveryCodes
    expect((await world.signIn(email, code)).kind).toBe('ok')
    expect(await world.signIn(email, code)).toEqual({ kind: 'wrong' })
    expect(await world.accounts.account(accountId)).toMatchObject({ recoveryCodes: 9 })
  })

  test('gives a new token, and ends the session that the browser had', async () => {
    const { email, secret, token } = await world.activated()
    const outcome = await world.signIn(email, world.nextCode(secret), { before: token })
    expect(outcome.kind === 'ok' && outcome.token).not.toBe(token)
    expect(await world.accounts.findSession(token)).toBeNull()
  })
})

describe('sessions', () => {
  test('end after 30 idle minutes, and after 12 hours however busy', async () => {
    const { token, session } = await world.activated()
    const { accounts, pool } = world
    const age = (column: string, minutes: number) =>
      pool.query(`update console_sessions set ${column} = ${column} - $2 * interval '1 minute' where session_id = $1`, [
        session.sessionId,
        minutes,
      ])
    await age('seen_at', 29)
    expect(await accounts.findSession(token)).not.toBeNull()
    await age('seen_at', 29) // the find before it counted as a use
    expect(await accounts.findSession(token)).not.toBeNull()
    await age('expires_at', 12 * 60 - 1)
    expect(await accounts.findSession(token)).not.toBeNull()
    await age('expires_at', 1)
    expect(await accounts.findSession(token)).toBeNull()
  })

  test('end with 31 idle minutes, and their rows go with the next sign-in', async () => {
    const { token, session, email, secret } = await world.activated()
    await world.pool.query(
      `update console_sessions set seen_at = seen_at - interval '31 minutes' where session_id = $1`,
      [session.sessionId],
    )
    expect(await world.accounts.findSession(token)).toBeNull()
    await world.signIn(email, world.nextCode(secret))
    expect(await world.sessionIsGood(session)).toBe(false)
  })

  test('end everywhere at once, in every instance', async () => {
    const { accountId, token, email, secret } = await world.activated()
    const second = await world.signIn(email, world.nextCode(secret))
    await world.instance().endAllSessions(accountId)
    expect(await world.accounts.findSession(token)).toBeNull()
    expect(second.kind === 'ok' && (await world.accounts.findSession(second.token))).toBeNull()
  })

  test('neither tokens, nor passwords, nor codes, nor secrets stand in the database in clear', async () => {
    const { token, secret, recoveryCodes } = await world.activated()
    const tables = ['accounts', 'account_links', 'recovery_codes', 'console_sessions', 'password_resets']
    for (const table of tables) {
      const { rows } = await world.pool.query<{ row: string }>(`select t::text as row from ${table} t`)
      const all = rows.map(({ row }) => row).join('\n')
      for (const clear of [token, secret, password, ...recoveryCodes]) {
        expect(all).not.toContain(clear)
        expect(all).not.toContain(Buffer.from(clear).toString('hex'))
      }
    }
  })
})

describe('lock-out', () => {
  test('begins with the tenth failure, holds in every instance and for the right credentials, and waits double', async () => {
    const { email, secret } = await world.activated()
    const wrong = world.wrongCode(secret)
    for (let i = 0; i < 10; i++) expect(await world.signIn(email, wrong)).toEqual({ kind: 'wrong' })
    const right = world.nextCode(secret)
    const locked = await world.instance().signIn({ email, password, code: right, from: '192.0.2.9', before: null })
    expect(locked).toMatchObject({ kind: 'locked' })
    expect(locked.kind === 'locked' && locked.retryAfterSeconds).toBeGreaterThan(50)
    const waits = []
    for (let i = 0; i < 9; i++) {
      await world.waitOver()
      await world.signIn(email, wrong)
      const again = await world.signIn(email, wrong)
      waits.push(again.kind === 'locked' ? Math.round(again.retryAfterSeconds / 60) : 0)
    }
    expect(waits).toEqual([2, 4, 8, 16, 32, 64, 128, 240, 240])
    await world.waitOver()
    expect((await world.signIn(email, right)).kind).toBe('ok')
    expect(await world.signIn(email, wrong)).toEqual({ kind: 'wrong' })
  })

  test('lets no more than ten of many attempts at once through', async () => {
    const { email, secret } = await world.activated()
    const wrong = world.wrongCode(secret)
    const ends = await Promise.all(Array.from({ length: 30 }, () => world.signIn(email, wrong)))
    expect(ends.filter(({ kind }) => kind === 'wrong')).toHaveLength(10)
  })

  test('is the same for an address without an account', async () => {
    const email = 'nobody.at.all@example.com'
    for (let i = 0; i < 10; i++) expect(await world.signIn(email, '000000')).toEqual({ kind: 'wrong' })
    expect(await world.signIn(email, '000000')).toMatchObject({ kind: 'locked' })
  })

  test('is lifted by the operator', async () => {
    const { email, customerId, secret } = await world.activated()
    for (let i = 0; i < 10; i++) await world.signIn(email, world.wrongCode(secret))
    await unlock(world.pool, customerId)
    expect((await world.signIn(email, world.nextCode(secret))).kind).toBe('ok')
  })

  test('a network address with a hundred failures waits, whichever accounts they were made on', async () => {
    const from = '2001:db8::1'
    const tooLong = 'x'.repeat(200) // refused without a hash, so that this test is quick
    for (let i = 0; i < 100; i++) await world.signIn(`nobody-${i}@example.com`, '000000', { from, password: tooLong })
    const { email, secret } = await world.activated()
    expect(await world.signIn(email, world.nextCode(secret), { from: '2001:db8::2' })).toMatchObject({ kind: 'locked' })
    expect((await world.signIn(email, world.nextCode(secret), { from: '192.0.2.1' })).kind).not.toBe('locked')
  })

  test('codes asked of somebody who is signed in have a lock-out of their own', async () => {
    const { accountId, secret } = await world.activated()
    const code = world.nextCode(secret)
    expect(await world.accounts.verifyTotp(accountId, code)).toBe('ok')
    expect(await world.accounts.verifyTotp(accountId, code)).toBe('wrong')
    for (let i = 0; i < 9; i++) await world.accounts.verifyTotp(accountId, world.wrongCode(secret))
    expect(await world.accounts.verifyTotp(accountId, world.nextCode(secret))).toBe('locked')
  })
})

describe('a lost authenticator', () => {
  test('is taken away by the operator; the new one needs the link and the password', async () => {
    const { accounts, pool } = world
    const { customerId, email, secret, token: session, recoveryCodes } = await world.activated()
    const made = await transaction(pool, (client) => resetAuthenticator(client, publicUrl, customerId))
    expect(made.email).toBe(email)
    expect(await accounts.findSession(session)).toBeNull()
    expect(await world.signIn(email, world.nextCode(secret))).toEqual({ kind: 'wrong' })
    expect(await world.signIn(email, recoveryCodes[0] ?? '')).toEqual({ kind: 'wrong' })

    const token = tokenIn(made.letter.text)
    expect(await accounts.openLink(token, 'five unrelated tidy gloves')).toEqual({ kind: 'wrong', what: 'password' })
    const opened = await accounts.openLink(token, password)
    if (opened.kind !== 'ok') throw new Error(opened.kind)
    const { secret: next = '' } = (await accounts.pendingAuthenticator(opened.session)) ?? {}
    const enrolled = await accounts.confirmAuthenticator(opened.session, world.nextCode(next))
    expect(enrolled).toMatchObject({ kind: 'ok', first: false })
    expect((await world.signIn(email, world.nextCode(next))).kind).toBe('ok')
    expect(await world.lettersTo(email)).toMatchObject([{ subject: 'Your authenticator was changed' }])
  })
})
