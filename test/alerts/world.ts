/** Customers with accounts, their log folded into a Postgres of the test's own, and letters kept in memory. */
import { afterEach, beforeEach } from 'vitest'
import { decideAlerts } from '../../src/alerts/decide.ts'
import { monthsWorthALetter } from '../../src/alerts/rule.ts'
import { type Attempt, sendNextAlert } from '../../src/alerts/send.ts'
import type { Letter } from '../../src/mail/mail.ts'
import { ensureReadModels } from '../../src/projections/generations.ts'
import { type Database, openDatabase, projectAll } from '../projections/support.ts'
import { createPlayer, type Step } from '../support/histories.ts'
import { createMemoryStore } from '../support/memory-store.ts'

export const publicUrl = 'https://liveness.example'
export const emailOf = (customer: number) => `customer-${customer}@example.com`

/** Steps of customer `who`, a minute apart. */
export const step = (action: Step['action'], who = 0, minutes = 1): Step => ({ customer: who, minutes, action })
export const detections = (count: number, who = 0): Step[] =>
  Array.from({ length: count }, () => step({ kind: 'detect', key: undefined }, who))
export const limitOf = (limit: number, who = 0): Step => step({ kind: 'setPlan', plan: 'standard', limit }, who)

export function alertsWorld(start = '2026-01-10T08:00:00.000Z') {
  let database: Database
  let log = createMemoryStore()
  let player = createPlayer(log, start)
  const world = {
    letters: [] as Letter[],
    /** What becomes of a letter that is handed to the mail server. */
    deliver: async (_: Letter) => {},
    get pool() {
      return database.pool
    },
    get databaseUrl() {
      return database.url
    },
    get now() {
      return player.now
    },
    mail: {
      async send(letter: Letter) {
        await world.deliver(letter)
        world.letters.push(letter)
      },
    },
    /** Appends to the log without folding it. */
    write: (...steps: Step[]) => player.play(steps),
    async play(...steps: Step[]) {
      await player.play(steps)
      await projectAll(database.pool, log)
    },
    customerId(who = 0): string {
      const found = player.customers()[who]
      if (found === undefined) throw new Error(`customer ${who} is not registered`)
      return found.id
    },
    async account(who = 0) {
      await database.pool.query('insert into accounts (customer_id, email) values ($1, $2)', [
        world.customerId(who),
        emailOf(who),
      ])
    },
    /** Customer `who` with an account and 10 credits. */
    async registered(who = 0) {
      await world.play(limitOf(10, who))
      await world.account(who)
    },
    setAlerts: (on: boolean, who = 0) =>
      database.pool.query('update accounts set alerts_enabled = $2 where customer_id = $1', [
        world.customerId(who),
        on,
      ]),
    decide: (customers: ReadonlySet<string> | 'all' = 'all', settleMs = 0) =>
      decideAlerts(database.pool, { months: monthsWorthALetter(player.now), customers, settleMs }),
    sendNext: () => sendNextAlert({ pool: database.pool, mail: world.mail, publicUrl }, player.now),
    /** Decides, then sends until nothing is due. */
    async round(): Promise<Attempt[]> {
      await world.decide()
      const made: Attempt[] = []
      for (let next = await world.sendNext(); next !== null; next = await world.sendNext()) made.push(next)
      return made
    },
    subjects: () => world.letters.map(({ subject }) => subject),
    /** Kind and state of each row, in the order decided. */
    async rows(): Promise<string[]> {
      const { rows } = await database.pool.query<{ row: string }>(
        `select year_month || ' ' || kind || ' ' || state as row from usage_alerts order by decided_at, next_try_at`,
      )
      return rows.map(({ row }) => row)
    },
    /** Lets the pause after a try pass. */
    waitOver: () => database.pool.query("update usage_alerts set next_try_at = clock_timestamp() where state = 'due'"),
  }
  beforeEach(async () => {
    database = await openDatabase()
    await ensureReadModels(database.pool)
    log = createMemoryStore()
    player = createPlayer(log, start)
    world.letters.length = 0
    world.deliver = async () => {}
  })
  afterEach(() => database.close())
  return world
}
