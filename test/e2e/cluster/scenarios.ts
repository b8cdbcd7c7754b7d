/** What is done to a cluster under load, and what must hold afterwards. Each throws when something does not. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { transaction } from '../../../src/postgres/pool.ts'
import { type Agreement, agreement, isRetriable, type Load, type Note, startLoad, tally } from '../../support/load.ts'
import { type Buyer, type Cluster, until } from './cluster.ts'
import type { Outage } from './servers.ts'

export type Say = (line: string) => void

const isAnswered = ({ method, status }: Note) => method === 'POST' && status === 200

/** Waits until so many more checks are answered; returns how long that took, in milliseconds. */
export function served(load: Load, count: number, patienceMs = 120_000): Promise<number> {
  const wanted = load.notes.filter(isAnswered).length + count
  return until(`${count} more checks`, async () => load.notes.filter(isAnswered).length >= wanted, patienceMs)
}

/** Nothing but success, and errors after which the same call may be made again. */
function expectRetriable(notes: readonly Note[]): void {
  const others = notes.filter((note) => note.status !== 200 && !isRetriable(note))
  assert.deepEqual(tally(others), {}, 'what clients may not see')
}

/** Ends the load, lets everything settle and holds clients, log, read models, metering, AWS and the audit together. */
export async function expectAgreement(cluster: Cluster, buyer: Buyer, load: Load): Promise<Agreement> {
  const notes = await load.stop()
  expectRetriable(notes)
  await cluster.settled(buyer)
  const found = agreement(notes, await cluster.events(buyer))
  await cluster.closed(buyer)
  await cluster.verify()
  for (const { name, otherOutput } of cluster.members.values()) {
    assert.deepEqual(otherOutput, [], `${name} writes JSON and nothing else`)
  }
  return found
}

/** Kills, freezes and restarts an instance each under load. */
export async function instancesFail(cluster: Cluster, image: Uint8Array, frozenMs: number, say: Say): Promise<void> {
  const buyer = await cluster.register({ monthlyLimit: 20 })
  const load = startLoad([cluster.url], buyer.primary, image, 6)
  await served(load, 10)

  await cluster.member('api-1').end('SIGKILL')
  await served(load, 10)
  await cluster.start('api-1')
  await served(load, 10)

  cluster.member('api-2').freeze()
  await pause(frozenMs)
  cluster.member('api-2').thaw()
  await served(load, 10)

  await cluster.member('api-3').end('SIGTERM')
  await served(load, 10)
  await cluster.start('api-3')
  await served(load, 10)
  say(
    `an instance killed, frozen for ${frozenMs / 1_000} s, restarted: ${words(await expectAgreement(cluster, buyer, load))}`,
  )
}

/** kill −9 of each server in mid-load. */
export async function serversCrash(cluster: Cluster, image: Uint8Array, say: Say): Promise<void> {
  const buyer = await cluster.register({ monthlyLimit: 20 })
  const load = startLoad([cluster.url], buyer.primary, image, 6)
  for (const server of Object.values(cluster.servers)) {
    await served(load, 10)
    await server.crash()
  }
  await served(load, 20)
  const names = Object.values(cluster.servers).map(({ name }) => name)
  say(`kill −9 of ${names.join(', ')}: ${words(await expectAgreement(cluster, buyer, load))}`)
}

/** The way to the event store swallows answers and breaks connections; an instance is killed with attempts in doubt. */
export async function networkFails(cluster: Cluster, image: Uint8Array, say: Say): Promise<void> {
  const { network } = cluster
  const buyer = await cluster.register({ monthlyLimit: 20 })
  const load = startLoad([cluster.url], buyer.primary, image, 6)
  await served(load, 10)
  network.swallowAnswers()
  await until('somebody is told 503', async () => load.notes.some(({ status }) => status === 503))
  await cluster.member('api-1').end('SIGKILL')
  network.pass()
  await cluster.start('api-1')
  await served(load, 10)
  for (let cuts = 0; cuts < 10; cuts++) {
    network.cut()
    await pause(150)
  }
  await served(load, 10)
  say(`a network that swallows answers and breaks: ${words(await expectAgreement(cluster, buyer, load))}`)
}

export const words = (found: object): string => JSON.stringify(found)

/** What was done to a server, and what its clients saw meanwhile. */
export async function serverIsAway(
  cluster: Cluster,
  image: Uint8Array,
  server: Outage,
  how: 'frozen' | 'stopped',
  awayMs: number,
  say: Say,
): Promise<void> {
  const buyer = await cluster.register({ monthlyLimit: 20 })
  const load = startLoad([cluster.url], buyer.primary, image, 6)
  await served(load, 20)
  const before = load.notes.length
  if (how === 'frozen') server.freeze()
  else await server.stop()
  const since = performance.now()
  await pause(Math.min(awayMs / 2, 20_000))
  const unready = await expectUnready(cluster, server.name === 'Kafka' ? /^(relay|metering)-/ : /./)
  await pause(Math.max(0, awayMs - (performance.now() - since)))
  const meanwhile = load.notes.slice(before)
  if (how === 'frozen') server.thaw()
  else await server.start()
  const recoveredMs = await served(load, 5)
  await served(load, 20)
  if (server.name === 'Kafka') assert.deepEqual(Object.keys(tally(load.notes)).sort(), ['GET 200', 'POST 200'])
  const slowest = Math.max(0, ...meanwhile.filter(isRetriable).map(({ tookMs }) => tookMs))
  const found = await expectAgreement(cluster, buyer, load)
  say(
    `${server.name} ${how} for ${Math.round(awayMs / 1_000)} s: meanwhile ${words(tally(meanwhile))}, the slowest refusal ` +
      `after ${(slowest / 1_000).toFixed(1)} s; served again after ${(recoveredMs / 1_000).toFixed(1)} s; ${unready.join(', ')} ${words(found)}`,
  )
}

/** Every process that needs the server says in time that it is not ready, and why. @param affected their names */
export async function expectUnready(cluster: Cluster, affected: RegExp): Promise<string[]> {
  const reasons = new Set<string>()
  for (const { name, operationsUrl } of cluster.members.values()) {
    if (!affected.test(name)) continue
    const since = performance.now()
    const response = await fetch(`${operationsUrl}/ready`)
    const said = (await response.json()) as { reasons: string[] }
    const tookMs = performance.now() - since
    assert.equal(response.status, 503, `${name} says that it is ready`)
    assert.ok(said.reasons.length > 0 && tookMs < 4_000, `${name} said why after ${tookMs} ms: ${said.reasons}`)
    for (const reason of said.reasons) reasons.add(reason)
  }
  return [...reasons]
}

export interface TakeOver {
  readonly role: string
  readonly from: string
  readonly to: string
  /** Milliseconds from the freeze until another process had the lock, and until its work went on. */
  readonly lockMs: number
  readonly workMs: number
}

export const leaderRoles = ['projections', 'relay', 'metering', 'housekeeping'] as const
export type LeaderRole = (typeof leaderRoles)[number]

/** What a leader of the role has done with what was written at `since` or later. */
async function works(cluster: Cluster, role: LeaderRole, buyer: Buyer, since: Date): Promise<boolean> {
  const { pool } = cluster
  const some = async (text: string, values: unknown[]) => (await pool.query(text, values)).rows.length > 0
  switch (role) {
    case 'projections':
      return some("select 1 from readmodel.generations where state = 'live' and event_created > $1", [since])
    case 'relay':
      return some('select 1 from relay where event_created > $1', [since])
    case 'metering': {
      const events = await cluster.events(buyer)
      const first = events.find(({ created }) => created > since)
      if (first === undefined) return false
      return some('select 1 from metering.customers where customer_id = $1 and revision >= $2', [
        buyer.customerId,
        first.revision,
      ])
    }
    case 'housekeeping':
      return !(await some('select 1 from attempts_in_doubt where recorded_at > $1', [since]))
  }
}

/** Freezes whoever leads these roles, under load, and measures how long it takes until others have gone on. */
export async function leadersFreeze(
  cluster: Cluster,
  buyer: Buyer,
  roles: readonly LeaderRole[],
): Promise<{ readonly frozen: readonly string[]; readonly takeOvers: readonly TakeOver[] }> {
  const leaders = new Map<LeaderRole, string>()
  for (const role of roles) {
    const leader = await cluster.leaderOf(role)
    assert.ok(leader, `nobody leads ${role}`)
    leaders.set(role, leader)
  }
  const frozen = [...new Set(leaders.values())]
  for (const name of frozen) {
    if (name === leaders.get('relay')) await freezeBeforeCheckpoint(cluster, name)
    else await freezeInTransaction(cluster, name)
  }
  const since = new Date()
  const begun = performance.now()
  if (roles.includes('housekeeping')) await leaveDoubt(cluster, buyer)
  const takeOvers = await Promise.all(
    roles.map(async (role): Promise<TakeOver> => {
      const from = leaders.get(role) ?? ''
      let to: string | undefined
      await until(`another leads ${role}`, async () => {
        to = await cluster.leaderOf(role)
        return to !== undefined && to !== from
      })
      const lockMs = performance.now() - begun
      await until(`${role} goes on`, () => works(cluster, role, buyer, since))
      return { role, from, to: to ?? '', lockMs, workMs: performance.now() - begun }
    }),
  )
  return { frozen, takeOvers }
}

/** An attempt in doubt whose place is taken: whoever settles it changes nothing and removes the row. */
async function leaveDoubt(cluster: Cluster, { customerId }: Buyer): Promise<void> {
  await cluster.pool.query(
    `insert into attempts_in_doubt (first_event_id, customer_id, expected_revision, detection_ids)
     values (gen_random_uuid(), $1, 1, '{}')`,
    [customerId],
  )
}

/** In the middle of a transaction where it can be met there: whoever takes over must not wait for its locks. */
async function freezeInTransaction(cluster: Cluster, name: string): Promise<void> {
  const member = cluster.member(name)
  for (let tries = 0; ; tries++) {
    member.freeze()
    if (tries === 100 || (await cluster.transactionsOf(member)) > 0) return
    member.thaw()
    await pause(10)
  }
}

/** Between Kafka's acknowledgement and the checkpoint: whoever takes over sends the batch again. */
async function freezeBeforeCheckpoint(cluster: Cluster, name: string): Promise<void> {
  await transaction(cluster.pool, async (client) => {
    await client.query('select 1 from relay for update')
    await until('the relay waits to write its checkpoint', async () => {
      const { rows } = await cluster.pool.query(
        "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'update relay%'",
      )
      return rows.length > 0
    })
    cluster.member(name).freeze()
  })
}

export const sentence = ({ role, from, to, lockMs, workMs }: TakeOver): string =>
  `${role}: ${to} took over from ${from} after ${(lockMs / 1_000).toFixed(1)} s, its work went on after ${(workMs / 1_000).toFixed(1)} s`

/**
 * Every row of the product's tables, as a digest for each table, and the number of events. `secrets_in_use` is left out:
 * every process that runs says there again and again that it does.
 */
export async function fingerprint(cluster: Cluster): Promise<Record<string, string>> {
  const { rows: tables } = await cluster.pool.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where (schemaname in ('public', 'metering', 'readmodel') or schemaname like 'readmodel\\_%')
       and tablename <> 'secrets_in_use' order by 1`,
  )
  const found: Record<string, string> = {}
  for (const { name } of tables) {
    const { rows } = await cluster.pool.query<{ digest: string }>(
      `select count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '') as digest from ${name} t`,
    )
    found[name] = rows[0]?.digest ?? ''
  }
  let events = 0
  for await (const _ of cluster.store.readAll({ prefixes: ['customer-', 'metering-', 'watermark', 'licence-'] }))
    events += 1
  found.events = String(events)
  return found
}

/** Just after a tick, when nothing is to be done until the next. */
export async function untilQuiet(cluster: Cluster): Promise<void> {
  const ticks = async () => {
    for await (const { revision } of cluster.store.readBackward('watermark', 1)) return revision
    return -1n
  }
  const before = await ticks()
  await until('the next tick', async () => (await ticks()) > before, 90_000)
  let last = ''
  await until('nothing changes any more', async () => {
    const found = JSON.stringify(await fingerprint(cluster))
    const isSame = found === last
    last = found
    if (!isSame) await pause(3_000)
    return isSame
  })
}
