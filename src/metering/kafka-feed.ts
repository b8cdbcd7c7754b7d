/**
 * Metering's consumer group in Kafka. Offsets live in Postgres beside the rows and move with them; those committed to
 * Kafka are for people who look at the group. kafkajs says in a batch which partition it is of and nothing more: a
 * handler may go on after its partition was given away, so whoever folds looks at Postgres's offset under its lock.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs'
import { asError } from '../as-error.ts'
import { backOffMs } from '../back-off.ts'
import type { KafkaSettings } from '../relay/kafka-settings.ts'
import { billingTopic, kafkaClient } from '../relay/topic.ts'
import type { Alarms } from './alarms.ts'
import { type Consume, createdAt, endsFeed, type MeteringFeed, type StoppedPartition } from './feed.ts'
import { foldSlice } from './fold-slice.ts'
import { offsetOf, readItems } from './kafka-items.ts'
import { type Extent, type Placement, placementsOf, sentenceOf } from './kafka-place.ts'
import type { MeteringTables } from './tables.ts'

export interface KafkaFeedOptions {
  readonly kafka: KafkaSettings
  readonly tables: MeteringTables
  readonly consume: Consume
  readonly onAlarm: Alarms['onAlarm']
  /** A failure that is retried. */
  readonly onTrouble?: ((error: Error, failures: number) => void) | undefined
  readonly topic?: string | undefined
  readonly groupId?: string | undefined
  /** A member that says nothing for so many milliseconds loses its partitions; the brokers' least is 6 s. */
  readonly sessionTimeoutMs?: number | undefined
}

const consumerGroup = 'marketplace-metering'

/** Most messages of one transaction: kafkajs hands over as many as a fetch holds. */
const maxSlice = 500
/** How long a broker waits for a message to come; also how long kafkajs rests while every partition is paused. */
const longPollMs = 500
/** kafkajs takes other defaults when NODE_ENV is `test`, so all are given. A crash is ours to recover from, always. */
const retry = {
  retries: 5,
  initialRetryTime: 100,
  maxRetryTime: 1_000,
  factor: 0.2,
  multiplier: 2,
  restartOnFailure: async () => false,
}
const leaveMs = 5_000

/** Reading of one partition, from its placing until the next rebalance. */
interface Reading {
  next: bigint
  /** The log's end, as the last batch said. */
  end: bigint
  /** Nothing was read since the placing: the first batch may begin behind a hole of messages that are not for us. */
  fresh: boolean
}

/** Starts in the background; the tables must be there. A topic that is not there yet is waited for. */
export function startKafkaFeed(options: KafkaFeedOptions): MeteringFeed {
  const { tables, consume, onAlarm, onTrouble, topic = billingTopic, groupId = consumerGroup } = options
  const { sessionTimeoutMs = 10_000 } = options
  const kafka = kafkaClient(options.kafka, 'liveness-metering')
  const stopping = new AbortController()
  const { signal } = stopping
  const stop = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  const readings = new Map<number, Reading>()
  const stopped = new Map<number, StoppedPartition>()
  let assigned: readonly number[] = []
  let folded = 0
  let failures = 0
  let lastItemAt: Date | null = null
  let fatal: Error | null = null

  function trouble(error: Error): void {
    failures += 1
    onTrouble?.(error, failures)
  }
  function end(error: Error): void {
    fatal ??= error
    stopping.abort()
  }

  /** Lets partitions, which are paused, go on from where Postgres says; a later assignment makes this one void. */
  async function place(consumer: Consumer, partitions: readonly number[], isCurrent: () => boolean): Promise<void> {
    for (let tries = 1; isCurrent() && !signal.aborted; tries++) {
      try {
        const placements = await placementsOf(tables, partitions, await extentsOf(kafka, topic))
        if (isCurrent()) for (const placement of placements) goOn(consumer, placement)
        return
      } catch (thrown) {
        const error = asError(thrown)
        if (endsFeed(error)) end(error)
        if (signal.aborted || !isCurrent()) return
        trouble(error)
        await pause(backOffMs(tries), undefined, { signal }).catch(() => {})
      }
    }
  }

  function goOn(consumer: Consumer, placement: Placement): void {
    const { partition, offset, lost, found, extent } = placement
    if (lost !== null) {
      const fields = { topic, partition, found: `${found}`, low: `${extent.low}`, high: `${extent.high}` }
      onAlarm(`metering_${lost}_lost`, `${topic} ${sentenceOf(placement)}`, fields)
    }
    if (lost === null && stopped.get(partition)?.offset === offset) return
    stopped.delete(partition)
    readings.set(partition, { next: offset, end: extent.high, fresh: true })
    consumer.seek({ topic, partition, offset: `${offset}` })
    consumer.resume([{ topic, partitions: [partition] }])
  }

  function stopPartition(consumer: Consumer, partition: number, offset: bigint, error: Error): void {
    consumer.pause([{ topic, partitions: [partition] }])
    readings.delete(partition)
    stopped.set(partition, { partition, offset, reason: error.message })
    const message = `${topic} partition ${partition} stops at offset ${offset}: ${error.message}`
    onAlarm('metering_partition_stopped', message, { topic, partition, offset: `${offset}`, err: error })
  }

  async function readBatch(
    consumer: Consumer,
    { batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, isRunning, isStale }: EachBatchPayload,
    replace: (partition: number) => void,
  ): Promise<void> {
    const { partition, messages } = batch
    const reading = readings.get(partition)
    const [first] = messages
    if (reading === undefined || first === undefined || isStale()) return
    const begins = BigInt(first.offset)
    if (begins < reading.next || (begins > reading.next && !reading.fresh)) return replace(partition)
    reading.fresh = false
    reading.end = BigInt(batch.highWatermark)

    const isOurs = () => isRunning() && !isStale() && !signal.aborted && readings.get(partition) === reading
    for (let from = 0; from < messages.length; from += maxSlice) {
      if (!isOurs()) return
      const { fed, unreadable } = readItems(partition, messages.slice(from, from + maxSlice))
      const slice = await foldSlice(partition, fed, { consume, heartbeat, signal, onTrouble: trouble })
      const last = fed[slice.folded - 1]
      if (last !== undefined) {
        folded += slice.folded
        failures = 0
        lastItemAt = createdAt(last)
      }
      if (!isOurs()) return
      if (last !== undefined) {
        reading.next = offsetOf(last) + 1n
        resolveOffset(`${offsetOf(last)}`)
      }
      const next = fed[slice.folded]
      if (slice.halt !== null && next !== undefined) {
        return stopPartition(consumer, partition, offsetOf(next), slice.halt)
      }
      if (unreadable !== null) return stopPartition(consumer, partition, BigInt(unreadable.offset), unreadable)
      await heartbeat()
    }
    if (!isOurs()) return
    await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset: `${reading.next}` }] }] })
  }

  /** Is a member of the group until kafkajs gives up or the feed is stopped. @throws what kafkajs gave up for */
  async function consumeOn(): Promise<void> {
    const consumer = kafka.consumer({
      groupId,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: Math.floor(sessionTimeoutMs / 4),
      rebalanceTimeout: 30_000,
      maxWaitTimeInMs: longPollMs,
      allowAutoTopicCreation: false,
      retry,
    })
    let generation = 0
    const replace = (partitions: readonly number[]) => {
      const mine = generation
      for (const partition of partitions) readings.delete(partition)
      consumer.pause([{ topic, partitions: [...partitions] }])
      void place(consumer, partitions, () => mine === generation)
    }
    // kafkajs calls this before it fetches anything, so nothing is read from where Kafka thinks we were.
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      generation += 1
      readings.clear()
      assigned = payload.memberAssignment[topic] ?? []
      replace(assigned)
    })
    const crashed = new Promise<never>((_, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    })
    crashed.catch(() => {})

    const eachBatch = async (payload: EachBatchPayload) => {
      try {
        await readBatch(consumer, payload, (partition) => replace([partition]))
      } catch (thrown) {
        const error = asError(thrown)
        if (endsFeed(error)) end(error)
        else if (!signal.aborted) throw error
      }
    }
    const started = (async () => {
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      if (signal.aborted) return
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: 3,
        eachBatch,
      })
    })()
    try {
      await Promise.race([started, stop])
      await Promise.race([crashed, stop])
    } finally {
      generation += 1
      readings.clear()
      assigned = []
      const left = started.catch(() => {}).then(() => consumer.disconnect())
      await bounded(left, leaveMs)
    }
  }

  async function run(): Promise<Error | null> {
    while (!signal.aborted) {
      try {
        await consumeOn()
      } catch (thrown) {
        if (signal.aborted) break
        trouble(asError(thrown))
        await pause(backOffMs(failures), undefined, { signal }).catch(() => {})
      }
    }
    return fatal
  }

  const ended = run().catch(asError)
  ended.then((error) => {
    if (error !== null) onAlarm('metering_feed_ended', error.message, { err: error })
  })
  return {
    lag() {
      const waiting = [...readings.values()].reduce(
        (sum, { next, end }) => sum + Number(end > next ? end - next : 0n),
        0,
      )
      return {
        active: assigned.length > 0,
        waiting,
        folded,
        lastItemAt,
        failures,
        stopped: [...stopped.values()].filter(({ partition }) => assigned.includes(partition)),
      }
    },
    ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }
}

async function extentsOf(kafka: Kafka, topic: string): Promise<Map<number, Extent>> {
  const admin = kafka.admin()
  try {
    await admin.connect()
    const offsets = await admin.fetchTopicOffsets(topic)
    return new Map(offsets.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]))
  } finally {
    await admin.disconnect().catch(() => {})
  }
}

/** Waits for work that nobody needs to finish, for so long at most. */
async function bounded(work: Promise<unknown>, ms: number): Promise<void> {
  const done = new AbortController()
  const bound = pause(ms, undefined, { signal: done.signal }).catch(() => {})
  await Promise.race([work.catch(() => {}), bound])
  done.abort()
}
