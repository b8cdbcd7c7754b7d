/** The stand-in's SQS queue, through the real SDK client. Quoted: Amazon SQS Developer Guide and API reference. */
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  type ReceiveMessageRequest,
} from '@aws-sdk/client-sqs'
import { expect, test } from 'vitest'
import { queueClient } from '../../src/marketplace/aws.ts'
import { givenAws } from './support.ts'

async function givenQueue() {
  const { aws, setClock } = await givenAws('2026-08-10T12:00:00.000Z')
  const client = await queueClient(aws.queueUrl, 'us-east-1')
  const receive = async (input: Partial<ReceiveMessageRequest> = {}) =>
    (await client.send(new ReceiveMessageCommand({ QueueUrl: aws.queueUrl, ...input }))).Messages
  const remove = ({ ReceiptHandle }: Message) =>
    client.send(new DeleteMessageCommand({ QueueUrl: aws.queueUrl, ReceiptHandle }))
  return { aws, setClock, client, receive, remove }
}
const only = (messages: Message[] | undefined): Message => {
  const [message] = messages ?? []
  if (message === undefined) throw new Error('no message came')
  return message
}

test('a message is delivered with the checksum the SDK checks, and is gone once deleted', async () => {
  const { aws, receive, remove, setClock } = await givenQueue()
  aws.sendMessage('{"über": 1}')
  const message = only(await receive({ MessageSystemAttributeNames: ['ApproximateReceiveCount'] }))
  expect(message).toMatchObject({ Body: '{"über": 1}', Attributes: { ApproximateReceiveCount: '1' } })
  await remove(message)
  setClock('2026-08-10T13:00:00.000Z')
  expect(await receive()).toBeUndefined()
  expect(aws.queuedMessages()).toEqual([])
})

test('visibility timeout: a message that nobody deletes comes again after 30 seconds, with another handle', async () => {
  const { aws, receive, setClock } = await givenQueue()
  aws.sendMessage('m')
  const first = only(await receive())
  setClock('2026-08-10T12:00:29.999Z')
  expect(await receive()).toBeUndefined()
  setClock('2026-08-10T12:00:30.000Z')
  const second = only(await receive())
  expect(second.MessageId).toBe(first.MessageId)
  expect(second.ReceiptHandle).not.toBe(first.ReceiptHandle)
})

test('"if you don\'t use the most recent receipt handle, the request succeeds, but the message might not be deleted"', async () => {
  const { aws, receive, remove, setClock } = await givenQueue()
  aws.sendMessage('m')
  const first = only(await receive())
  setClock('2026-08-10T12:01:00.000Z')
  const second = only(await receive())
  await remove(first)
  expect(aws.queuedMessages()).toEqual(['m'])
  await remove(second)
  expect(aws.queuedMessages()).toEqual([])
})

test('"at-least-once delivery": a message may come again although it was deleted', async () => {
  const { aws, receive, remove } = await givenQueue()
  aws.sendMessage('m', { deliveries: 2 })
  const first = only(await receive())
  await remove(first)
  const again = only(await receive())
  expect(again.MessageId).toBe(first.MessageId)
  await remove(again)
  expect(aws.queuedMessages()).toEqual([])
})

test('long polling waits for a message, and at most 10 come at once', async () => {
  const { aws, receive } = await givenQueue()
  const waiting = receive({ WaitTimeSeconds: 20, MaxNumberOfMessages: 10 })
  await expect.poll(() => aws.calls.map(({ outcome }) => outcome)).toEqual(['waiting'])
  aws.sendMessage('late')
  expect(only(await waiting).Body).toBe('late')
  for (let place = 0; place < 12; place += 1) aws.sendMessage(String(place))
  expect(await receive({ MaxNumberOfMessages: 10 })).toHaveLength(10)
})

test('a queue that does not exist', async () => {
  const { receive, aws } = await givenQueue()
  const elsewhere = receive({ QueueUrl: `${aws.url}/000000000000/none` })
  await expect(elsewhere).rejects.toMatchObject({ name: 'QueueDoesNotExist' })
})

test('ChangeMessageVisibility: a message comes into sight so many seconds from now', async () => {
  const { aws, receive, setClock, client } = await givenQueue()
  aws.sendMessage('m')
  const { ReceiptHandle } = only(await receive())
  await client.send(
    new ChangeMessageVisibilityCommand({ QueueUrl: aws.queueUrl, ReceiptHandle, VisibilityTimeout: 300 }),
  )
  setClock('2026-08-10T12:04:59.999Z')
  expect(await receive()).toBeUndefined()
  setClock('2026-08-10T12:05:00.000Z')
  only(await receive())
})
