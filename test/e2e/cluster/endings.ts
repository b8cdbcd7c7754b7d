/** Processes that are stopped, or started, while a server is away. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { call } from '../../support/load.ts'
import { type Cluster, until } from './cluster.ts'
import { untilStarted } from './members.ts'
import type { Say } from './scenarios.ts'

/** What an orchestrator should grant a process between SIGTERM and SIGKILL, in milliseconds. */
const graceMs = 45_000

/** SIGTERM while each server hangs: every kind of process ends in order and in time. */
export async function endWhileAway(cluster: Cluster, names: readonly string[], say: Say): Promise<void> {
  for (const server of Object.values(cluster.servers)) {
    server.freeze()
    await pause(3_000) // until whatever goes on by itself has met it
    const ended = await Promise.all(
      names.map(async (name) => {
        const member = cluster.member(name)
        const tookMs = await member.end('SIGTERM')
        assert.equal(member.process.exitCode, 0, `${name} ended with ${member.process.exitCode}`)
        assert.ok(tookMs < graceMs, `${name} took ${tookMs} ms to stop while ${server.name} hung`)
        return `${name} ${(tookMs / 1_000).toFixed(1)} s`
      }),
    )
    server.thaw()
    say(`SIGTERM while ${server.name} hangs: ${ended.join(', ')}`)
    await Promise.all(names.map((name) => cluster.start(name)))
  }
}

/** Started while Postgres is stopped: they wait, say so in a sentence, use no processor, and go on when it is there. */
export async function startWhileAway(cluster: Cluster, names: readonly string[], say: Say): Promise<void> {
  const { postgres } = cluster.servers
  const buyer = await cluster.register({ monthlyLimit: 10 })
  await Promise.all(names.map((name) => cluster.member(name).end('SIGKILL')))
  await postgres.stop()
  const members = await Promise.all(names.map((name) => cluster.launch(name)))
  for (const { name, lines } of members) {
    const said = () => lines.some(({ msg }) => /^Postgres at .* cannot be reached yet: waiting for it$/.test(msg))
    await until(`${name} says that it waits`, async () => said(), 120_000)
  }
  const before = members.map(({ lines }) => lines.length)
  await pause(10_000)
  for (const [i, { name, lines, process }] of members.entries()) {
    assert.equal(process.exitCode, null, `${name} ended`)
    assert.ok(lines.length - (before[i] ?? 0) <= 1, `${name} wrote ${lines.length} lines while it waited`)
  }
  await postgres.start()
  const tookMs = await Promise.all(
    members.map((member) => until(`${member.name} started`, async () => Boolean(await untilStarted(member)), 180_000)),
  )
  await until('it serves', async () => (await call(cluster.url, buyer.primary, null)).status === 200)
  say(
    `started while Postgres was stopped: ${names.join(', ')} waited, and started ${Math.round(Math.max(...tookMs))} ms after it`,
  )
}
