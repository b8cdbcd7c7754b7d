/** Detections while 64 people sign in, against detections alone: argon2id must not take the cores they need. */
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { generateSync } from 'otplib'
import pg from 'pg'
import { createPasswords } from '../src/accounts/passwords.ts'
import { createSeal } from '../src/accounts/seal.ts'
import { makeTotpSecret } from '../src/accounts/totp.ts'
import { readRuntime } from '../src/data-dir.ts'
import { reachableFolder } from '../test/support/folder.ts'
import { check, createCustomer, shared, startProduct } from '../test/support/product.ts'
import { type Figure, quantile } from './stack.ts'

const SIGN_INS = 64
const DETECTIONS = 2
const ROUND_MS = 8_000
const ROUNDS = 3
/** Each has two codes in half a minute; the sign-ins of a round need no more. */
const ACCOUNTS = 512
const password = 'four unrelated tidy gloves'

interface Account {
  readonly email: string
  readonly secret: string
  /** The last time step whose code was sent. */
  step: number
}

/** The product itself, with its models. Rounds with and without take turns, for the machine's mood changes. */
export async function benchConsole(): Promise<Figure[]> {
  const photograph = `${shared}faces/live/t1.jpg`
  if (!existsSync(photograph)) return [{ name: 'console', value: 'SKIPPED: ../shared/faces is not there' }]
  const image = readFileSync(photograph)
  const folder = reachableFolder('liveness-bench-')
  const key = randomBytes(32)
  const env = {
    DATA_DIR: join(folder, 'data'),
    SECRETS_KEY: key.toString('base64'),
    RATE_LIMIT: '1000000',
    LOG_LEVEL: 'warn',
  }
  const product = await startProduct(env)
  try {
    const { keys } = await createCustomer(env, '--plan', 'enterprise')
    const accounts = await makeAccounts((await readRuntime(env.DATA_DIR))?.postgresUrl ?? '', key)
    const detect = async () => {
      const { status } = await check(product.url, keys.primary, image)
      if (status !== 200) throw new Error(`a detection was answered ${status}`)
    }
    let next = 0
    const signIn = async () => signInAs(product.url, accounts[next++ % accounts.length])
    const alone: number[] = []
    const beside: number[] = []
    const signIns: number[] = []
    await during(ROUND_MS / 4, [...loops(DETECTIONS, detect), ...loops(2, signIn)]) // warm-up
    for (let round = 0; round < ROUNDS; round++) {
      await during(ROUND_MS, loops(DETECTIONS, detect, alone))
      await during(ROUND_MS, [...loops(DETECTIONS, detect, beside), ...loops(SIGN_INS, signIn, signIns)])
    }
    const seconds = (ROUND_MS * ROUNDS) / 1_000
    const p99 = { alone: quantile(alone, 0.99), beside: quantile(beside, 0.99) }
    return [
      { name: `detections alone, ${DETECTIONS} at a time: p50, ms`, value: quantile(alone, 0.5).toFixed(0) },
      { name: 'detections alone: p99, ms', value: p99.alone.toFixed(0) },
      { name: `detections beside ${SIGN_INS} sign-ins: p50, ms`, value: quantile(beside, 0.5).toFixed(0) },
      { name: `detections beside ${SIGN_INS} sign-ins: p99, ms`, value: p99.beside.toFixed(0) },
      { name: 'p99 beside sign-ins against alone', value: (p99.beside / p99.alone).toFixed(2), goal: '≤ 3' },
      {
        name: 'detections a second, alone and beside',
        value: [alone, beside].map((all) => (all.length / seconds).toFixed(1)).join(', '),
      },
      { name: 'sign-ins a second beside detections', value: (signIns.length / seconds).toFixed(1) },
      { name: 'sign-ins beside detections: p50, ms', value: quantile(signIns, 0.5).toFixed(0) },
      { name: 'sign-ins beside detections: p99, ms', value: quantile(signIns, 0.99).toFixed(0) },
    ]
  } finally {
    await product.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
}

type Loop = (until: () => boolean) => Promise<void>

/** So many at a time, each doing its work again and again; milliseconds of each go into `times`. */
const loops = (count: number, work: () => Promise<void>, times: number[] = []): Loop[] =>
  Array.from({ length: count }, () => async (until) => {
    while (!until()) {
      const startedAt = performance.now()
      await work()
      times.push(performance.now() - startedAt)
    }
  })

async function during(ms: number, running: readonly Loop[]): Promise<void> {
  let over = false
  const all = Promise.all(running.map((loop) => loop(() => over)))
  await Promise.race([pause(ms), all])
  over = true
  await all
}

/** Activated accounts, all with one password: its hash is made once. */
async function makeAccounts(url: string, secretsKey: Buffer): Promise<Account[]> {
  const passwords = createPasswords()
  const hash = await passwords.hash(password)
  await passwords.close()
  const seal = createSeal([secretsKey])
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const accounts: Account[] = []
    for (let i = 0; i < ACCOUNTS; i++) {
      const account = { email: `${i}@example.com`, secret: makeTotpSecret(), step: 0 }
      const id = randomUUID()
      await client.query(
        `insert into accounts (customer_id, email, account_id, password_hash, totp_secret, activated_at, first_keys_at)
         values ($1, $2, $3, $4, $5, now(), now())`,
        [randomUUID(), account.email, id, hash, seal.seal(account.secret, id)],
      )
      accounts.push(account)
    }
    return accounts
  } finally {
    await client.end()
  }
}

/** What a browser sends: the page with the token of its form, then the form. */
async function signInAs(url: string, account: Account | undefined): Promise<void> {
  if (account === undefined) throw new Error('there are no accounts')
  const page = await fetch(`${url}/console/sign-in`)
  const cookie = page.headers.getSetCookie().map((line) => line.split(';')[0])
  const csrf = /name="_csrf" value="([^"]*)"/.exec(await page.text())?.[1] ?? ''
  account.step = Math.max(account.step + 1, Math.floor(Date.now() / 30_000))
  const code = generateSync({ secret: account.secret, epoch: account.step * 30 })
  const answer = await fetch(`${url}/console/sign-in`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: cookie.join('; '), 'content-type': 'application/x-www-form-urlencoded', accept: 'text/html' },
    body: new URLSearchParams({ _csrf: csrf, email: account.email, password, code }).toString(),
  })
  await answer.arrayBuffer()
  if (answer.status !== 303) throw new Error(`a sign-in was answered ${answer.status}`)
}
