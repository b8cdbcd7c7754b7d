/**
 * Metering as it is run: Kafka, event store, Postgres and AWS's stand-in as processes of their own, the product's roles
 * as others, and one virtual clock for all of them, which only the test moves.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { inject } from 'vitest'
import { postgresDoubts } from '../../../src/commands/doubts.ts'
import { licenceIdentity } from '../../../src/commands/plans.ts'
import type { Licence } from '../../../src/events/catalogue.ts'
import { connectEventStore } from '../../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../../src/eventstore/embedded/start.ts'
import type { StoredEvent } from '../../../src/eventstore/store.ts'
import { hourMs } from '../../../src/metering/rules.ts'
import { migrate } from '../../../src/postgres/migrate.ts'
import { connect } from '../../../src/postgres/pool.ts'
import { appendTick } from '../../../src/relay/ticks.ts'
import { billingTopic, kafkaClient } from '../../../src/relay/topic.ts'
import { freshDatabase } from '../../support/postgres.ts'
import { type Line, type Role, startAws, startRole } from './processes.ts'

export const minuteMs = 60_000
export const graceMs = 600_000
export const productCode = 'product'
/** $1 is the time: a record in doubt is sent again until two minutes before its deadline. */
const isOnItsWay = `(state in ('open', 'sealed')
  or state = 'unknown' and submission = 'due' and deadline > $1::timestamptz + interval '2 minutes')`
const dimensions = ['starter_over', 'standard_over', 'prof_over', 'business_over', 'enterprise_over', 'free_over']

export type World = Awaited<ReturnType<typeof startWorld>>

/** @param start ISO 8601; @param brokers none: metering is fed directly from the event store */
export async function startWorld(start: string, brokers: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'liveness-metering-'))
  const clockFile = join(folder, 'clock')
  const databaseUrl = await freshDatabase(inject('postgresUrl'))
  const [server, aws] = await Promise.all([
    startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) }),
    startAws(),
    migrate(databaseUrl),
  ])
  const pool = connect(databaseUrl)
  const store = connectEventStore(server.url)
  const kafka = kafkaClient({ brokers: [...brokers] }, 'test')
  const lines: Line[] = []
  const roles = new Map<string, Role>()
  let time = 0
  let lastTickAt = 0

  const now = () => new Date(time).toISOString()
  async function setClock(to: number): Promise<void> {
    if (to < time) throw new Error(`time does not go back from ${now()} to ${new Date(to).toISOString()}`)
    time = to
    // AWS's clock first: it must not take what the product sends for usage of the future.
    await aws.tell('clock', { now: now() })
    writeFileSync(`${clockFile}.new`, String(to))
    renameSync(`${clockFile}.new`, clockFile)
  }

  const env = {
    DATABASE_URL: databaseUrl,
    EVENTSTORE_URL: server.url,
    ...(brokers.length === 0 ? {} : { KAFKA_BROKERS: brokers.join(',') }),
    SECRETS_KEY: randomBytes(32).toString('base64'),
    AUDIT_SIGNING_KEY: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    DATA_DIR: join(folder, 'data'),
    METERING_SUBMIT: 'on',
    METERING_GRACE: String(graceMs / 1_000),
    TEST_CLOCK_FILE: clockFile,
    LOG_LEVEL: 'warn',
    ...aws.env,
  }

  await setClock(Date.parse(start))
  await aws.tell('products', { productCode, dimensions })

  const world = {
    aws,
    pool,
    store,
    server,
    doubts: postgresDoubts(pool),
    /** What the product's processes logged, all of them together: warnings and alarms. */
    lines,
    alarms: (kind: string) => lines.filter(({ alarm }) => alarm === kind).map(({ msg }) => msg),
    warnings: (kind: string) => lines.filter(({ warning }) => warning === kind).map(({ msg }) => msg),

    now,
    time: () => time,
    setClock,
    /** Moves the clock on to an instant, ISO 8601. */
    at: (instant: string) => setClock(Date.parse(instant)),

    /** Writes the time into the log, as the product does each minute of real time; returns it. */
    async tick(): Promise<string> {
      for (;;) {
        const ticked = await appendTick({ store, clock: { now }, databaseClock: async () => new Date(time) })
        lastTickAt = time
        if (ticked !== null) return ticked
        for await (const { data } of store.readBackward('watermark', 1)) {
          const { occurredAt } = data as { occurredAt: string }
          if (occurredAt >= now()) return occurredAt
        }
      }
    },

    /** Starts a process of these roles; the name is for `kill`. */
    async start(name: string, wanted: 'relay' | 'metering', change: Readonly<Record<string, string>> = {}) {
      const role = await startRole(name, { ...env, ROLES: wanted, ...change }, lines)
      roles.set(name, role)
      return role
    },
    async end(name: string, signal: NodeJS.Signals): Promise<void> {
      const role = roles.get(name)
      roles.delete(name)
      await role?.end(signal)
    },

    /** @throws Error naming `what` when it did not come true within so many milliseconds of real time */
    async until(what: string, condition: () => Promise<boolean>, patienceMs = 60_000): Promise<void> {
      for (const deadline = performance.now() + patienceMs; !(await condition()); await pause(50)) {
        if (performance.now() < deadline) continue
        const last = lines.slice(-20).map(({ msg }) => `\n  ${msg}`)
        throw new Error(`${what} did not come true at ${now()}; the last that was logged:${last.join('')}`)
      }
    },

    /** The same while time goes on, `stepMs` of it every 50 ms: what waits for its next attempt waits for that. */
    async untilInTime(what: string, condition: () => Promise<boolean>, stepMs: number, patienceMs = 90_000) {
      const look = async () => {
        if (await condition()) return true
        await setClock(time + stepMs)
        if (time - lastTickAt >= graceMs) await world.tick()
        return false
      }
      await world.until(what, look, patienceMs)
    },

    /** Everything up to the instant is folded, on every partition. */
    isJudged: async (instant: string, on = pool): Promise<boolean> => (await judgedThrough(on)) >= instant,

    /** Milliseconds since the oldest hour that is not folded, sealed and answered. */
    async behind(): Promise<number> {
      const { rows } = await pool.query<{ oldest: Date | null }>(
        `select min(hour) as oldest from metering.records where ${isOnItsWay}`,
        [now()],
      )
      const judged = await judgedThrough(pool)
      const oldest = rows[0]?.oldest?.getTime() ?? time
      return time - Math.min(oldest, judged === '' ? Date.parse(start) : Date.parse(judged))
    },

    /** Every record of an hour before `hour` (ISO 8601) is at an end, or in doubt for good. */
    async isSentBefore(hour: string): Promise<boolean> {
      const { rows } = await pool.query(`select 1 from metering.records where ${isOnItsWay} and hour < $2 limit 1`, [
        now(),
        hour,
      ])
      return rows.length === 0
    },

    /** Ticks until everything is sealed and has its answer, at the end of the hour that runs. */
    async settle(): Promise<void> {
      await setClock((Math.floor(time / hourMs) + 2) * hourMs + graceMs)
      const ticked = await world.tick()
      await world.untilInTime(
        'everything folded, sealed and answered',
        async () => (await world.isJudged(ticked)) && (await world.isSentBefore('infinity')),
        minuteMs,
      )
    },

    /** Every customer event of the log is acknowledged by Kafka. */
    async isRelayed(): Promise<boolean> {
      let written = 0
      for await (const _ of store.readAll({ prefixes: ['customer-'] })) written += 1
      const { rows } = await pool.query<{ relayed: string }>('select sum(c) as relayed from relay, unnest(counts) as c')
      return Number(rows[0]?.relayed ?? 0) === written
    },

    /** What AWS bills under a licence: UTC hour (`2027-03-10T04`) → calls. */
    async billed({ licence }: { readonly licence: Licence }): Promise<Record<string, number>> {
      const ofLicence = (await aws.ledger()).filter(({ subscriptionId }) => subscriptionId === licenceIdentity(licence))
      return Object.fromEntries(ofLicence.map(({ hour, quantity }) => [hour.slice(0, 13), quantity]).toSorted())
    },

    /** Every event of the log. */
    async log(): Promise<StoredEvent[]> {
      const events: StoredEvent[] = []
      for await (const event of store.readAll({ prefixes: ['customer-', 'metering-', 'watermark'] })) events.push(event)
      return events
    },

    async withAdmin<T>(work: (admin: ReturnType<typeof kafka.admin>) => Promise<T>): Promise<T> {
      const admin = kafka.admin()
      await admin.connect()
      return work(admin).finally(() => admin.disconnect())
    },
    topic: billingTopic,

    async stop(): Promise<void> {
      await Promise.all([...roles.keys()].map((name) => world.end(name, 'SIGKILL')))
      await store.close()
      await Promise.all([server.stop(), aws.stop(), pool.end()])
      rmSync(folder, { recursive: true, force: true })
    },
  }

  async function judgedThrough(on: typeof pool): Promise<string> {
    const { rows } = await on
      .query<{ judged: Date | null }>(
        'select min(judged_through) as judged from metering.partitions having count(*) = count(judged_through)',
      )
      .catch((error: unknown) => {
        // Until the role that owns the tables has made them.
        if (error instanceof Error && 'code' in error && (error.code === '42P01' || error.code === '3F000')) {
          return { rows: [] }
        }
        throw error
      })
    return rows[0]?.judged?.toISOString() ?? ''
  }

  return world
}
