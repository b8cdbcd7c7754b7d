/** Accounts over a Postgres of the test's own. Letters are kept in memory; the authenticator's clock can be moved. */
import { randomBytes, randomUUID } from 'node:crypto'
import { generateSync } from 'otplib'
import { afterAll, beforeAll, expect, inject } from 'vitest'
import { createAccounts } from '../../src/accounts/accounts.ts'
import { makeActivationLink } from '../../src/accounts/links.ts'
import { createPasswords, type Passwords } from '../../src/accounts/passwords.ts'
import type { Credentials } from '../../src/accounts/sign-in.ts'
import type { Session } from '../../src/accounts/types.ts'
import type { Letter } from '../../src/mail/mail.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { connect, transaction } from '../../src/postgres/pool.ts'
import { freshDatabase } from '../support/postgres.ts'

export const password = 'four unrelated tidy gloves'
export const publicUrl = 'http://localhost:8080'

/** A database, a password process and accounts for one spec file. */
export function accountsWorld() {
  const secretsKeys = [randomBytes(32)]
  const letters: Letter[] = []
  const logged: unknown[] = []
  const began = Date.now()
  let clients = 0
  let parts: { pool: ReturnType<typeof connect>; passwords: Passwords; accounts: ReturnType<typeof createAccounts> }
  const world = {
    secretsKeys,
    letters,
    /** What the program's log was told. */
    logged,
    /** Half minutes that the authenticators and the server are ahead: the next code without a wait. */
    ahead: 0,
    now: () => began + world.ahead * 30_000,
    get pool() {
      return parts.pool
    },
    get accounts() {
      return parts.accounts
    },
    /** Another instance of the program on the same database. */
    instance: () => newAccounts(parts.pool, parts.passwords),
    /** The next code of an authenticator: the one before is used up. */
    nextCode(secret: string): string {
      world.ahead += 1
      return world.code(secret)
    },
    code: (secret: string) => generateSync({ secret, epoch: Math.floor(world.now() / 1_000) }),
    /** A code of no half minute about now: a fixed one would be right once in a million times. */
    wrongCode(secret: string): string {
      const now = Math.floor(world.now() / 1_000)
      const right = [-2, -1, 0, 1, 2, 3].map((ahead) => generateSync({ secret, epoch: now + ahead * 30 }))
      return ['000000', '111111', '222222', '333333', '444444', '555555', '666666'].find(
        (code) => !right.includes(code),
      ) as string
    },
    /** Waits for letters that are under way; returns those to an address, the newest first. */
    async lettersTo(email: string): Promise<Letter[]> {
      await parts.accounts.drained()
      return letters.filter(({ to }) => to === email).reverse()
    },
    /** A customer's row, as `customer create --email` writes it. */
    async customer(email = `${randomUUID()}@example.com`) {
      const customerId = randomUUID()
      await parts.pool.query('insert into accounts (customer_id, email) values ($1, $2)', [customerId, email])
      return { customerId, email }
    },
    async activationToken(customerId: string): Promise<string> {
      const made = await transaction(parts.pool, (client) => makeActivationLink(client, publicUrl, customerId))
      return tokenIn(made.url)
    },
    /** An activated account, its authenticator's secret and recovery codes, and its first session. */
    async activated() {
      const { customerId, email } = await world.customer()
      const opened = await parts.accounts.openLink(await world.activationToken(customerId), password)
      if (opened.kind !== 'ok') throw new Error(`the link was not opened: ${opened.kind}`)
      const pending = await parts.accounts.pendingAuthenticator(opened.session)
      const secret = pending?.secret ?? ''
      const enrolled = await parts.accounts.confirmAuthenticator(opened.session, world.nextCode(secret))
      if (enrolled.kind !== 'ok') throw new Error(`not enrolled: ${enrolled.kind}`)
      const { accountId } = enrolled.session
      return { customerId, email, accountId, secret, ...enrolled }
    },
    /** From another network address each time, so that only the tests of those are held up by them. */
    signIn(email: string, code: string, more: Partial<Credentials> = {}) {
      clients += 1
      const from = `10.0.${clients >> 8}.${clients & 255}`
      return parts.accounts.signIn({ email, password, code, from, before: null, ...more })
    },
    /** Lets Postgres's time pass for one subject of the counters. */
    async waitOver(): Promise<void> {
      await parts.pool.query(`update failed_attempts set blocked_until = clock_timestamp() - interval '1 second'
                               where blocked_until is not null`)
    },
    sessionIsGood: async (session: Session) => {
      const { rowCount } = await parts.pool.query('select from console_sessions where session_id = $1', [
        session.sessionId,
      ])
      return rowCount === 1
    },
  }

  function newAccounts(pool: ReturnType<typeof connect>, passwords: Passwords) {
    return createAccounts({
      pool,
      passwords,
      mail: { send: async (letter) => void letters.push(letter) },
      secretsKeys,
      publicUrl,
      log: { warn: (facts) => void logged.push(facts) },
      now: () => world.now(),
    })
  }

  beforeAll(async () => {
    const url = await freshDatabase(inject('postgresUrl'))
    await migrate(url)
    const pool = connect(url)
    const passwords = createPasswords()
    parts = { pool, passwords, accounts: newAccounts(pool, passwords) }
  })
  afterAll(async () => {
    await parts.accounts.drained()
    await parts.passwords.close()
    await parts.pool.end()
    expect(logged).toEqual([])
  })
  return world
}

export type AccountsWorld = ReturnType<typeof accountsWorld>

/** The token in the last part of an address, wherever in a text it stands. */
export function tokenIn(text: string): string {
  return /\/console\/(?:activate|email)\/([\w-]{43})/.exec(text)?.[1] ?? ''
}
