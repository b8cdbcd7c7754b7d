/**
 * kill −9 in mid-load, from outside, on the embedded stack: what the clients were told is held against the log, the
 * read models against a replay. `CHAOS_ROUNDS` makes it longer (npm run soak).
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { reachableFolder } from '../support/folder.ts'
import { agreement, startLoad } from '../support/load.ts'
import { freePort } from '../support/ports.ts'
import { childrenOf } from '../support/processes.ts'
import { createCustomer, eventsOf, face, liveness, type Running, startProduct, usage } from '../support/product.ts'

const rounds = Number(process.env.CHAOS_ROUNDS ?? 1)
const folder = reachableFolder('liveness-chaos-')

describe('kill −9 in mid-load', () => {
  let app: Running
  afterAll(async () => {
    await app?.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  test(
    'of the application, the event store and Postgres: log and clients agree, read models equal a replay',
    async () => {
      const env = {
        DATA_DIR: join(folder, 'data'),
        PORT: String(await freePort()),
        RATE_LIMIT: '10000',
        MODEL_SET: 'own', // the verdict means nothing here, and it is the faster one
      }
      app = await startProduct(env)
      const { customer_id, keys } = await createCustomer(env, '--plan', 'standard', '--limit', '100')
      const load = startLoad([app.url], keys.primary, face, 6)
      const served = async (count: number) => {
        const answered = () => load.notes.filter(({ method, status }) => method === 'POST' && status === 200).length
        const wanted = answered() + count
        const deadline = Date.now() + 60_000
        while (answered() < wanted) {
          if (Date.now() > deadline) throw new Error(`no more answers:\n${app.output().slice(-4_000)}`)
          await pause(20)
        }
      }
      for (let round = 0; round < rounds; round++) {
        for (const victim of [/eventstore/, /postgres/]) {
          await served(10)
          const pids = childrenOf(app.process.pid, victim)
          expect(pids).toHaveLength(1)
          for (const pid of pids) process.kill(pid, 'SIGKILL')
        }
        await served(10)
        await app.kill('SIGKILL')
        app = await startProduct(env)
      }
      await served(10)
      const notes = await load.stop()

      // Doubts settle by themselves; a call afterwards sees a settled stream.
      await expect.poll(async () => (await usage(app.url, keys.primary)).status, { timeout: 30_000 }).toBe(200)
      const settled = await usage(app.url, keys.primary)
      const log = await eventsOf(env, customer_id)
      const found = agreement(notes, log)
      console.info('kill −9 in mid-load', found)
      expect(settled.body.data.total_calls).toBe(found.billed)

      const before = await liveness(env, 'usage', customer_id, '--json')
      await liveness(env, 'projections', 'rebuild')
      expect(await liveness(env, 'usage', customer_id, '--json')).toBe(before)
    },
    120_000 + rounds * 60_000,
  )
})
