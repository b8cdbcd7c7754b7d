/**
 * `npm run test:compose`: suites of `npm test` on real servers instead of embedded ones.
 *
 * The servers are those that EVENTSTORE_URL, DATABASE_URL (whose user may create databases) and KAFKA_BROKERS name, all
 * three; they should be fresh. Without them, those of docker-compose.yml are started under a project name of their own
 * and removed again. Without an engine nothing is tested, which is said, and is a failure with REQUIRE_DOCKER=1.
 */
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../../src/built.ts'
import { freePort } from '../support/ports.ts'

const root = fileURLToPath(packageRoot)

interface Servers {
  readonly eventStoreUrl: string
  readonly databaseUrl: string
  readonly brokers: string
  stop(): Promise<void>
}

function named(): Servers | undefined {
  const { EVENTSTORE_URL, DATABASE_URL, KAFKA_BROKERS } = process.env
  if (!EVENTSTORE_URL || !DATABASE_URL || !KAFKA_BROKERS) return undefined
  return { eventStoreUrl: EVENTSTORE_URL, databaseUrl: DATABASE_URL, brokers: KAFKA_BROKERS, stop: async () => {} }
}

async function inContainers(): Promise<Servers | undefined> {
  const { DockerComposeEnvironment, getContainerRuntimeClient, Wait } = await import('testcontainers')
  const engine = await getContainerRuntimeClient().catch(() => undefined)
  if (engine === undefined) return undefined
  execFileSync('sh', ['deploy/make-secrets.sh'], { cwd: root, stdio: 'inherit' })
  const ports = {
    EVENTSTORE_PORT: String(await freePort()),
    KAFKA_PORT: String(await freePort()),
    POSTGRES_PORT: String(await freePort()),
    MAILPIT_PORT: String(await freePort()),
    MAILPIT_SMTP_PORT: String(await freePort()),
  }
  const stack = await new DockerComposeEnvironment(root, 'docker-compose.yml')
    .withEnvironment(ports)
    .withDefaultWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(180_000)
    .up(['eventstore', 'kafka', 'postgres'])
  const password = readFileSync(`${root}secrets/postgres-password`, 'utf8').trim()
  return {
    eventStoreUrl: `esdb://127.0.0.1:${ports.EVENTSTORE_PORT}?tls=false`,
    databaseUrl: `postgres://liveness:${password}@127.0.0.1:${ports.POSTGRES_PORT}/liveness`,
    brokers: `localhost:${ports.KAFKA_PORT}`,
    stop: async () => {
      await stack.down({ removeVolumes: true })
    },
  }
}

const servers = named() ?? (await inContainers())
if (servers === undefined) {
  console.warn(
    'SKIPPED: test:compose needs a container engine, or EVENTSTORE_URL, DATABASE_URL and KAFKA_BROKERS of servers that run',
  )
  process.exit(process.env.REQUIRE_DOCKER === '1' ? 1 : 0)
}

// The suites start processes of the product that would take DATABASE_URL for theirs; the tests' own name is another.
const { DATABASE_URL: _, ...environment } = process.env
const vitest = spawn(
  process.execPath,
  ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/compose/vitest.config.ts', ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...environment,
      EVENTSTORE_URL: servers.eventStoreUrl,
      KAFKA_BROKERS: servers.brokers,
      TEST_DATABASE_URL: servers.databaseUrl,
    },
  },
)
const code = await new Promise<number>((resolve) => vitest.once('exit', (status) => resolve(status ?? 1)))
await servers.stop()
process.exit(code)
