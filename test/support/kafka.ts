/** A Kafka for a spec file: the one named in the environment, one of Maven's jars, one in a container, or none. */
import { type Kafka, type KafkaOptions, startKafka } from '../kafka/broker.ts'
import { canRunJava } from '../kafka/jars.ts'

export { type Kafka, startKafka }

/** @testcontainers/kafka starts Confluent's image only; from 8.0.0 on it runs without ZooKeeper. */
const image = 'confluentinc/cp-kafka:8.0.0'
const listenerInside = 9093

/**
 * A Kafka for the suite, or null and a line that says what is not tested. Stop it in afterAll.
 *
 * @param needs `restarts`: the suite kills and restarts the broker, so that only one of our own will do
 * @param options for a broker of our own
 */
export async function kafkaForTests(
  suite: string,
  needs: 'restarts' | 'any' = 'any',
  options: KafkaOptions = {},
): Promise<Kafka | null> {
  const named = process.env.KAFKA_BROKERS
  if (named && needs === 'any') return { ...standing, brokers: named.split(','), stop: async () => {} }
  if (await canRunJava()) return startKafka(options)
  const container = needs === 'any' ? await startContainer() : null
  if (container === null) console.warn(`SKIPPED: ${suite} needs Kafka: Java 17 with Maven, KAFKA_BROKERS or Docker`)
  return container
}

async function startContainer(): Promise<Kafka | null> {
  const { getContainerRuntimeClient } = await import('testcontainers')
  const engine = await getContainerRuntimeClient().catch(() => null)
  if (engine === null) return null
  const { KafkaContainer } = await import('@testcontainers/kafka')
  const container = await new KafkaContainer(image)
    .withEnvironment({ KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false' })
    .start()
  return {
    ...standing,
    brokers: [`${container.getHost()}:${container.getMappedPort(listenerInside)}`],
    stop: async () => {
      await container.stop()
    },
  }
}

const refuse = async () => {
  throw new Error("this broker is not ours to kill: ask for one with kafkaForTests(suite, 'restarts')")
}
const standing = { pid: () => undefined, kill: refuse, restart: refuse }
