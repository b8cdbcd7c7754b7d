import { describe, expect, test } from 'vitest'
import { accountsWorld, password, tokenIn } from './world.ts'

const world = accountsWorld()
const next = 'seven purple lamps in rain'
let counter = 0
const freshEmail = () => `new-${++counter}@example.com`

describe('the password', () => {
  test('is changed by whoever knows the present one; all other sessions end, this one goes on under a new token', async () => {
    const { accounts } = world
    const { email, secret, token, session } = await world.activated()
    expect(await accounts.changePassword(session, next, next)).toEqual({ kind: 'wrong', what: 'password' })
    expect(await accounts.changePassword(session, password, 'short')).toMatchObject({ kind: 'weak' })
    const changed = await accounts.changePassword(session, password, next)
    expect(changed.kind).toBe('ok')
    expect(await accounts.findSession(token)).toBeNull()
    expect(changed.kind === 'ok' && (await accounts.findSession(changed.token))).toMatchObject({ email, stage: 'full' })
    expect((await world.signIn(email, world.nextCode(secret), { password: next })).kind).toBe('ok')
    expect(await world.lettersTo(email)).toMatchObject([{ subject: 'Your password was changed' }])
  })
})

describe('the authenticator', () => {
  test('is changed with password and code; the old one works until the new one is confirmed', async () => {
    const { accounts } = world
    const { email, secret, session, accountId } = await world.activated()
    const begin = (proof: { password: string; code: string }) => accounts.beginAuthenticatorChange(session, proof)
    expect(await accounts.pendingAuthenticator(session)).toBeNull()
    expect(await begin({ password: next, code: world.nextCode(secret) })).toEqual({ kind: 'wrong', what: 'password' })
    expect(await begin({ password, code: world.wrongCode(secret) })).toEqual({ kind: 'wrong', what: 'code' })
    expect(await begin({ password, code: world.nextCode(secret) })).toEqual({ kind: 'ok' })
    const { secret: fresh = '' } = (await accounts.pendingAuthenticator(session)) ?? {}
    expect(fresh).not.toBe(secret)
    expect(await accounts.verifyTotp(accountId, world.nextCode(secret))).toBe('ok')
    const enrolled = await accounts.confirmAuthenticator(session, world.nextCode(fresh))
    expect(enrolled).toMatchObject({ kind: 'ok', first: false })
    expect(await accounts.verifyTotp(accountId, world.nextCode(secret))).toBe('wrong')
    expect(await accounts.verifyTotp(accountId, world.nextCode(fresh))).toBe('ok')
    expect(await world.lettersTo(email)).toHaveLength(1)
  })

  test('may be changed with a recovery code by whoever lost it', async () => {
    const { session, recoveryCodes } = await world.activated()
    const proof = { password, code: recoveryCodes[3] ?? '' }
    expect(await world.accounts.beginAuthenticatorChange(session, proof)).toEqual({ kind: 'ok' })
  })
})

test('new recovery codes make the old ones void', async () => {
  const { accounts } = world
  const { email, session, secret, recoveryCodes } = await world.activated()
  const renewed = await accounts.replaceRecoveryCodes(session, world.nextCode(secret))
  if (renewed.kind !== 'ok') throw new Error(renewed.kind)
  expect(await world.signIn(email, recoveryCodes[0] ?? '')).toEqual({ kind: 'wrong' })
  expect((await world.signIn(email, renewed.recoveryCodes[0] ?? '')).kind).toBe('ok')
})

test('mail about usage is on until it is switched off', async () => {
  const { accounts } = world
  const { accountId } = await world.activated()
  expect(await accounts.account(accountId)).toMatchObject({ alertsEnabled: true })
  await accounts.setAlerts(accountId, false)
  expect(await accounts.account(accountId)).toMatchObject({ alertsEnabled: false })
})

describe('the e-mail address', () => {
  async function begun() {
    const owner = await world.activated()
    const email = freshEmail()
    const code = world.nextCode(owner.secret)
    expect(await world.accounts.beginEmailChange(owner.accountId, email, { password, code })).toEqual({ kind: 'ok' })
    const [toOld] = await world.lettersTo(owner.email)
    const [toNew] = await world.lettersTo(email)
    return { owner, email, old: tokenIn(toOld?.text ?? ''), fresh: tokenIn(toNew?.text ?? '') }
  }

  test.each(['old', 'fresh'] as const)('is changed once both have confirmed it, the %s one first', async (first) => {
    const { accounts } = world
    const { owner, email, ...tokens } = await begun()
    const second = first === 'old' ? 'fresh' : 'old'
    expect(await accounts.findEmailChange(tokens[first])).toBe(email)
    expect(await accounts.confirmEmailChange(tokens[first])).toEqual({ kind: 'waiting' })
    expect(await accounts.confirmEmailChange(tokens[first])).toEqual({ kind: 'waiting' })
    expect(await accounts.account(owner.accountId)).toMatchObject({ email: owner.email, pendingEmail: email })
    expect(await accounts.confirmEmailChange(tokens[second])).toEqual({ kind: 'changed' })
    expect(await accounts.account(owner.accountId)).toMatchObject({ email, pendingEmail: null })
    expect(await accounts.findSession(owner.token)).toBeNull()
    expect(await accounts.confirmEmailChange(tokens[second])).toEqual({ kind: 'gone' })
    expect((await world.signIn(email, world.nextCode(owner.secret))).kind).toBe('ok')
    expect(await world.lettersTo(owner.email)).toMatchObject([{ subject: 'Your e-mail address was changed' }, {}])
  })

  test('keeps its links for 24 hours, and the newest change counts', async () => {
    const { accounts, pool } = world
    const { owner, old } = await begun()
    await pool.query(`update email_changes set expires_at = expires_at - interval '24 hours'`)
    expect(await accounts.confirmEmailChange(old)).toEqual({ kind: 'gone' })
    const code = world.nextCode(owner.secret)
    await accounts.beginEmailChange(owner.accountId, freshEmail(), { password, code })
    expect(await accounts.findEmailChange(old)).toBeNull()
  })

  test('of somebody else is not taken, and who asks for it does not learn that it exists', async () => {
    const { accounts } = world
    const other = await world.activated()
    const { accountId, secret, email } = await world.activated()
    const proof = { password, code: world.nextCode(secret) }
    expect(await accounts.beginEmailChange(accountId, other.email.toUpperCase(), proof)).toEqual({ kind: 'ok' })
    const [told] = await world.lettersTo(other.email.toUpperCase())
    expect(tokenIn(told?.text ?? '')).toBe('')
    expect(told?.subject).toBe('This e-mail address has an account already')
    expect(await world.lettersTo(email)).toHaveLength(1)
  })

  test('that was taken between the request and the last confirmation changes nothing', async () => {
    const { accounts } = world
    const { owner, email, old, fresh } = await begun()
    await world.customer(email)
    await accounts.confirmEmailChange(old)
    expect(await accounts.confirmEmailChange(fresh)).toEqual({ kind: 'taken' })
    expect(await accounts.account(owner.accountId)).toMatchObject({ email: owner.email })
    expect(await accounts.findSession(owner.token)).not.toBeNull()
  })
})
