import { setTimeout as delay } from 'node:timers/promises'
import { EventStoreDBClient } from '@eventstore/db-client'
import { guardAppends } from './append-guard.ts'

/** Cancelling a call takes no round trip. */
const DISPOSE_MS = 500

/**
 * The client of this process for one event store.
 *
 * @eventstore/db-client keeps the appends in flight of all clients in one map, so a process should have one client:
 * connections to the same address share it. Were there two (tests do it), a lost connection of one would turn the
 * other's appends in flight into unknown outcomes, and nothing worse.
 */
export interface Connection {
  readonly client: EventStoreDBClient
  /**
   * Puts a new client into the place of one that failed in a way it does not recover from: an answer other than
   * UNAVAILABLE or CANCELLED to its question for the server's features is remembered for ever.
   */
  replace(broken: EventStoreDBClient): void
  release(): Promise<void>
}

interface Shared {
  client: EventStoreDBClient
  users: number
}

const open = new Map<string, Shared>()

/** @throws Error when the connection string cannot be read */
export function openConnection(connectionString: string): Connection {
  const shared = open.get(connectionString) ?? { client: newClient(connectionString), users: 0 }
  open.set(connectionString, shared)
  shared.users += 1
  let released = false

  return {
    get client() {
      return shared.client
    },
    replace(broken) {
      if (shared.client !== broken || released) return
      shared.client = newClient(connectionString)
      void dispose(broken)
    },
    async release() {
      if (released) return
      released = true
      shared.users -= 1
      if (shared.users > 0) return
      open.delete(connectionString)
      await dispose(shared.client)
    },
  }
}

function newClient(connectionString: string): EventStoreDBClient {
  const client = EventStoreDBClient.connectionString(connectionString)
  guardAppends(client)
  return client
}

/**
 * Ends the client's calls. Its channel has no close of its own; without calls it keeps nothing alive. The client waits
 * for each call to say that it ended, and a call that had ended just before never does: hence the bound.
 */
async function dispose(client: EventStoreDBClient): Promise<void> {
  const bound = new AbortController()
  await Promise.race([
    client.dispose().catch(() => undefined),
    delay(DISPOSE_MS, undefined, { signal: bound.signal }).catch(() => undefined),
  ])
  bound.abort()
}
