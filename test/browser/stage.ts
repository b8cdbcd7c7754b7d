/**
 * The product as it is shipped, on a data directory of the spec file's own, and what stands behind the browser: the
 * operator's commands and Postgres. People whose way in is not what a test is about are made by the same functions,
 * without the pages.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { generateSync } from 'otplib'
import { afterAll, beforeAll, vi } from 'vitest'
import { createAccounts } from '../../src/accounts/accounts.ts'
import { makeActivationLink } from '../../src/accounts/links.ts'
import { createPasswords } from '../../src/accounts/passwords.ts'
import { openSystem, type System } from '../../src/app/system.ts'
import { type CreateOptions, createCustomer } from '../../src/cli/create-customer.ts'
import { operate } from '../../src/cli/operate.ts'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { makeApiKey } from '../../src/commands/keys.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { readRuntime } from '../../src/data-dir.ts'
import { createLogger } from '../../src/http/logging.ts'
import { transaction } from '../../src/postgres/pool.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { reachableFolder } from '../support/folder.ts'
import { detection } from '../support/given.ts'
import { liveness, type Running, startProduct } from '../support/product.ts'

export const password = 'four unrelated tidy gloves'

/** Somebody with a working account and both keys. */
export interface Person {
  readonly customerId: string
  readonly accountId: string
  readonly email: string
  /** Of the authenticator, Base32. */
  readonly secret: string
  readonly recoveryCodes: readonly string[]
  readonly keys: { readonly primary: string; readonly secondary: string }
}

export interface Past {
  /** When the customer registered, ISO 8601 UTC. */
  readonly since: string
  /** Calls of each following day. */
  readonly calls: readonly number[]
}

export function useStage(there: boolean) {
  // Two cores carry the product, its databases, Chromium and another spec file: minutes are no failure.
  vi.setConfig({ testTimeout: 120_000 })
  const folder = reachableFolder('liveness-browser-')
  const secretsKey = randomBytes(32)
  const env = {
    DATA_DIR: join(folder, 'data'),
    RATE_LIMIT: '10000',
    SECRETS_KEY: secretsKey.toString('base64'),
    MODEL_SET: 'own', // the verdict means nothing here, and it is the faster one
  }
  const log = createLogger('warn', process.stderr)
  const passwords = createPasswords()
  const usedSteps = new Map<string, number>()
  let product: Running
  let system: System
  let url = ''
  let accounts: ReturnType<typeof createAccounts>

  beforeAll(async () => {
    if (!there) return
    product = await startProduct(env)
    url = product.url.replace('127.0.0.1', 'localhost') // as in links, for cookies belong to a host
    // It answers a moment before it says where its parts listen.
    const { databaseUrl, eventStoreUrl } = await vi.waitFor(async () => {
      const { postgresUrl, eventStoreUrl } = (await readRuntime(env.DATA_DIR)) ?? {}
      if (postgresUrl === undefined || eventStoreUrl === undefined) throw new Error('the addresses are not there')
      return { databaseUrl: postgresUrl, eventStoreUrl }
    }, 20_000)
    system = await openSystem({ databaseUrl, eventStoreUrl, log })
    accounts = createAccounts({
      pool: system.pool,
      passwords,
      mail: { send: async () => {} },
      secretsKeys: [secretsKey],
      publicUrl: url,
      log,
      // The code that confirms an authenticator is one of an earlier time: today's are left for the tests.
      now: () => Date.now() - 600_000,
    })
  }, 120_000)
  afterAll(async () => {
    await accounts?.drained()
    await system?.close()
    await passwords.close()
    await product?.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  /** Everything the operator's `customer create --email` does but the letter, then the customer's way in. */
  async function person(options: Partial<CreateOptions> = {}, on: System = system): Promise<Person> {
    const email = `${randomUUID().slice(0, 8)}@example.com`
    const { customer_id: customerId } = await createCustomer(on, {
      plan: 'standard',
      hardCap: false,
      email,
      ...options,
    })
    const link = await transaction(system.pool, (client) => makeActivationLink(client, url, customerId))
    const opened = await accounts.openLink(link.url.slice(-43), password)
    if (opened.kind !== 'ok') throw new Error(`the link was not opened: ${opened.kind}`)
    const { secret = '' } = (await accounts.pendingAuthenticator(opened.session)) ?? {}
    const epoch = Math.floor(Date.now() / 1_000) - 600
    const enrolled = await accounts.confirmAuthenticator(opened.session, generateSync({ secret, epoch }))
    if (enrolled.kind !== 'ok') throw new Error(`the authenticator was not confirmed: ${enrolled.kind}`)
    const { accountId } = enrolled.session
    const keys = { primary: makeApiKey(), secondary: makeApiKey() }
    await accounts.issueFirstKeys(accountId, async () => {
      for (const slot of ['primary', 'secondary'] as const) {
        await operate(on, customerId, { type: 'RegenerateApiKey', slot, key: keys[slot].key })
      }
    })
    await accounts.endAllSessions(accountId)
    const secrets = { primary: keys.primary.secret, secondary: keys.secondary.secret }
    return { customerId, accountId, email, secret, recoveryCodes: enrolled.recoveryCodes, keys: secrets }
  }

  return {
    env,
    person,
    get url() {
      return url
    },
    get pool() {
      return system.pool
    },
    operator: (...args: string[]) => liveness(env, ...args),
    command: (customerId: string, command: CustomerCommand) => operate(system, customerId, command),
    /** A person whose log goes back in time. The product meets them only afterwards. */
    async personWithPast({ since, calls }: Past, options: Partial<CreateOptions> = {}): Promise<Person> {
      let now = Date.parse(since)
      const clock = { now: () => new Date(now).toISOString(), monthHasBegun: async () => {} }
      const patience = { sendMs: 5_000, attemptMs: 20_000 }
      const ledgers = createLedgers({
        store: system.store,
        loadSnapshot: async () => null,
        doubts: memoryDoubts(),
        clock,
        patience,
      })
      const made = await person(options, { ...system, ledgers })
      const { state } = await ledgersAnswer({ type: 'Observe' })
      const { keyId = '' } = state.keys.primary ?? {}
      for (const ofDay of calls) {
        await Promise.all(Array.from({ length: ofDay }, () => ledgersAnswer(detection({ keyId }))))
        now += 24 * 3_600_000
      }
      const { revision } = await ledgersAnswer({ type: 'Observe' })
      await system.freshness.waitFor(made.customerId, revision, 20_000)
      return made

      async function ledgersAnswer(command: CustomerCommand) {
        const origin = { correlationId: 'past', causationId: 'past', actor: `key:${made.customerId}` }
        const executed = await ledgers.execute(made.customerId, { command, origin })
        if (executed.kind === 'refused') throw new Error(executed.message)
        return executed
      }
    },
    /** A code of now that was not used yet; from the third within half a minute on it waits for the clock. */
    async nextCode({ secret }: Pick<Person, 'secret'>): Promise<string> {
      const stepNow = () => Math.floor(Date.now() / 30_000)
      const step = Math.max((usedSteps.get(secret) ?? 0) + 1, stepNow())
      usedSteps.set(secret, step)
      while (step > stepNow() + 1) await new Promise((resolve) => setTimeout(resolve, 100))
      return codeOfStep(secret, step)
    },
    /** A code that is no longer good: of so many half minutes ago. */
    oldCode: ({ secret }: Pick<Person, 'secret'>, ago: number) =>
      codeOfStep(secret, Math.floor(Date.now() / 30_000) - ago),
    /** The newest letter to an address, of those that match, once it is in the outbox. */
    async letterTo(email: string, matching: RegExp): Promise<string> {
      const outbox = join(env.DATA_DIR, 'outbox')
      for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
        const found = lettersIn(outbox).filter((letter) => letter.includes(`To: ${email}\n`) && matching.test(letter))
        const newest = found.at(-1)
        if (newest !== undefined) return newest
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      throw new Error(`no letter to ${email} came into the outbox`)
    },
  }
}

export type Stage = ReturnType<typeof useStage>

const codeOfStep = (secret: string, step: number) => generateSync({ secret, epoch: step * 30 })

/** Oldest first. Long lines are folded in quoted-printable. */
function lettersIn(outbox: string): string[] {
  try {
    const files = readdirSync(outbox).filter((file) => file.endsWith('.eml'))
    return files.sort().map((file) => readFileSync(join(outbox, file), 'utf8').replaceAll('=\n', ''))
  } catch {
    return [] // made with the first letter
  }
}
