import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { type EmbeddedEventStore, startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { ensureReadModels, liveGeneration } from '../../src/projections/generations.ts'
import { rebuild } from '../../src/projections/rebuild.ts'
import { startProjections } from '../../src/projections/runner.ts'
import { listCustomers } from '../../src/readmodels/customers.ts'
import { createFreshness } from '../../src/readmodels/freshness.ts'
import { createPlayer, type Step } from '../support/histories.ts'
import { freshDatabase } from '../support/postgres.ts'
import { type Database, dump, openDatabase } from './support.ts'

const detections: Step[] = Array.from({ length: 20 }, (_, i) => ({
  customer: i % 3,
  minutes: 1,
  action: { kind: 'detect', key: i % 4 },
}))

let database: Database
let server: EmbeddedEventStore
let store: EventStore
beforeAll(async () => {
  database = await openDatabase()
  await ensureReadModels(database.pool)
  server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
  store = connectEventStore(server.url)
})
afterAll(async () => {
  await store?.close()
  await server?.stop()
  await database?.close()
})

test('through the real client: own writes are seen, a killed event store is survived, a rebuild gives the same rows', async () => {
  const { pool, url } = database
  const freshness = createFreshness(database)
  const onAlarm = (error: Error) => console.error(error)
  const runner = startProjections({ pool, url, store, onAlarm })
  const player = createPlayer(store)
  try {
    for (let round = 0; round < 3; round++) {
      await player.play(detections)
      for (const { id, head } of player.customers()) await freshness.waitFor(id, head.revision, 10_000)
      if (round === 0) {
        const { pid } = server
        if (pid === undefined) throw new Error('the event store does not run')
        process.kill(pid, 'SIGKILL')
      }
      if (round === 1) await rebuild({ pool, url, store, signal: new AbortController().signal })
    }
    const before = await dump(pool, await liveGeneration(pool))
    await rebuild({ pool, url, store, signal: new AbortController().signal })
    expect(await dump(pool, await liveGeneration(pool))).toEqual(before)
    const listed = await listCustomers(pool, player.now)
    for (const { id, head } of player.customers()) {
      expect(listed.find(({ customerId }) => customerId === id)).toMatchObject({
        revision: head.revision,
        headHash: head.hash,
      })
    }
  } finally {
    await runner.stop()
    await freshness.close()
  }
}, 60_000)
