/** Servers that a test can freeze (all of their processes), stop and start again on the same port. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startEmbeddedEventStore } from '../../../src/eventstore/embedded/start.ts'
import { findBinaries } from '../../../src/postgres/binaries.ts'
import { ensureCluster, SUPERUSER } from '../../../src/postgres/cluster.ts'
import { findHome } from '../../../src/postgres/home.ts'
import { halt, launch, type Server, untilReady } from '../../../src/postgres/server.ts'
import { type Kafka, startKafka } from '../../kafka/broker.ts'
import { reachableFolder } from '../../support/folder.ts'
import { freePort } from '../../support/ports.ts'
import { childrenOf, signal } from '../../support/processes.ts'

export interface Outage {
  readonly name: string
  freeze(): void
  thaw(): void
  /** Ends its process; data stay. */
  stop(): Promise<void>
  start(): Promise<void>
  /** kill −9 of all of its processes; it comes back at once. */
  crash(): Promise<void>
}

export interface OwnPostgres extends Outage {
  /** Address of the maintenance database. */
  readonly url: string
  remove(): Promise<void>
}

export async function startOwnPostgres(): Promise<OwnPostgres> {
  const folder = reachableFolder('liveness-cluster-postgres-')
  const home = await findHome(join(folder, 'data'))
  const binaries = await findBinaries(home.path, home.user)
  const password = await ensureCluster(home, binaries)
  const port = await freePort()
  const url = `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`
  let server: Server
  const start = async () => {
    server = await launch({ ...home, postgres: binaries.postgres, port, durable: true, log: () => {} })
    await untilReady(server, url)
  }
  await start()
  return {
    name: 'Postgres',
    url,
    // Each connection has a process; the first one goes first, so that no others are made meanwhile.
    freeze() {
      signal(server.pid, 'SIGSTOP')
      for (const pid of childrenOf(server.pid)) signal(pid, 'SIGSTOP')
    },
    thaw() {
      for (const pid of childrenOf(server.pid)) signal(pid, 'SIGCONT')
      signal(server.pid, 'SIGCONT')
    },
    stop: () => halt(server),
    start,
    async crash() {
      for (const pid of [server.pid, ...childrenOf(server.pid)]) signal(pid, 'SIGKILL')
      await server.ended
      await start()
    },
    async remove() {
      await halt(server)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export async function startOwnEventStore(databaseUrl: string): Promise<Outage & { readonly url: string }> {
  let server = await startEmbeddedEventStore({ databaseUrl })
  const { url } = server
  const port = Number(new URL(url).port)
  return {
    name: 'the event store',
    url,
    freeze: () => signal(server.pid, 'SIGSTOP'),
    thaw: () => signal(server.pid, 'SIGCONT'),
    stop: () => server.stop(),
    async start() {
      server = await startEmbeddedEventStore({ databaseUrl, port })
    },
    async crash() {
      signal(server.pid, 'SIGKILL') // whoever started it watches it, and starts it again
    },
  }
}

export async function startOwnKafka(): Promise<Outage & { readonly kafka: Kafka }> {
  const kafka = await startKafka()
  return {
    name: 'Kafka',
    kafka,
    freeze: () => signal(kafka.pid(), 'SIGSTOP'),
    thaw: () => signal(kafka.pid(), 'SIGCONT'),
    stop: () => kafka.kill('SIGTERM'),
    start: () => kafka.restart(),
    async crash() {
      await kafka.kill('SIGKILL')
      await kafka.restart()
    },
  }
}
