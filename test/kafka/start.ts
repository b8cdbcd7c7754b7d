/** `npm run kafka [PORT]`: a broker for development, whose data stay in .kafka/data. Ends at Ctrl-C. */
import { join } from 'node:path'
import { startKafka } from './broker.ts'
import { kafkaFolder } from './jars.ts'

const kafka = await startKafka({ dir: join(kafkaFolder, 'data'), port: Number(process.argv[2] ?? 9092) })
console.log(`KAFKA_BROKERS=${kafka.brokers.join(',')}`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => kafka.stop())
