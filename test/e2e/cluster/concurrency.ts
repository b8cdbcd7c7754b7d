/** What one process keeps in one customer's stream, three keep as well: caps, keys, idempotency keys, and one request id. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { agreement, bodyOf, call, insist, type Note, tally } from '../../support/load.ts'
import { type Buyer, type Cluster, until } from './cluster.ts'
import type { Line } from './members.ts'
import { type Say, words } from './scenarios.ts'

export async function concurrency(cluster: Cluster, image: Uint8Array, say: Say): Promise<void> {
  const body = bodyOf(image)
  const urls = () => cluster.apis.map((name) => cluster.member(name).url)
  const everywhere = (key: string, headers = {}) => Promise.all(urls().map((url) => call(url, key, body, headers)))
  const expectStatuses = (notes: readonly Note[], status: number) =>
    assert.deepEqual(
      notes.map((note) => note.status),
      notes.map(() => status),
    )

  // 200 racing checks on 50 credits with the cap ON. On a busy machine some are told 503 first, and ask again.
  const capped = await cluster.register({ monthlyLimit: 50, hardCap: true })
  const racing = Array.from({ length: 200 }, (_, i) => insist(urls()[i % 3] ?? '', capped.primary, body))
  const notes = (await Promise.all(racing)).flat()
  const told = tally(notes)
  assert.deepEqual([told['POST 200'], told['POST 429']], [50, 150])
  say(`200 checks at once on 50 credits: ${words(agreement(notes, await cluster.events(capped)))}`)

  // A cap switched and a key regenerated elsewhere bind every instance on the next request.
  const buyer = await cluster.register({ monthlyLimit: 1 })
  expectStatuses(await everywhere(buyer.primary), 200) // two of them overage
  await cluster.setCap(buyer, true)
  expectStatuses(await everywhere(buyer.primary), 429)
  await cluster.setCap(buyer, false)
  expectStatuses(await everywhere(buyer.primary), 200)
  await cluster.regenerate(buyer)
  expectStatuses(await everywhere(buyer.primary), 401)
  expectStatuses(await everywhere(buyer.secondary), 200)
  say('cap and key bind all three instances on the next request')

  const keyed = await cluster.register({ monthlyLimit: 100 })
  const same = await everywhere(keyed.primary, { 'Idempotency-Key': randomUUID() })
  const answered = same.filter(({ status }) => status === 200)
  assert.equal(new Set(answered.map((note) => JSON.stringify(note.body.data))).size, 1)
  const billed = (await cluster.events(keyed)).filter(({ type }) => type === 'DetectionSucceeded')
  assert.equal(billed.length, 1, 'one idempotency key bills once')
  say('one idempotency key at all three at once bills once')
  await followed(cluster, keyed, body, image, say)
}

/** A request id is followed from the answer through the logs of API, relay and metering to the event. */
async function followed(cluster: Cluster, buyer: Buyer, body: string, image: Uint8Array, say: Say): Promise<void> {
  const { status, requestId } = await call(cluster.url, buyer.primary, body)
  assert.equal(status, 200)
  const members = [...cluster.members.values()]
  const linesOf = (role: string): Line[] =>
    members.flatMap(({ lines }) => lines.filter((line) => line.role === role && line.requestId === requestId))
  const [caused] = (await cluster.events(buyer)).filter(
    ({ metadata }) => (metadata as { correlationId: string }).correlationId === requestId,
  )
  assert.equal(caused?.type, 'DetectionSucceeded')
  await until('the relay speaks of it', async () => linesOf('relay').length > 0)
  await until('metering speaks of it', async () => linesOf('metering').length > 0)
  assert.ok(linesOf('api').some(({ msg }) => msg === 'answered'))
  for (const line of [...linesOf('relay'), ...linesOf('metering')]) {
    assert.deepEqual([line.stream, line.revision, line.eventId], [caused.stream, `${caused.revision}`, caused.id])
  }
  for (const { name, lines } of members) {
    const bare = lines.filter(({ role, instance }) => typeof role !== 'string' || typeof instance !== 'string')
    assert.deepEqual(bare, [], `${name} says who speaks`)
    const text = JSON.stringify(lines)
    assert.ok(!text.includes(buyer.primary), 'no key in a log')
    assert.ok(!text.includes(Buffer.from(image).toString('base64').slice(0, 64)), 'no image in a log')
  }
  say('a request id is found in the answer, in the lines of API, relay and metering, and in the event')
}
