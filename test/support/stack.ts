/** A database, an embedded event store and secrets of a spec file's own: what `startApp` needs to run as it would on servers. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { inject } from 'vitest'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { reachableFolder } from './folder.ts'
import { freshDatabase } from './postgres.ts'
import { modelsEnv } from './product.ts'

export interface TestStack {
  /** Settings that name these servers; ports are any free ones. */
  readonly env: Readonly<Record<string, string>>
  stop(): Promise<void>
}

export async function startTestStack(): Promise<TestStack> {
  const folder = reachableFolder('liveness-stack-')
  const store = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
  return {
    env: {
      DATABASE_URL: await freshDatabase(inject('postgresUrl')),
      EVENTSTORE_URL: store.url,
      SECRETS_KEY: randomBytes(32).toString('base64'),
      AUDIT_SIGNING_KEY: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ...modelsEnv,
      DATA_DIR: folder,
      PORT: '0',
      OPERATIONS_PORT: '0',
    },
    async stop() {
      await store.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
