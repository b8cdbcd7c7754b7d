/** Instances are killed in a loop while the hard cap is switched on and off at one of them and calls race at all. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { checkStream } from '../../support/invariants.ts'
import { agreement, bodyOf, call, isRetriable, type Note, tally } from '../../support/load.ts'
import { type Cluster, until } from './cluster.ts'
import { type Say, words } from './scenarios.ts'

/**
 * Clients call the instances themselves, so that nothing is smoothed over. Afterwards the stream is walked event by
 * event: no call past the limit while the cap was on, sequences, keys, funding.
 */
export async function race(cluster: Cluster, image: Uint8Array, forMs: number, say: Say): Promise<void> {
  const buyer = await cluster.register({ monthlyLimit: 40, hardCap: true })
  const body = bodyOf(image)
  const notes: Note[] = []
  const until_ = performance.now() + forMs
  const isOn = () => performance.now() < until_
  let kills = 0
  let toggles = 0

  const client = async (index: number) => {
    for (let turn = index; isOn(); turn++) {
      const name = cluster.apis[turn % cluster.apis.length] ?? ''
      const note = await call(cluster.member(name).url, buyer.primary, turn % 7 === 0 ? null : body)
      notes.push(note)
      if (note.status !== 200) await pause(note.status === 429 ? 20 : 100)
    }
  }
  const toggler = async () => {
    for (let on = false; isOn(); on = !on) {
      await cluster.setCap(buyer, on)
      toggles += 1
      await pause(Math.random() * 1_500)
    }
  }
  const killer = async () => {
    for (let turn = 0; isOn(); turn++) {
      const name = cluster.apis[turn % cluster.apis.length] ?? ''
      await pause(Math.random() * 1_500)
      await cluster.member(name).end('SIGKILL')
      kills += 1
      await cluster.start(name)
    }
  }
  await Promise.all([...Array.from({ length: 6 }, (_, i) => client(i)), toggler(), killer()])
  await cluster.setCap(buyer, false)
  await until('checks are answered again', async () => (await call(cluster.url, buyer.primary, null)).status === 200)

  const others = notes.filter((note) => ![200, 429].includes(note.status ?? 0) && !isRetriable(note))
  assert.deepEqual(tally(others), {}, 'what clients may not see')
  await cluster.settled(buyer)
  const log = await cluster.events(buyer)
  checkStream(log)
  const found = agreement(notes, log)
  await cluster.closed(buyer)
  await cluster.verify()
  say(`${kills} kills and ${toggles} toggles of the cap in ${Math.round(forMs / 1_000)} s: ${words(found)}`)
}
