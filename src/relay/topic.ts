/**
 * The topic in Kafka, through kafkajs. A plain producer with one send in flight: kafkajs's idempotent and transactional
 * ones drop acknowledged messages after a lost answer. A lost answer here stores a batch twice, which the consumer's
 * heads skip.
 */
import { setTimeout as pause } from 'node:timers/promises'
import kafkajs, { Kafka, logLevel, Partitioners, type Producer, type RecordMetadata } from 'kafkajs'
import { asError } from '../as-error.ts'
import { type FeedItem, partitionCount } from './feed.ts'
import type { KafkaSettings } from './kafka-settings.ts'
import { messageOf, type OutgoingMessage } from './messages.ts'
import type { Topic } from './step.ts'

export const billingTopic = 'liveness.billing.v1'

/** The topic exists, but not as it must be; an operator has to delete or alter it. */
export class TopicMisconfigured extends Error {
  override name = 'TopicMisconfigured'
}

/** kafkajs takes other defaults when NODE_ENV is `test`, so every one is given. It is for connecting: three addresses. */
const connecting = { retries: 3, initialRetryTime: 50, maxRetryTime: 500, factor: 0.2, multiplier: 2 }

/** A client for these settings. It logs nothing: failures reach whoever asked. */
export function kafkaClient(settings: KafkaSettings, clientId: string, requestTimeoutMs = 10_000): Kafka {
  return new Kafka({
    ...settings,
    clientId,
    connectionTimeout: 5_000,
    requestTimeout: requestTimeoutMs,
    retry: connecting,
    logLevel: logLevel.NOTHING,
  })
}

/** Rejects when no broker answers, within `ms` or a little more. */
export async function askBrokers(settings: KafkaSettings, ms: number): Promise<void> {
  const kafka = kafkaClient({ ...settings }, 'liveness-readiness', ms)
  await withAdmin(kafka, async (admin) => void (await admin.describeCluster()), { ...connecting, retries: 0 })
}

export interface TopicSource {
  readonly name: string
  /**
   * Makes the topic when it is absent, checks it, and connects. `signal` ends whatever is under way by rejecting it;
   * `onTrouble` hears of sends that are repeated.
   * @throws TopicMisconfigured
   */
  open(signal: AbortSignal, onTrouble: (error: Error, failures: number) => void): Promise<Topic>
}

export interface TopicOptions {
  readonly name?: string
  /** How long an answer may take, in milliseconds. */
  readonly requestTimeoutMs?: number
}

export function kafkaTopic(settings: KafkaSettings, { name = billingTopic, requestTimeoutMs }: TopicOptions = {}) {
  const kafka = kafkaClient(settings, 'liveness-relay', requestTimeoutMs)
  const source: TopicSource = {
    name,
    async open(signal, onTrouble) {
      signal.throwIfAborted()
      await orAborted(ensureTopic(kafka, name), signal)
      const sender = createSender(kafka, name, signal, onTrouble)
      return {
        async send(items) {
          const next = new Map<number, bigint>()
          for (const slice of slices(items)) {
            for (const [partition, offset] of await sender.send(slice)) next.set(partition, offset)
          }
          return next
        },
        endOffsets: () => endOffsets(kafka, name),
        close: () => sender.close(),
      }
    },
  }
  return source
}

/** What the topic must be like, as Kafka's names and values have it. Event time would let retention delete a replay. */
const required: Readonly<Record<string, string>> = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'message.timestamp.type': 'LogAppendTime',
}
/** Bytes of one send; Kafka counts a partition's part of it as one record batch. */
const maxSliceBytes = 768 * 1_024
/** Above the slices and above any event the store takes (1 MiB). */
const maxBatchBytes = 2 * 1_024 * 1_024

async function ensureTopic(kafka: Kafka, name: string): Promise<void> {
  await withAdmin(kafka, async (admin) => {
    if (!(await admin.listTopics()).includes(name)) {
      const { brokers } = await admin.describeCluster()
      const replicationFactor = Math.min(3, brokers.length)
      const config = {
        ...required,
        'max.message.bytes': `${maxBatchBytes}`,
        // Acknowledged means: stands on two machines, where there are three.
        'min.insync.replicas': replicationFactor === 3 ? '2' : '1',
      }
      const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }))
      const topic = { topic: name, numPartitions: partitionCount, replicationFactor, configEntries }
      // kafkajs's own wait gives up where the broker asked does not know the topic yet.
      await admin.createTopics({ topics: [topic], waitForLeaders: false, timeout: 10_000 })
      await untilServed(kafka, name)
    }
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
    const partitions = topics[0]?.partitions.length ?? 0
    const wrong = partitions === partitionCount ? [] : [`it has ${partitions} partitions instead of ${partitionCount}`]
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name, configNames: Object.keys(required) }],
    })
    for (const { configName, configValue } of resources[0]?.configEntries ?? []) {
      const value = required[configName]
      if (value !== configValue) wrong.push(`${configName} is ${configValue} instead of ${value}`)
    }
    if (wrong.length > 0) throw new TopicMisconfigured(`the topic ${name} is not as it must be: ${wrong.join('; ')}`)
  })
}

/** A new topic is known to the cluster a moment before its leaders answer for it. */
async function untilServed(kafka: Kafka, name: string): Promise<void> {
  for (let left = 50; ; left--) {
    try {
      await endOffsets(kafka, name)
      return
    } catch (error) {
      if (left === 0) throw error
      await pause(100)
    }
  }
}

function endOffsets(kafka: Kafka, name: string): Promise<bigint[]> {
  return withAdmin(kafka, async (admin) => {
    const ends = new Map((await admin.fetchTopicOffsets(name)).map(({ partition, high }) => [partition, BigInt(high)]))
    return Array.from({ length: partitionCount }, (_, partition) => ends.get(partition) ?? 0n)
  })
}

async function withAdmin<T>(
  kafka: Kafka,
  work: (admin: ReturnType<Kafka['admin']>) => Promise<T>,
  retry = connecting,
): Promise<T> {
  const admin = kafka.admin({ retry })
  try {
    await admin.connect()
    return await work(admin)
  } finally {
    await admin.disconnect().catch(() => {})
  }
}

function* slices(items: readonly FeedItem[]): Generator<OutgoingMessage[]> {
  let slice: OutgoingMessage[] = []
  let bytes = 0
  for (const item of items) {
    const message = messageOf(item)
    const size = Buffer.byteLength(message.value) + 300 // headers and key
    if (slice.length > 0 && bytes + size > maxSliceBytes) {
      yield slice
      slice = []
      bytes = 0
    }
    slice.push(message)
    bytes += size
  }
  if (slice.length > 0) yield slice
}

const firstPauseMs = 50
const maxPauseMs = 5_000

/** Sends slices, each again and again until it is acknowledged, on a new connection after each failure. */
function createSender(
  kafka: Kafka,
  topic: string,
  signal: AbortSignal,
  onTrouble: (error: Error, failures: number) => void,
) {
  let producer: Producer | undefined

  async function sendOnce(messages: OutgoingMessage[]): Promise<Map<number, bigint>> {
    if (producer === undefined) {
      producer = kafka.producer({
        createPartitioner: Partitioners.DefaultPartitioner, // takes the partition given
        allowAutoTopicCreation: false,
        // Its own retries send only to brokers that have not answered yet, and so forget a partition whose leader has
        // moved to one that had.
        retry: { ...connecting, retries: 0 },
      })
      await producer.connect()
    }
    return nextOffsets(messages, await producer.send({ topic, acks: -1, timeout: 5_000, messages }))
  }

  async function discard(): Promise<void> {
    const old = producer
    producer = undefined
    // Its disconnect waits for answers that may never come; whoever closes waits for a second at most.
    const done = new AbortController()
    const bound = pause(1_000, undefined, { signal: done.signal }).catch(() => {})
    await Promise.race([old?.disconnect().catch(() => {}), bound])
    done.abort()
  }

  return {
    async send(messages: OutgoingMessage[]): Promise<Map<number, bigint>> {
      for (let failures = 1; ; failures++) {
        try {
          return await orAborted(sendOnce(messages), signal)
        } catch (thrown) {
          const error = asError(thrown)
          void discard()
          // Absent: whoever opens the topic again makes it anew, and finds out what that means.
          if (signal.aborted || isUnknownTopic(error)) throw error
          onTrouble(error, failures)
        }
        const ceiling = Math.min(firstPauseMs * 2 ** failures, maxPauseMs)
        await pause(ceiling * (0.5 + Math.random() / 2), undefined, { signal })
      }
    },
    close: discard,
  }
}

/** @throws Error unless every partition of the messages was acknowledged */
function nextOffsets(messages: readonly OutgoingMessage[], answers: readonly RecordMetadata[]): Map<number, bigint> {
  const counts = new Map<number, number>()
  for (const { partition } of messages) counts.set(partition, (counts.get(partition) ?? 0) + 1)
  const next = new Map<number, bigint>()
  for (const { partition, baseOffset } of answers) {
    if (baseOffset !== undefined) next.set(partition, BigInt(baseOffset) + BigInt(counts.get(partition) ?? 0))
  }
  const missing = [...counts.keys()].filter((partition) => !next.has(partition))
  if (missing.length > 0) throw new Error(`partitions ${missing.join(', ')} did not acknowledge`)
  return next
}

function isUnknownTopic(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('type' in error && error.type === 'UNKNOWN_TOPIC_OR_PARTITION') || isUnknownTopic(error.cause)
}

/** Rejects when the signal aborts first; the work goes on unobserved: kafkajs's calls can take most of a minute. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let leave = () => {}
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
  })
  work.catch(() => {})
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
