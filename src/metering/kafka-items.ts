/** Messages of the topic → items for the consumer. Pure. */
import type { Fed } from '../relay/feed.ts'
import { parseMessage, type ReceivedMessage, UnreadableMessage } from '../relay/messages.ts'

export interface ReadItems {
  readonly fed: readonly Fed[]
  /** What comes after them, when that is no message of ours. */
  readonly unreadable: UnreadableMessage | null
}

/** Everything up to the first message that cannot be read. */
export function readItems(partition: number, messages: readonly Omit<ReceivedMessage, 'partition'>[]): ReadItems {
  const fed: Fed[] = []
  for (const message of messages) {
    try {
      fed.push({ item: parseMessage({ ...message, partition }), offset: BigInt(message.offset) })
    } catch (thrown) {
      if (thrown instanceof UnreadableMessage) return { fed, unreadable: thrown }
      throw thrown
    }
  }
  return { fed, unreadable: null }
}

/** @throws RangeError for an item of the direct feed, which has none */
export function offsetOf({ offset }: Fed): bigint {
  if (offset === null) throw new RangeError('this item did not come from Kafka')
  return offset
}
