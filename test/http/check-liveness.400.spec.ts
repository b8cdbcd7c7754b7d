import { expect, test } from 'vitest'
import { InvalidImage } from '../../src/inference/image-format.ts'
import { createWorld, errorOf, image } from './harness.ts'

const world = await createWorld()

test.each([
  ['an empty object', {}, 'image: must be a string of Base64'],
  ['an array', [], 'the request body must be a JSON object'],
  ['null', 'null', 'the request body must be a JSON object'],
  ['no body', '', 'The request body is empty.'],
  ['invalid JSON', '{"image": ', 'The request body is not valid JSON.'],
  ['a poisoned prototype', `{"__proto__": {}, "image": "${image}"}`, 'The request body is not valid JSON.'],
  ['a number as image', { image: 7, image_format: 'jpeg' }, 'image: must be a string of Base64'],
  ['an empty image', { image: '', image_format: 'jpeg' }, 'image: must not be empty'],
  ['another format', { image, image_format: 'gif' }, 'image_format: must be "jpeg" or "png"'],
  ['no format', { image }, 'image_format: must be "jpeg" or "png"'],
  [
    'Base64 with line ends',
    { image: `${image}\n`, image_format: 'jpeg' },
    'image: must be standard Base64, on one line and without "data:…," before it',
  ],
  ['a data URL', { image: `data:image/jpeg;base64,${image}`, image_format: 'jpeg' }, /without "data:…," before it$/],
  ['one character above 10 MB', { image: 'A'.repeat(10 * 1024 * 1024 + 4), image_format: 'jpeg' }, /at most 10 MB/],
  ['an 11 MB string', { image: 'A'.repeat(11 * 1024 * 1024), image_format: 'jpeg' }, /at most 10 MB/],
  ['a 21 MB string', { image: 'A'.repeat(21 * 1024 * 1024), image_format: 'jpeg' }, /too large/],
])('%s is an invalid request, with the customer’s counters', async (_, body, message) => {
  const { check } = await world.instance()
  const answer = errorOf(await check({ body, headers: { 'content-type': 'application/json' } }))
  expect(answer).toMatchObject({ status: 400, code: 'invalid_request' })
  expect(answer.message).toMatch(message)
  expect(answer.metadata).toEqual({
    date: world.now(),
    ver: '1.2.3',
    customer_id: world.customerId,
    remaining_calls: 5_000,
    over_limit_calls: 0,
    status: 'error',
  })
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(0)
  expect(world.inferences).toBe(0)
})

test('exactly 10 MB of Base64 is accepted', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  const body = { image: 'A'.repeat(10 * 1024 * 1024), image_format: 'png' }
  expect((await check({ body })).statusCode).toBe(200)
})

test.each([
  ['+ as .NET does', '+', '\\u002B'],
  ['/ as PHP does', '/', '\\/'],
])('10 MB of Base64 are accepted in JSON that escapes %s', async (_, character, escaped) => {
  const world = await createWorld()
  const { check } = await world.instance()
  const everyCharacter = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  const image = everyCharacter.replace(character, escaped).repeat((10 * 1024 * 1024) / 64)
  const body = `{"image": "${image}", "image_format": "png"}`
  const response = await check({ body, headers: { 'content-type': 'application/json' } })
  expect([response.statusCode, response.json().error]).toEqual([200, undefined])
})

test.each(['text/plain', 'application/xml', 'multipart/form-data; boundary=x', 'nonsense'])(
  'content type %s is an invalid request',
  async (type) => {
    const { check } = await world.instance()
    const answer = errorOf(await check({ body: JSON.stringify({ image }), headers: { 'content-type': type } }))
    expect(answer).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(answer.message).toBe('The Content-Type must be application/json.')
  },
)

test('an image that cannot be judged is invalid_image with the inference’s sentence, and is not billed', async () => {
  const world = await createWorld()
  const { check } = await world.instance()
  await check()
  world.infer = async () => {
    throw new InvalidImage('No face was detected')
  }
  const answer = errorOf(await check())
  expect(answer).toMatchObject({ status: 400, code: 'invalid_image', message: 'No face was detected' })
  expect(answer.metadata).toMatchObject({ customer_id: world.customerId, remaining_calls: 4_999 })
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(1)
})

test.each(['', 'with blank', 'ü', 'x'.repeat(256)])('the Idempotency-Key %j is refused', async (key) => {
  const { check } = await world.instance()
  const answer = errorOf(await check({ headers: { 'idempotency-key': key } }))
  expect(answer).toMatchObject({ status: 400, code: 'invalid_request' })
  expect(answer.message).toBe('idempotency-key: must be 1 to 255 visible ASCII characters')
})
