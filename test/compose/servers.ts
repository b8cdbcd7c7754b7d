/**
 * `tsx test/compose/servers.ts`: a Postgres, an event store and a Kafka as processes of their own, with empty temporary
 * folders, for `npm run test:compose` where there is no engine. Prints what to set; ends at Ctrl-C.
 */
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { startKafka } from '../kafka/broker.ts'
import { freshDatabase, startTestPostgres } from '../support/postgres.ts'

const postgres = await startTestPostgres()
const eventStore = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(postgres.url) })
const kafka = await startKafka()
console.log(`export EVENTSTORE_URL='${eventStore.url}' DATABASE_URL='${postgres.url}' KAFKA_BROKERS='${kafka.brokers}'`)

const stop = async () => {
  await kafka.stop()
  await eventStore.stop()
  await postgres.stop()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
