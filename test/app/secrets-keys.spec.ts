/** Which SECRETS_KEY a process writes with, and how all of them change over. */
import { createHmac } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { createSeal } from '../../src/accounts/seal.ts'
import { keysOfChange } from '../../src/app/secrets.ts'
import { chooseKeys, keepKeys, NeverUsed, refuseNeverUsed, rotateKeys } from '../../src/app/secrets-keys.ts'
import { loadConfig } from '../../src/config.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { connect } from '../../src/postgres/pool.ts'
import { freshDatabase } from '../support/postgres.ts'
import { liveness } from '../support/product.ts'

const [old, next] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
const customerId = '11111111-1111-4111-8111-111111111111'
let pool: ReturnType<typeof connect>
beforeAll(async () => {
  const url = await freshDatabase(inject('postgresUrl'))
  await migrate(url)
  pool = connect(url)
})
afterAll(() => pool.end())
beforeEach(() => pool.query('delete from installation; delete from secrets_in_use; delete from accounts'))

const lost = () => {
  throw new Error('no key was lost')
}

test('a database knows the SECRETS_KEY it was first used with and refuses every other', async () => {
  expect(await chooseKeys(pool, [old])).toEqual([old])
  expect(await chooseKeys(pool, [old])).toEqual([old])
  await expect(chooseKeys(pool, [next])).rejects.toThrow(/^SECRETS_KEY is not the one/)
  const { rows } = await pool.query('select * from installation')
  expect(JSON.stringify(rows)).not.toContain(old.toString('hex'))
})

test('with both keys a process writes with the one that the others have', async () => {
  await chooseKeys(pool, [old])
  expect(await chooseKeys(pool, [next, old])).toEqual([old, next])
})

test('nothing changes while a running process lacks the new key, or the keys are not those of the database', async () => {
  const before = await keepKeys(pool, [old], lost)
  await expect(rotateKeys(pool, { next, previous: old })).rejects.toThrow(/^1 running processes do not know/)
  await before.stop()
  await expect(rotateKeys(pool, { next, previous: Buffer.alloc(32, 3) })).rejects.toThrow(/^Neither/)
  expect(await chooseKeys(pool, [old])).toEqual([old])
})

test('running processes change over, secrets are sealed anew, and the key of before is asked for a day longer', async () => {
  const kept = await keepKeys(pool, [old, next], lost, 20)
  const { rows } = await pool.query<{ id: string }>(
    "insert into accounts (customer_id, email) values ($1, 'a@example.com') returning account_id as id",
    [customerId],
  )
  const owner = rows[0]?.id ?? ''
  const sealed = async () =>
    (await pool.query<{ sealed: string }>('select totp_secret as sealed from accounts')).rows[0]?.sealed ?? ''
  await pool.query('update accounts set totp_secret = $1', [createSeal(kept.keys).seal('SECRET', owner)])
  expect(createSeal([old]).unseal(await sealed(), owner)).toBe('SECRET')

  const rotated = await rotateKeys(pool, { next, previous: old }, 200)
  expect(rotated).toMatchObject({ changed: true, resealed: 1 })
  expect(createSeal([next]).unseal(await sealed(), owner)).toBe('SECRET')
  await expect.poll(() => kept.keys, { timeout: 20_000 }).toEqual([next, old])
  expect(await rotateKeys(pool, { next, previous: old }, 0)).toMatchObject({ changed: false, resealed: 0 })

  expect(await chooseKeys(pool, [old, next])).toEqual([next, old])
  await expect(chooseKeys(pool, [old])).rejects.toThrow(/was last changed to/)
  await expect(chooseKeys(pool, [next])).rejects.toThrow(/SECRETS_KEY_PREVIOUS must hold the one before it until/)
  await pool.query("update installation set rotated_at = rotated_at - interval '26 hours'")
  expect(await chooseKeys(pool, [next])).toEqual([next])
  await pool.query('update accounts set totp_secret = $1', [createSeal([old]).seal('SECRET', owner)])
  await expect(chooseKeys(pool, [next])).rejects.toThrow(/still sealed/)
  await kept.stop()
  expect((await pool.query('select from secrets_in_use')).rowCount).toBe(0)
})

test('a process without the new key stops as soon as everybody else writes with it', async () => {
  let because = ''
  const kept = await keepKeys(
    pool,
    [old],
    ({ message }) => {
      because = message
    },
    20,
  )
  const fingerprint = createHmac('sha256', next).update('fingerprint of SECRETS_KEY').digest('hex')
  await pool.query('update installation set secrets_key_fingerprint = $1', [fingerprint])
  await expect.poll(() => because, { timeout: 20_000 }).toMatch(/has not got the new one/)
  await kept.stop()
})

test('a database that nothing was started on has nothing to rotate, and gets nothing by being asked', async () => {
  await expect(refuseNeverUsed(pool)).rejects.toThrow(NeverUsed)
  await expect(rotateKeys(pool, { next, previous: old })).rejects.toThrow(/knows no SECRETS_KEY: nothing was started/)
  await chooseKeys(pool, [old])
  await refuseNeverUsed(pool)
  const empty = connect(await freshDatabase(inject('postgresUrl')))
  try {
    await expect(refuseNeverUsed(empty)).rejects.toThrow(/^the database holds nothing of ours/)
    const { rows } = await empty.query("select from pg_tables where schemaname = 'public'")
    expect(rows).toEqual([])
  } finally {
    await empty.end()
  }
})

describe('the keys of a change', () => {
  const folder = mkdtempSync(join(tmpdir(), 'liveness-keys-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const keysOf = (more: Record<string, string>) =>
    keysOfChange(loadConfig({ DATA_DIR: folder, ...more }, '/nowhere').config)
  const [a, b] = [old, next].map((key) => key.toString('base64')) as [string, string]

  test('are named where they are missing or the same, and none is made', async () => {
    await expect(keysOf({})).rejects.toThrow(
      'Set SECRETS_KEY, the new key, and SECRETS_KEY_PREVIOUS, the one before it, to rotate.',
    )
    await expect(keysOf({ SECRETS_KEY: b })).rejects.toThrow('Set SECRETS_KEY_PREVIOUS, the one before it, to rotate.')
    await expect(keysOf({ SECRETS_KEY_PREVIOUS: a })).rejects.toThrow('Set SECRETS_KEY, the new key, to rotate.')
    await expect(keysOf({ SECRETS_KEY: a, SECRETS_KEY_PREVIOUS: a })).rejects.toThrow('are the same key')
    expect(readdirSync(folder)).toEqual([])
    expect(await keysOf({ SECRETS_KEY: b, SECRETS_KEY_PREVIOUS: a })).toEqual({ next, previous: old })
  })

  test('`secrets rotate` says which folder it looked at, and makes nothing there', async () => {
    const dataDir = join(folder, 'never-used')
    const env = { DATA_DIR: dataDir, SECRETS_KEY: b, SECRETS_KEY_PREVIOUS: a }
    await expect(liveness(env, 'secrets', 'rotate')).rejects.toThrow(
      `There is nothing to rotate: DATA_DIR ${dataDir} holds no embedded servers' data`,
    )
    expect(existsSync(dataDir)).toBe(false)
  })
})
