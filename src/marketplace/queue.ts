/**
 * The queue of AWS Marketplace's messages: read by one process at a time, each message kept and handled and only then
 * deleted. Two readers would do no harm, for handling is idempotent; one spares AWS and the log the double work.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs'
import { asError } from '../as-error.ts'
import { holdAdvisoryLock } from '../postgres/leader.ts'
import { longestPollSeconds } from './aws.ts'
import { asked } from './aws-calls.ts'
import { handle } from './handle.ts'
import { type Delivery, readMessage } from './lifecycle.ts'
import { noteOutcome, overdueEnds } from './messages.ts'
import type { MarketplaceDeps } from './settle.ts'
import { isTransient } from './transient.ts'

export interface LifecycleQueueOptions {
  readonly deps: MarketplaceDeps
  readonly client: SQSClient
  readonly queueUrl: string
  /** Of the database, for the session that holds the leader's lock. */
  readonly databaseUrl: string
  /** A failure that is retried. */
  readonly onTrouble: (error: Error) => void
  /** How long a message stays out of sight while it is handled, in seconds. */
  readonly visibilitySeconds?: number
}

export interface LifecycleQueue {
  /** Resolves after `stop`. */
  readonly ended: Promise<void>
  /** Ends the wait for messages; the one being handled is finished. */
  stop(): Promise<void>
}

const queueLock = 'liveness:marketplace'
const messagesAtOnce = 10 // SQS gives no more
/** Deliveries after which a message that cannot be handled is given up, or one that waits for others raises an alarm. */
const patientDeliveries = 5
const longestBackOffSeconds = 900
const firstPauseMs = 500
const maxPauseMs = 30_000
const lookForOverdueEveryMs = 600_000

/** Starts in the background. */
export function startLifecycleQueue(options: LifecycleQueueOptions): LifecycleQueue {
  const stopping = new AbortController()
  const ended = holdAdvisoryLock(
    options.databaseUrl,
    queueLock,
    stopping.signal,
    (lost) => keepReading(options, lost),
    (error) => options.onTrouble(asError(error)),
  )
  return {
    ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }
}

async function keepReading(options: LifecycleQueueOptions, signal: AbortSignal): Promise<void> {
  const told = new Set<string>()
  let lookedAt = Number.NEGATIVE_INFINITY
  for (let failures = 0; !signal.aborted; ) {
    try {
      if (performance.now() - lookedAt > lookForOverdueEveryMs) {
        await tellOfOverdue(options.deps, told)
        lookedAt = performance.now()
      }
      for (const message of await receive(options, signal)) {
        if (signal.aborted) return
        await take(options, message)
      }
      failures = 0
    } catch (error) {
      if (signal.aborted) return
      options.onTrouble(asError(error))
      const ms = Math.min(firstPauseMs * 2 ** failures, maxPauseMs) * (0.5 + Math.random() / 2)
      failures = Math.min(failures + 1, 10)
      await pause(ms, undefined, { signal }).catch(() => {})
    }
  }
}

/** Waits for messages for as long as SQS allows. @throws AwsUnavailable */
async function receive(options: LifecycleQueueOptions, signal: AbortSignal): Promise<readonly Message[]> {
  const { client, queueUrl, visibilitySeconds = 60 } = options
  const command = new ReceiveMessageCommand({
    QueueUrl: queueUrl,
    MaxNumberOfMessages: messagesAtOnce,
    WaitTimeSeconds: longestPollSeconds,
    VisibilityTimeout: visibilitySeconds,
    MessageSystemAttributeNames: ['ApproximateReceiveCount', 'SentTimestamp'],
  })
  const { Messages = [] } = await asked('ReceiveMessage', client.send(command, { abortSignal: signal }))
  return Messages
}

/** Handles one message to its end, or leaves it in the queue for later. Never throws. */
async function take(options: LifecycleQueueOptions, message: Message): Promise<void> {
  const { deps, onTrouble } = options
  const deliveries = Number(message.Attributes?.ApproximateReceiveCount ?? 1)
  const delivery: Delivery = {
    messageId: message.MessageId ?? '',
    sentAt: new Date(Number(message.Attributes?.SentTimestamp ?? Date.now())).toISOString(),
    body: message.Body ?? '',
  }
  try {
    await handle(deps, delivery)
    await remove(options, message)
  } catch (thrown) {
    const error = asError(thrown)
    onTrouble(error)
    const { id } = readMessage(delivery)
    const patient = deliveries < patientDeliveries
    try {
      if (!patient && !isTransient(error)) {
        await noteOutcome(deps.pool, [{ id }], { state: 'failed', outcome: error.message })
        await remove(options, message)
      } else {
        await backOff(options, message, deliveries)
      }
      if (deliveries === patientDeliveries || (!patient && !isTransient(error))) {
        deps.onAlarm(`A message of AWS Marketplace cannot be handled: ${error.message}`, { id, deliveries })
      }
    } catch (again) {
      onTrouble(asError(again)) // it comes back into sight by itself
    }
  }
}

const remove = ({ client, queueUrl }: LifecycleQueueOptions, { ReceiptHandle }: Message) =>
  asked('DeleteMessage', client.send(new DeleteMessageCommand({ QueueUrl: queueUrl, ReceiptHandle })))

/** Keeps a message out of sight for 2, 4, 8 … seconds by the number of its deliveries, at most 15 minutes. */
async function backOff({ client, queueUrl }: LifecycleQueueOptions, { ReceiptHandle }: Message, deliveries: number) {
  const VisibilityTimeout = Math.min(2 ** Math.min(deliveries, 20), longestBackOffSeconds)
  const command = new ChangeMessageVisibilityCommand({ QueueUrl: queueUrl, ReceiptHandle, VisibilityTimeout })
  await asked('ChangeMessageVisibility', client.send(command))
}

/** One alarm for each end that nobody could be found for, or that waits for a licence that does not come. */
async function tellOfOverdue(deps: MarketplaceDeps, told: Set<string>): Promise<void> {
  for (const id of await overdueEnds(deps.pool)) {
    if (told.has(id)) continue
    told.add(id)
    deps.onAlarm('An end or renewal in AWS Marketplace has waited for its licence for an hour', { id })
  }
}
