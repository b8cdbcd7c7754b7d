/**
 * Several instances as they run on several machines: three API processes behind the product's balancer, projections,
 * relay and metering as processes of their own, over one event store, one Postgres and one Kafka, each of which can be
 * killed, frozen and stopped.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { postgresDoubts } from '../../../src/commands/doubts.ts'
import { makeApiKey } from '../../../src/commands/keys.ts'
import { createLedgers } from '../../../src/commands/ledgers.ts'
import { customerStream, type Licence } from '../../../src/events/catalogue.ts'
import { connectEventStore } from '../../../src/eventstore/client.ts'
import type { StoredEvent } from '../../../src/eventstore/store.ts'
import { ensureDatabase } from '../../../src/postgres/migrate.ts'
import { connect } from '../../../src/postgres/pool.ts'
import { billingTopic } from '../../../src/relay/topic.ts'
import { readTopic } from '../../relay/support.ts'
import { reachableFolder } from '../../support/folder.ts'
import { registration } from '../../support/given.ts'
import { call } from '../../support/load.ts'
import { freePort } from '../../support/ports.ts'
import { ownerOfPort } from '../../support/processes.ts'
import { liveness } from '../../support/product.ts'
import { startProxy } from '../../support/proxy.ts'
import { startAws } from '../metering/processes.ts'
import { launchMember, type Member, startBalancer, untilStarted } from './members.ts'
import { startOwnEventStore, startOwnKafka, startOwnPostgres } from './servers.ts'

export interface Buyer {
  readonly customerId: string
  readonly primary: string
  readonly secondary: string
  readonly licence: Extract<Licence, { kind: 'licence' }>
}

export type Cluster = Awaited<ReturnType<typeof startCluster>>

const overage = 'standard_over'
const origin = { correlationId: 'test', causationId: 'test', actor: 'test' }

/**
 * @param workers name → roles of the processes besides the three of the API
 * @param clockShiftMs how far everybody's clock, AWS's too, is ahead of this machine's
 */
export async function startCluster(workers: Readonly<Record<string, string>>, clockShiftMs = 0) {
  const now = () => Date.now() + clockShiftMs
  const folder = reachableFolder('liveness-cluster-')
  const [postgres, broker, aws] = await Promise.all([startOwnPostgres(), startOwnKafka(), startAws()])
  const databaseUrl = await ensureDatabase(postgres.url, 'liveness')
  const eventStore = await startOwnEventStore(await ensureDatabase(postgres.url, 'eventstore'))
  // Between the event store and every process of the product; the tests' own connection goes beside it.
  const network = await startProxy(Number(new URL(eventStore.url).port))
  await aws.tell('clock', { now: new Date(now()).toISOString() })
  await aws.tell('products', { productCode: 'product', dimensions: [overage] })
  const pool = connect(databaseUrl, { applicationName: 'test' })
  const store = connectEventStore(eventStore.url)
  const ledgers = createLedgers({
    store,
    loadSnapshot: async () => null,
    doubts: postgresDoubts(pool),
    clock: { now: () => new Date(now()).toISOString(), monthHasBegun: async () => {} },
    patience: { sendMs: 5_000, attemptMs: 30_000 },
  })
  const env = {
    DATABASE_URL: databaseUrl,
    EVENTSTORE_URL: `esdb://127.0.0.1:${network.port}?tls=false`,
    KAFKA_BROKERS: broker.kafka.brokers.join(','),
    SECRETS_KEY: randomBytes(32).toString('base64'),
    AUDIT_SIGNING_KEY: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    DATA_DIR: join(folder, 'data'),
    ANCHOR_DIR: join(folder, 'anchors'),
    RATE_LIMIT: '100000',
    METERING_SUBMIT: 'on',
    METERING_GRACE: '60',
    LOG_LEVEL: 'debug',
    ...aws.env,
  }
  const members = new Map<string, Member>()
  const roles = new Map<string, string>(Object.entries(workers))
  const ports = new Map<string, number>()
  const apis = ['api-1', 'api-2', 'api-3']
  for (const name of apis) {
    roles.set(name, 'api')
    ports.set(name, await freePort())
  }

  /** Starts a process by name, again after its end too; does not wait until it has started. */
  async function launch(name: string): Promise<Member> {
    const port = ports.get(name)
    const member = await launchMember(name, {
      roles: roles.get(name) ?? '',
      env,
      clockShiftMs,
      ...(port === undefined ? {} : { port }),
    })
    members.set(name, member)
    return member
  }
  const start = async (name: string) => untilStarted(await launch(name))
  // One before the others: it leads whatever it has a role for.
  const [first = '', ...rest] = [...Object.keys(workers), ...apis]
  await start(first)
  await Promise.all(rest.map(start))
  const balancer = await startBalancer(apis.map((name) => `http://127.0.0.1:${ports.get(name)}`))

  const cluster = {
    servers: { eventStore, postgres, kafka: broker },
    network,
    aws,
    pool,
    store,
    env,
    url: balancer.url,
    /** Milliseconds since 1970 by everybody's clock. */
    now,
    apis,
    members,
    launch,
    start,
    member(name: string): Member {
      const member = members.get(name)
      assert.ok(member, `there is no ${name}`)
      return member
    },

    /** A customer with a licence in AWS, known to every instance. */
    async register({ monthlyLimit, hardCap = false }: { monthlyLimit: number; hardCap?: boolean }): Promise<Buyer> {
      const customerId = randomUUID()
      const awsAccountId = `${Date.now()}`.slice(-12).padStart(12, '1')
      const licenceArn = `arn:aws:license-manager::${awsAccountId}:license:l-${customerId}`
      const licence = { kind: 'licence', awsAccountId, licenceArn } as const
      await aws.tell('subscriptions', { id: licenceArn, awsAccountId, licenceArn })
      const [primary, secondary] = [makeApiKey(), makeApiKey()]
      const keys = { primary: primary.key, secondary: secondary.key }
      const command = registration({ customerId, plan: 'standard', monthlyLimit, hardCap, licence, keys })
      await ledgers.execute(customerId, { command, origin })
      await until('the new key is known', async () => (await call(balancer.url, primary.secret, null)).status === 200)
      return { customerId, primary: primary.secret, secondary: secondary.secret, licence }
    },

    async events({ customerId }: Buyer): Promise<StoredEvent[]> {
      const events: StoredEvent[] = []
      for await (const event of store.readForward(customerStream(customerId), 0n)) events.push(event)
      return events
    },

    /** The process that holds a role's lock: `projections`, `relay`, `metering` or `housekeeping`. */
    async leaderOf(role: string): Promise<string | undefined> {
      const { rows } = await pool.query<{ client_port: number }>(
        `select a.client_port from pg_locks l join pg_stat_activity a using (pid)
         where l.locktype = 'advisory' and l.granted and a.application_name = $1`,
        [`liveness leader liveness:${role}`],
      )
      const running = [...members.values()]
      const owner = ownerOfPort(
        rows[0]?.client_port ?? 0,
        running.map(({ pid }) => pid),
      )
      return running.find(({ pid }) => pid === owner)?.name
    },

    /** Warnings and worse of all processes, by what they say, for a failed test to show. */
    warnings(): Record<string, number> {
      const said: Record<string, number> = {}
      for (const { name, lines } of members.values()) {
        for (const { level, msg, err } of lines) {
          if (level < 40) continue
          const cause = (err as { message?: string; cause?: { message?: string } } | undefined) ?? {}
          const text = `${name}: ${msg} (${cause.message ?? ''})`
          said[text] = (said[text] ?? 0) + 1
        }
      }
      return said
    },

    /** Switches the hard cap as an operator's command does. */
    async setCap({ customerId }: Buyer, on: boolean): Promise<void> {
      await ledgers.execute(customerId, { command: { type: on ? 'EnableHardCap' : 'DisableHardCap' }, origin })
    },

    /** Replaces the primary key; returns the new one. */
    async regenerate({ customerId }: Buyer): Promise<string> {
      const { secret, key } = makeApiKey()
      await ledgers.execute(customerId, { command: { type: 'RegenerateApiKey', slot: 'primary', key }, origin })
      return secret
    },

    /** How many transactions a process has open in which it is its turn to speak. */
    async transactionsOf({ pid }: Member): Promise<number> {
      const { rows } = await pool.query<{ client_port: number }>(
        "select client_port from pg_stat_activity where state = 'idle in transaction'",
      )
      return rows.filter(({ client_port }) => ownerOfPort(client_port, [pid]) === pid).length
    },

    /** No attempt is in doubt any more, in Postgres or in the memory of an instance. */
    async settled({ primary }: Buyer): Promise<void> {
      // An instance that could not even note its doubt settles it before it answers its customer's next request.
      for (const name of apis) {
        const { url } = cluster.member(name)
        await until(`${name} answers`, async () => (await call(url, primary, null)).status === 200, 60_000)
      }
      await until('no attempt is in doubt', async () => {
        const { rows } = await pool.query<{ count: string }>('select count(*)::text as count from attempts_in_doubt')
        return rows[0]?.count === '0'
      })
    },

    /**
     * Ends the buyer's subscription, which seals and sends everything at once, and compares: log = usage = metering =
     * what AWS bills.
     */
    async closed(buyer: Buyer): Promise<{ overage: number; usage: unknown }> {
      const { customerId, licence, primary } = buyer
      const log = await cluster.events(buyer)
      const voided = new Set(
        log.flatMap(({ type, data }) =>
          type === 'DetectionVoided' ? [(data as { detectionId: string }).detectionId] : [],
        ),
      )
      const standing = log.flatMap(({ type, data }) => {
        const detection = data as { detectionId: string; funding: string; yearMonth: string }
        return type === 'DetectionSucceeded' && !voided.has(detection.detectionId) ? [detection] : []
      })
      const overageOf = (detections: typeof standing) =>
        detections.filter(({ funding }) => funding === 'overage').length
      const sold = overageOf(standing)
      const { body } = await call(cluster.url, primary, null)
      const ofMonth = standing.filter(({ yearMonth }) => yearMonth === body.data.year_month)
      assert.deepEqual(
        [body.data.total_calls, body.data.over_limit_calls],
        [ofMonth.length, overageOf(ofMonth)],
        'usage is what the log says',
      )
      const ended = { type: 'EndSubscription', licence, reason: 'the end of a test' } as const
      await ledgers.execute(customerId, { command: ended, origin })
      await aws.tell('end', { id: licence.licenceArn })
      await until(
        'every record is accepted by AWS',
        async () => {
          const { rows } = await pool.query<{ state: string; quantity: bigint }>(
            'select state, quantity from metering.records where customer_id = $1',
            [customerId],
          )
          return (
            rows.reduce((sum, { state, quantity }) => sum + (state === 'accepted' ? Number(quantity) : 0), 0) === sold
          )
        },
        120_000,
      )
      const billed = (await aws.ledger()).filter(({ subscriptionId }) => subscriptionId === licence.licenceArn)
      assert.equal(
        billed.reduce((sum, { quantity }) => sum + quantity, 0),
        sold,
        'AWS bills the overage of the log',
      )
      assert.deepEqual(await aws.billedTwice(), [])
      return { overage: sold, usage: body.data }
    },

    /** How many events stand in the topic, and how many of them came again. */
    async topic(): Promise<{ events: number; repeated: number }> {
      const items = (await readTopic({ brokers: [...broker.kafka.brokers] }, billingTopic)).flat()
      const ids = items.flatMap((item) => (item.kind === 'event' ? [item.event.id] : []))
      const events = new Set(ids).size
      return { events, repeated: ids.length - events }
    },

    /** `liveness audit verify`, whose exit code is the judge. @throws Error with its report when it finds a difference */
    verify: (): Promise<string> => liveness(env, 'audit', 'verify', '--from-start'),

    liveness: (...args: string[]) => liveness(env, ...args),

    async stop(): Promise<void> {
      for (const { thaw } of Object.values(cluster.servers)) thaw()
      await Promise.all([...members.values()].map((member) => member.end('SIGKILL')))
      await Promise.all([balancer.stop(), network.stop()])
      await Promise.all([store.close(), pool.end().catch(() => {}), aws.stop()])
      await Promise.all([eventStore.stop(), broker.kafka.stop()])
      await postgres.remove()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return cluster
}

/** @throws Error naming `what` when it did not come true in time */
export async function until(what: string, condition: () => Promise<boolean>, patienceMs = 60_000): Promise<number> {
  const since = performance.now()
  while (!(await condition().catch(() => false))) {
    if (performance.now() - since > patienceMs) throw new Error(`not within ${patienceMs / 1_000} s: ${what}`)
    await pause(50)
  }
  return performance.now() - since
}
