/** A process that is started while Postgres is away waits for it, says so, and does not loop hot. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect, inject, test } from 'vitest'
import { prepareDatabaseWhenThere } from '../../src/app/prepare.ts'
import { createLogger } from '../../src/http/logging.ts'
import { freshDatabase } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'

function logged() {
  const lines: string[] = []
  const log = createLogger('info', { write: (line) => void lines.push(JSON.parse(line).msg) })
  return { lines, log }
}
const never = () => new AbortController().signal

test('it goes on when Postgres comes, and says once that it waits', async () => {
  const url = new URL(await freshDatabase(inject('postgresUrl')))
  const proxy = await startProxy(Number(url.port))
  url.port = String(proxy.port)
  proxy.refuse()
  const { lines, log } = logged()
  const prepared = prepareDatabaseWhenThere(url.href, log, never())
  const waits = `Postgres at ${url.host} cannot be reached yet: waiting for it`
  await expect.poll(() => lines, { timeout: 20_000 }).toEqual([waits])
  await pause(1_500)
  expect(lines).toHaveLength(1)
  proxy.pass()
  await prepared
  await proxy.stop()
})

test('a stop ends the wait, and what waiting does not cure is thrown at once', async () => {
  const { log } = logged()
  const stop = new AbortController()
  const waiting = prepareDatabaseWhenThere('postgres://nobody@127.0.0.1:1/none', log, stop.signal)
  stop.abort()
  await expect(waiting).rejects.toThrow()
  const wrong = new URL(inject('postgresUrl'))
  wrong.password = 'wrong'
  await expect(prepareDatabaseWhenThere(wrong.href, log, never())).rejects.toThrow(/password/)
})
