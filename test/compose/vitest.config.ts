import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/**
 * `npm run test:compose`: suites that run on embedded parts in `npm test`, here on the servers that run.ts names: the
 * event store's contract, relay and feed by way of Kafka, read models in Postgres; and the billed check as processes
 * over all three.
 */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../../', import.meta.url)),
    include: [
      'test/eventstore/contract-appends.spec.ts',
      'test/eventstore/contract-reads.spec.ts',
      'test/eventstore/contract-subscriptions.spec.ts',
      'test/relay/relay.spec.ts',
      'test/metering/feeds.spec.ts',
      'test/metering/kafka-feed.spec.ts',
      'test/metering/postgres-tables.spec.ts',
      'test/readmodels/*.spec.ts',
      'test/projections/runner.spec.ts',
      'test/postgres/migrate.spec.ts',
      'test/compose/billed-check.ts',
    ],
    globalSetup: ['test/support/global-setup.ts'],
    maxWorkers: 1, // $all is one for all of them
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
