/** Replay of the log into read models, against the bare client reading the same events and doing nothing with them. */
import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { EventStoreDBClient, START, streamNameFilter } from '@eventstore/db-client'
import { freeze } from '../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal } from '../src/commands/customer.ts'
import { makeApiKey } from '../src/commands/keys.ts'
import { evolve, initialState } from '../src/commands/state.ts'
import { customerStream } from '../src/events/catalogue.ts'
import { emptyHead, type Head } from '../src/events/chain.ts'
import { connectEventStore } from '../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../src/eventstore/embedded/start.ts'
import type { EventStore } from '../src/eventstore/store.ts'
import { startEmbeddedPostgres } from '../src/postgres/embedded.ts'
import { ensureDatabase, migrate } from '../src/postgres/migrate.ts'
import { connect } from '../src/postgres/pool.ts'
import { ensureReadModels } from '../src/projections/generations.ts'
import { rebuild } from '../src/projections/rebuild.ts'
import { startProjections } from '../src/projections/runner.ts'

const EVENTS = 100_000
const CUSTOMERS = 50
/** One call in so many carries an idempotency key, each of which is a row. */
const KEY_EVERY = 4
const ROUNDS = 3
const DEADLINE_MS = 30_000

interface Figure {
  readonly name: string
  readonly value: string
  readonly goal?: string
}

/** Reads and replays take turns, and the medians are compared: the machine's mood changes between them. */
export async function benchProjections(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  await chmod(folder, 0o755) // as root the server is another user, who must get in
  const postgres = await startEmbeddedPostgres({ dataDir: folder })
  const server = await startEmbeddedEventStore({ databaseUrl: await ensureDatabase(postgres.url, 'eventstore') })
  const url = await ensureDatabase(postgres.url, 'liveness')
  await migrate(url)
  const pool = connect(url)
  const store = connectEventStore(server.url)
  const client = EventStoreDBClient.connectionString(server.url)
  let stopLive = async () => {}
  try {
    await ensureReadModels(pool)
    const written = await writeLog(store)
    const onAlarm = (error: Error) => console.error(error.message)
    const live = startProjections({ pool, url, store, onAlarm })
    stopLive = live.stop
    while (live.lag().folded < written) await pause(100)
    const signal = new AbortController().signal
    const reads: number[] = []
    const replays: number[] = []
    for (let round = 0; round <= ROUNDS; round++) {
      const read = await timed(() => bareRead(client, written))
      const replay = await timed(async () => {
        const { events } = await rebuild({ pool, url, store, signal })
        if (events !== written) throw new Error(`${events} of ${written} events were replayed`)
      })
      if (round === 0) continue // warm-up
      reads.push(read)
      replays.push(replay)
    }
    const read = written / median(reads)
    const replay = written / median(replays)
    return [
      { name: `bare client read of ${written} events, events/s`, value: (read * 1_000).toFixed(0) },
      { name: 'replay into all read models (rebuild and swap), events/s', value: (replay * 1_000).toFixed(0) },
      { name: 'replay against bare read', value: (replay / read).toFixed(2), goal: '≥ 0.7' },
    ]
  } finally {
    await stopLive()
    await client.dispose()
    await pool.end()
    await store.close()
    await server.stop()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

async function bareRead(client: EventStoreDBClient, count: number): Promise<void> {
  const subscription = client.subscribeToAll({
    fromPosition: START,
    filter: streamNameFilter({ prefixes: ['customer-'], checkpointInterval: 1_000 }),
  })
  let left = count
  for await (const _ of subscription) {
    left -= 1
    if (left === 0) break
  }
  await subscription.unsubscribe()
}

/** A log of customers who were charged, written by the decider in batches that take turns. Returns how many events. */
async function writeLog(store: EventStore): Promise<number> {
  const customers = Array.from({ length: CUSTOMERS }, () => createWriter(store))
  let written = 0
  for (let calls = 0; written < EVENTS; calls = 200) {
    written += (await Promise.all(customers.map((write) => write(calls)))).reduce((sum, count) => sum + count, 0)
  }
  return written
}

function createWriter(store: EventStore) {
  const customerId = randomUUID()
  const [primary, secondary] = [makeApiKey().key, makeApiKey().key]
  let state = initialState
  let head: Head = emptyHead
  let serial = 0

  const detection = (): CustomerCommand => {
    serial += 1
    const idempotency = { key: serial.toString(16).padStart(64, '0'), body: 'b'.padStart(64, '0') }
    return {
      type: 'RecordDetection',
      detectionId: randomUUID(),
      keyId: primary.keyId,
      verdict: {
        isFakeFace: false,
        likelihoodMillionths: 12_345,
        isValidFace: true,
        brightnessHundredths: 14_230,
        face: { x: 120, y: 80, width: 200, height: 200 },
        faces: [{ x: 120, y: 80, width: 200, height: 200 }],
        msg: '',
        latencyMs: 42,
      },
      modelSet: 'ensemble',
      modelVersion: '1',
      ...(serial % KEY_EVERY === 0 ? { idempotency } : {}),
    }
  }

  /** Writes the registration first, then `calls` detections in one append. */
  return async (calls: number): Promise<number> => {
    const commands: CustomerCommand[] = Array.from({ length: calls }, detection)
    if (state.customerId === '') {
      const keys = { primary, secondary }
      commands.unshift({
        type: 'RegisterCustomer',
        customerId,
        plan: 'starter',
        hardCap: false,
        licence: { kind: 'none' },
        keys,
      })
    }
    const origin = { correlationId: randomUUID(), causationId: randomUUID(), actor: 'operator' }
    const events = commands.flatMap((command) => {
      const decision = decide(state, command, new Date().toISOString())
      if (isRefusal(decision)) throw new Error(decision.message)
      state = decision.reduce(evolve, state)
      return decision.map((event) => ({ event, origin }))
    })
    const frozen = freeze(customerStream(customerId), head, events)
    const outcome = await store.send(frozen.attempt, DEADLINE_MS)
    if (outcome.kind !== 'appended') throw new Error(`an append ended as ${outcome.kind}`)
    head = frozen.head
    return events.length
  }
}
