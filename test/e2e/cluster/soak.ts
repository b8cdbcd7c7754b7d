/**
 * The whole proof, three quarters of an hour: `npm run soak:instances [-- SCENARIO…]`.
 * Freezes last 30 s and outages a minute; `liveness audit verify` judges after each.
 * A scenario is picked by the beginning of its name: `leaders` for all four, `leaders-relay`.
 */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { startLoad } from '../../support/load.ts'
import { photograph } from '../../support/product.ts'
import { startCluster } from './cluster.ts'
import { concurrency } from './concurrency.ts'
import { endWhileAway, startWhileAway } from './endings.ts'
import { boundary, month } from './month.ts'
import { race } from './race.ts'
import {
  expectAgreement,
  fingerprint,
  instancesFail,
  leaderRoles,
  leadersFreeze,
  networkFails,
  type Say,
  sentence,
  served,
  serverIsAway,
  serversCrash,
  untilQuiet,
  words,
} from './scenarios.ts'

/** What nine processes and four servers take to start on a busy machine, and some more. */
const startMs = 360_000
const frozenMs = 30_000
const awayMs = 60_000
const raceMs = Number(process.env.RACE_MINUTES ?? 5) * 60_000
const wanted = process.argv.slice(2)
const image = photograph('live/t1.jpg')
const say: Say = (line) => console.info(`${new Date().toISOString().slice(11, 19)} ${line}`)

const workers = {
  'projections-1': 'projections',
  'relay-1': 'relay',
  'metering-1': 'metering',
  'projections-2': 'projections',
  'relay-2': 'relay',
  'metering-2': 'metering',
}
/** A month's end needs a clock of its own, and everybody started before it. */
const passesMonth = wanted.length === 0 || wanted.includes('month')
const cluster = await startCluster(workers, passesMonth ? boundary - startMs - Date.now() : 0)
say(`started: ${[...cluster.members.keys()].join(', ')} behind a balancer`)

const { eventStore, postgres, kafka } = cluster.servers
const scenarios: Record<string, () => Promise<void>> = {
  month: () => month(cluster, image, say),
  concurrency: () => concurrency(cluster, image, say),
  network: () => networkFails(cluster, image, say),
  crashes: () => serversCrash(cluster, image, say),
  instances: () => instancesFail(cluster, image, frozenMs, say),
  ...Object.fromEntries(leaderRoles.map((role) => [`leaders-${role}`, () => leaderSleeps(role)])),
  'event-store': () => outages(eventStore),
  postgres: () => outages(postgres),
  kafka: () => outages(kafka),
  endings: async () => {
    const names = ['api-3', 'projections-2', 'relay-2', 'metering-2']
    await endWhileAway(cluster, names, say)
    await startWhileAway(cluster, names, say)
  },
  race: () => race(cluster, image, raceMs, say),
}

async function outages(server: typeof postgres | typeof eventStore | typeof kafka): Promise<void> {
  for (const how of ['frozen', 'stopped'] as const) await serverIsAway(cluster, image, server, how, awayMs, say)
}

/** A leader that wakes up changes no row and no event. */
async function leaderSleeps(role: (typeof leaderRoles)[number]): Promise<void> {
  const buyer = await cluster.register({ monthlyLimit: 20 })
  const load = startLoad([cluster.url], buyer.primary, image, 4)
  await served(load, 20)
  const { frozen, takeOvers } = await leadersFreeze(cluster, buyer, [role])
  for (const takeOver of takeOvers) {
    say(sentence(takeOver))
    assert.ok(takeOver.workMs < 15_000, 'taken over within 15 s')
  }
  await served(load, 10)
  const notes = load.notes.length
  await pause(frozenMs / 3)
  await load.stop()
  await untilQuiet(cluster)
  const before = await fingerprint(cluster)
  for (const name of frozen) cluster.member(name).thaw()
  await pause(8_000)
  assert.deepEqual(await fingerprint(cluster), before, `${frozen.join(', ')} woke up and changed something`)
  say(`${frozen.join(', ')} woke up and changed no row and no event (${notes} calls meanwhile)`)
  if (role === 'relay') {
    const { events, repeated } = await cluster.topic()
    assert.ok(repeated > 0, 'a relay that slept before its checkpoint leaves messages that come again')
    say(`the topic holds ${events} events, ${repeated} of them again`)
  }
  say(words(await expectAgreement(cluster, buyer, load)))
}

/** The servers run and every process is there, whatever a scenario that failed left behind. */
async function restore(): Promise<void> {
  cluster.network.pass()
  for (const server of Object.values(cluster.servers)) server.thaw()
  for (const [name, member] of cluster.members) {
    member.thaw()
    if (member.process.exitCode !== null || member.process.signalCode !== null) await cluster.start(name)
  }
}

try {
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (wanted.length > 0 && !wanted.some((start) => name.startsWith(start))) continue
    say(`— ${name}`)
    try {
      await scenario()
    } catch (error) {
      process.exitCode = 1
      say(`${name} FAILED: ${error instanceof Error ? error.stack : error}`)
      for (const { name, lines, otherOutput } of cluster.members.values()) {
        const loud = lines.filter(({ level }) => level >= 40).slice(-8)
        const last = [...loud.map((line) => JSON.stringify(line).slice(0, 400)), ...otherOutput]
        console.error(`\n${name}:\n${last.join('\n')}`)
      }
      await restore()
    }
  }
} finally {
  await cluster.stop()
}
say(process.exitCode === 1 ? 'FAILED' : 'everything agreed')
