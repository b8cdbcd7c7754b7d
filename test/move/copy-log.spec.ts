import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import type { Attempt, EventStore } from '../../src/eventstore/store.ts'
import { copyLog } from '../../src/move/copy-log.ts'
import { countEvents, sourceEvents } from '../../src/move/source-log.ts'
import { connect } from '../../src/postgres/pool.ts'
import { uuid } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { freshDatabase } from '../support/postgres.ts'

let server: Awaited<ReturnType<typeof startEmbeddedEventStore>>
let store: EventStore
let pool: ReturnType<typeof connect>
beforeAll(async () => {
  const databaseUrl = await freshDatabase(inject('postgresUrl'))
  server = await startEmbeddedEventStore({ databaseUrl })
  store = connectEventStore(server.url)
  pool = connect(databaseUrl)
  const [one, two] = [fill('customer-1'), fill('customer-2')]
  for (const next of [one, two, one, one, two, one, two]) await next(store)
})
afterAll(async () => {
  await store.close()
  await server.stop()
  await pool.end()
})

/** Appends to one stream, an odd text in each event. */
function fill(stream: string) {
  let revision = -1n
  return async (into: Pick<EventStore, 'send'>, note = 'ü \u2028 "\\ 😀') => {
    const expectedRevision = revision < 0n ? ('no_stream' as const) : revision
    const events = [{ id: uuid(), type: 'Noted', data: { note, n: 1.5, z: [null, {}] }, metadata: { b: 1, a: '' } }]
    expect(await into.send({ stream, expectedRevision, events }, 10_000)).toMatchObject({ kind: 'appended' })
    revision += 1n
  }
}

const signal = new AbortController().signal
const copyTo = (target: Pick<EventStore, 'readAll' | 'send'>) => copyLog({ source: sourceEvents(pool), target, signal })
const shape = ({
  stream,
  revision,
  id,
  type,
  data,
  metadata,
}: ReturnType<ReturnType<typeof createMemoryStore>['all']>[number]) => ({
  stream,
  revision,
  id,
  type,
  data,
  metadata,
})

test('every event arrives at its revision, in the order of the log', async () => {
  const target = createMemoryStore()
  expect(await copyTo(target)).toEqual({ events: 7, appended: 7 })
  const ours = []
  for await (const event of store.readAll({ prefixes: [''] }))
    if (!event.stream.startsWith('$')) ours.push(shape(event))
  expect(target.all().map(shape)).toEqual(ours)
  expect(await countEvents(pool)).toBe(7)
})

test('broken off anywhere, it goes on behind what the target holds', async () => {
  for (let after = 0; after < 5; after++) {
    const target = createMemoryStore()
    let left = after
    const failing = {
      readAll: target.readAll,
      send: (attempt: Attempt, ms: number) => {
        if (left-- <= 0) throw new Error('killed')
        return target.send(attempt, ms)
      },
    }
    await expect(copyTo(failing)).rejects.toThrow('killed')
    const held = target.all().length
    expect(await copyTo(target)).toEqual({ events: 7, appended: 7 - held })
    expect(await copyTo(target)).toEqual({ events: 7, appended: 0 })
  }
})

test('a target with other data is refused by its first difference', async () => {
  const other = createMemoryStore()
  await fill('somebody-else')(other)
  await expect(copyTo(other)).rejects.toThrow(
    /holds other data: where this log has customer-1 revision 0 \(Noted, [-0-9a-f]+\) it has somebody-else revision 0/,
  )
  expect(other.all().length).toBe(1)

  const longer = createMemoryStore()
  await copyTo(longer)
  await fill('customer-3')(longer)
  await expect(copyTo(longer)).rejects.toThrow(/goes on where this log ends, with customer-3 revision 0/)

  const changed = createMemoryStore()
  const [first] = longer.all()
  if (first === undefined) throw new Error('nothing was copied')
  const { stream, id, type, metadata } = first
  const event = { id, type, data: { note: 'another' }, metadata: metadata as Record<string, unknown> }
  await changed.send({ stream, expectedRevision: 'no_stream', events: [event] }, 1_000)
  await expect(copyTo(changed)).rejects.toThrow(/customer-1 revision 0 .* with other data/)
})

test('an event whose bytes the client would change is not moved', async () => {
  const { rows } = await pool.query<{ message: Buffer }>('select message from eventstore.event where position = 1')
  const message = rows[0]?.message ?? Buffer.alloc(0)
  // Valid JSON of the same length, but not as JSON.stringify writes it.
  const odd = Buffer.from(message.toString('latin1').replace('"n":1.5', '"n":5e0'), 'latin1')
  expect(odd).not.toEqual(message)
  await pool.query('update eventstore.event set message = $1 where position = 1', [odd])
  try {
    await expect(copyTo(createMemoryStore())).rejects.toThrow(/customer-1 revision 0 .* its bytes would change/)
  } finally {
    await pool.query('update eventstore.event set message = $1 where position = 1', [message])
  }
})
