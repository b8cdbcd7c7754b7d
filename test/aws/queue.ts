/**
 * An SQS standard queue: at least once, invisible for a while after each delivery, deleted by the handle of the last
 * delivery. Behaviour: Amazon SQS Developer Guide, "visibility timeout", "long polling", "at-least-once delivery".
 */
import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { z } from 'zod'

interface Message {
  readonly id: string
  readonly body: string
  readonly sentAt: number
  visibleAt: number
  received: number
  /** Deliveries still owed, though deleted in between: "on rare occasions" SQS delivers again. */
  owed: number
  handle: string | null
}

export const receiveMessageRequest = z.object({
  QueueUrl: z.string(),
  MaxNumberOfMessages: z.int().min(1).max(10).optional(),
  WaitTimeSeconds: z.int().min(0).max(20).optional(),
  VisibilityTimeout: z.int().min(0).max(43_200).optional(),
  AttributeNames: z.array(z.string()).optional(),
  MessageSystemAttributeNames: z.array(z.string()).optional(),
})
export const changeVisibilityRequest = z.object({
  QueueUrl: z.string(),
  ReceiptHandle: z.string(),
  VisibilityTimeout: z.int().min(0).max(43_200),
})
export const deleteMessageRequest = z.object({ QueueUrl: z.string(), ReceiptHandle: z.string() })

export interface Queue {
  /** @returns the message's id. `deliveries`: how often it comes at least, though deleted each time. */
  send(body: string, options?: { readonly deliveries?: number }): string
  receive(request: z.infer<typeof receiveMessageRequest>, signal: AbortSignal): Promise<object>
  delete(receiptHandle: string): void
  /** Seconds from now until a delivered message comes back into sight. */
  changeVisibility(receiptHandle: string, seconds: number): void
  /** Bodies of all messages that are not deleted, invisible ones included. */
  bodies(): string[]
}

/** How long a delivered message stays invisible unless the caller says otherwise; SQS's own default. */
const visibilitySeconds = 30

export function createQueue(now: () => number): Queue {
  let messages: Message[] = []
  let counter = 0
  const arrivals = new EventEmitter().setMaxListeners(0)

  function take({
    MaxNumberOfMessages = 1,
    VisibilityTimeout = visibilitySeconds,
    ...asked
  }: ReceiveRequest): object[] {
    const wanted = [...(asked.AttributeNames ?? []), ...(asked.MessageSystemAttributeNames ?? [])]
    const visible = messages.filter((one) => one.visibleAt <= now()).slice(0, MaxNumberOfMessages)
    return visible.map((message) => {
      message.received += 1
      message.owed -= 1
      message.visibleAt = now() + VisibilityTimeout * 1000
      message.handle = `${message.id}#${message.received}`
      const attributes = Object.entries({
        ApproximateReceiveCount: String(message.received),
        SentTimestamp: String(message.sentAt),
      }).filter(([attribute]) => wanted.includes('All') || wanted.includes(attribute))
      return {
        MessageId: message.id,
        ReceiptHandle: message.handle,
        MD5OfBody: createHash('md5').update(message.body).digest('hex'),
        Body: message.body,
        ...(attributes.length === 0 ? {} : { Attributes: Object.fromEntries(attributes) }),
      }
    })
  }

  return {
    send(body, { deliveries = 1 } = {}) {
      counter += 1
      const id = `message-${counter}`
      messages.push({ id, body, sentAt: now(), visibleAt: now(), received: 0, owed: deliveries, handle: null })
      arrivals.emit('message')
      return id
    },
    async receive(request, signal) {
      // Waiting is the caller's time, not the simulated one: a virtual clock would never end it.
      const giveUpAt = Date.now() + (request.WaitTimeSeconds ?? 0) * 1000
      for (;;) {
        if (signal.aborted) return {} // nobody is there to take anything
        const Messages = take(request)
        const left = giveUpAt - Date.now()
        if (Messages.length > 0) return { Messages }
        if (left <= 0) return {} // as SQS: no member at all
        // A message may also come back into sight, which nothing announces.
        const timeout = AbortSignal.timeout(Math.min(left, 100))
        await once(arrivals, 'message', { signal: AbortSignal.any([signal, timeout]) }).catch(() => undefined)
      }
    },
    delete(receiptHandle) {
      // "you must use the most recently received ReceiptHandle … otherwise, the request succeeds, but the message will
      // not be deleted" (documentation of DeleteMessage)
      const message = messages.find((one) => one.handle === receiptHandle)
      if (message === undefined) return
      if (message.owed > 0) message.visibleAt = now()
      else messages = messages.filter((one) => one !== message)
    },
    changeVisibility(receiptHandle, seconds) {
      const message = messages.find((one) => one.handle === receiptHandle)
      if (message !== undefined) message.visibleAt = now() + seconds * 1000
    },
    bodies: () => messages.map(({ body }) => body),
  }
}

type ReceiveRequest = z.infer<typeof receiveMessageRequest>
