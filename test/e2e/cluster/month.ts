/** A month's end in the middle of a load, over every process: each call in one month, credits anew, hours to AWS. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { checkStream } from '../../support/invariants.ts'
import { agreement, isRetriable, type Load, startLoad, tally } from '../../support/load.ts'
import { type Buyer, type Cluster, until } from './cluster.ts'
import { expectAgreement, type Say, served, words } from './scenarios.ts'

/** The day before it is a 29th of February. */
export const boundary = Date.parse('2028-03-01T00:00:00.000Z')
const [lastHour, firstHour] = ['2028-02-29T23', '2028-03-01T00']
const perMonth = 8
/** So long before midnight the load begins, in milliseconds. */
const leadMs = 40_000

export async function month(cluster: Cluster, image: Uint8Array, say: Say): Promise<void> {
  const buyer = await cluster.register({ monthlyLimit: perMonth })
  const capped = await cluster.register({ monthlyLimit: perMonth, hardCap: true })
  const idle = await cluster.register({ monthlyLimit: perMonth })
  const before = boundary - cluster.now()
  assert.ok(before > leadMs, `the processes took too long to start: ${before} ms are left to the month's end`)
  say(`the month ends in ${Math.round(before / 1_000)} s`)
  await pause(before - leadMs)

  const load = startLoad([cluster.url], buyer.primary, image, 4)
  const cappedLoad = startLoad([cluster.url], capped.primary, image, 2)
  await until('the cap holds before midnight', async () => isRefused(cappedLoad, perMonth))
  await served(load, perMonth)
  assert.ok(cluster.now() < boundary, 'the month ended before its credits did')
  await pause(boundary - cluster.now())
  await served(load, 2 * perMonth)
  await until('the cap holds after midnight', async () => isRefused(cappedLoad, 2 * perMonth))
  await opened(cluster, idle)

  const notes = await cappedLoad.stop()
  const others = notes.filter((note) => ![200, 429].includes(note.status ?? 0) && !isRetriable(note))
  assert.deepEqual([tally(others), tally(notes)['POST 200']], [{}, 2 * perMonth])
  const cappedLog = await cluster.events(capped)
  checkStream(cappedLog)
  say(`hard cap, ${perMonth} credits a month: ${words(agreement(notes, cappedLog))}`)

  await load.stop()
  const log = await cluster.events(buyer)
  checkStream(log)
  const soldIn = (yearMonth: string) =>
    log.filter(({ type, data }) => {
      const detection = data as { yearMonth: string; funding: string }
      return type === 'DetectionSucceeded' && detection.yearMonth === yearMonth && detection.funding === 'overage'
    }).length
  const sold = { [lastHour]: soldIn('2028-02'), [firstHour]: soldIn('2028-03') }
  assert.ok(
    Object.values(sold).every((count) => count > 0),
    `overage on both sides of midnight: ${words(sold)}`,
  )
  // The old month's last hour goes to AWS by its watermark, without an end of anything.
  const billed = async () => {
    const ofBuyer = (await cluster.aws.ledger()).filter(
      ({ subscriptionId }) => subscriptionId === buyer.licence.licenceArn,
    )
    return Object.fromEntries(ofBuyer.map(({ hour, quantity }) => [hour.slice(0, 13), quantity]))
  }
  await until('the last hour is billed', async () => (await billed())[lastHour] === sold[lastHour], 300_000)
  const found = await expectAgreement(cluster, buyer, load)
  assert.deepEqual(await billed(), sold)
  say(`a month's end under load: ${words(found)}, overage to AWS ${words(sold)}`)
}

/** So many calls were answered, and the last one was refused. */
const isRefused = ({ notes }: Load, answered: number) =>
  notes.filter(({ method, status }) => method === 'POST' && status === 200).length === answered &&
  notes.at(-1)?.status === 429

/** A leader opens the month of a customer who does not call. */
const opened = (cluster: Cluster, idle: Buyer) =>
  until('the idle customer has the new month', async () => {
    const months = (await cluster.events(idle)).map(({ data }) => (data as { yearMonth?: string }).yearMonth)
    return months.includes('2028-03')
  })
