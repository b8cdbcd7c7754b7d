import { randomUUID } from 'node:crypto'
import { EventStoreDBClient } from '@eventstore/db-client'
import { inject } from 'vitest'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import type {
  EventStore,
  ExpectedRevision,
  NewEvent,
  PositionedEvent,
  StoredEvent,
} from '../../src/eventstore/store.ts'
import { freshDatabase } from '../support/postgres.ts'

/**
 * The server the contract is put to: the one EVENTSTORE_URL names (a real EventStoreDB or KurrentDB), else the embedded
 * one, started for the spec file on a database of its own.
 */
export interface ServerUnderTest {
  readonly store: EventStore
  /** The client itself, for what the application's interface does not offer. */
  readonly client: EventStoreDBClient
  readonly url: string
  stop(): Promise<void>
}

/** Whether the suite started the server, and so may stop and kill it. */
export const ownsServer = process.env.EVENTSTORE_URL === undefined

export async function startServerUnderTest(): Promise<ServerUnderTest> {
  const server = ownsServer ? await startEmbeddedEventStore({ databaseUrl: await database() }) : undefined
  const url = process.env.EVENTSTORE_URL ?? server?.url ?? ''
  const store = connectEventStore(url)
  const client = EventStoreDBClient.connectionString(url)
  return {
    url,
    store,
    client,
    async stop() {
      await store.close()
      await client.dispose()
      await server?.stop()
    },
  }
}

export function database(): Promise<string> {
  return freshDatabase(inject('postgresUrl'))
}

/** A stream nobody else writes to; a real server keeps those of earlier runs. */
export function newStream(prefix = 'contract'): string {
  return `${prefix}-${randomUUID()}`
}

export function newEvent(type = 'Tested', data: NewEvent['data'] = { value: 1 }): NewEvent {
  return { id: randomUUID(), type, data, metadata: { actor: 'contract' } }
}

export function newEvents(count: number): NewEvent[] {
  return Array.from({ length: count }, (_, index) => newEvent('Tested', { index }))
}

/** Appends and insists on success. */
export async function append(
  store: EventStore,
  stream: string,
  expectedRevision: ExpectedRevision,
  events: readonly NewEvent[],
): Promise<bigint> {
  const outcome = await store.send({ stream, expectedRevision, events }, 10_000)
  if (outcome.kind !== 'appended') throw new Error(`The append ended as ${outcome.kind}`, { cause: outcome })
  return outcome.revision
}

/** Sends the same attempt until its outcome is known. */
export async function appendAtLast(
  store: EventStore,
  stream: string,
  expectedRevision: ExpectedRevision,
  events: readonly NewEvent[],
) {
  for (;;) {
    const outcome = await store.send({ stream, expectedRevision, events }, 2_000)
    if (outcome.kind !== 'unknown') return outcome
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}

export function idsOf(events: readonly (StoredEvent | NewEvent)[]): string[] {
  return events.map((event) => event.id)
}

/** The first `count` events of a subscription. */
export async function take(subscription: AsyncIterable<PositionedEvent>, count: number): Promise<PositionedEvent[]> {
  const taken: PositionedEvent[] = []
  for await (const event of subscription) {
    taken.push(event)
    if (taken.length === count) break
  }
  return taken
}
