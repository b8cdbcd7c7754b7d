import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest'
import { holdAdvisoryLock } from '../../src/postgres/leader.ts'
import { listen } from '../../src/postgres/listen.ts'
import { connect } from '../../src/postgres/pool.ts'
import { withSession } from '../../src/postgres/session.ts'
import { startChild } from '../support/child.ts'
import { freshDatabase } from '../support/postgres.ts'

const script = new URL('./child.mjs', import.meta.url)
let url: string
let pool: pg.Pool
let leaving: AbortController

beforeAll(async () => {
  url = await freshDatabase(inject('postgresUrl'))
  pool = connect(url)
})
afterAll(() => pool.end())
beforeEach(() => {
  leaving = new AbortController()
})
afterEach(() => leaving.abort())

/** Ends the server's side of all sessions of that name, as a restart of the server does. */
async function cut(applicationName: string): Promise<number> {
  const { rowCount } = await pool.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1',
    [applicationName],
  )
  return rowCount ?? 0
}

const whenLost = (lost: AbortSignal) => new Promise<void>((resolve) => lost.addEventListener('abort', () => resolve()))

test('a listener hears, connects again when cut off, says so, and hears again', async () => {
  const heard: string[] = []
  const onListening = vi.fn()
  const onError = vi.fn()
  const ended = listen(
    url,
    'News of "the" day',
    { onNotify: (text) => heard.push(text), onListening, onError },
    leaving.signal,
  )
  const notify = (text: string) => pool.query('select pg_notify($1, $2)', ['News of "the" day', text])
  for (let round = 1; round <= 3; round++) {
    await vi.waitFor(() => expect(onListening).toHaveBeenCalledTimes(round), 20_000)
    await notify(`round ${round}`)
    await vi.waitFor(() => expect(heard.at(-1)).toBe(`round ${round}`), 20_000)
    expect(onError).toHaveBeenCalledTimes(round - 1)
    expect(await cut('liveness listen News of "the" day')).toBe(1)
  }
  leaving.abort()
  await ended
  expect(heard).toEqual(['round 1', 'round 2', 'round 3'])
})

test('heartbeats wait for a query that is under way, for pg takes one at a time', async () => {
  const warned = vi.fn()
  process.on('warning', warned)
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  try {
    await withSession(url, 'slow', leaving.signal, async (session) => {
      const slow = session.query<{ slept: string }>('select pg_sleep(0.3)::text as slept')
      vi.advanceTimersByTime(10_000)
      expect((await slow).rows).toEqual([{ slept: '' }])
    })
    expect(warned).not.toHaveBeenCalled()
  } finally {
    vi.useRealTimers()
    process.off('warning', warned)
  }
})

test('one leads at a time, the next one when it leaves or fails', async () => {
  let leading = 0
  const turns: string[] = []
  const errors: unknown[] = []
  const compete = (name: string, signal: AbortSignal, work: (lost: AbortSignal) => Promise<void>) =>
    holdAdvisoryLock(
      url,
      'turns',
      signal,
      async (lost) => {
        expect(++leading).toBe(1)
        turns.push(name)
        try {
          await work(lost)
        } finally {
          leading--
        }
      },
      (error) => errors.push(error),
    )
  const first = new AbortController()
  const a = compete('a', first.signal, whenLost)
  await vi.waitFor(() => expect(turns).toEqual(['a']), 5_000)
  const b = compete('b', leaving.signal, async (lost) => {
    if (turns.filter((name) => name === 'b').length === 1) throw new Error('a mishap')
    await whenLost(lost)
  })
  first.abort()
  await a
  await vi.waitFor(() => expect(turns).toEqual(['a', 'b', 'b']), 10_000)
  expect(errors).toEqual([new Error('a mishap')])
  leaving.abort()
  await b
  expect(leading).toBe(0)
})

test('a leader whose session is ended is told, and competes again', async () => {
  const turns = vi.fn()
  const lostBy = vi.fn()
  const ended = holdAdvisoryLock(
    url,
    'cut',
    leaving.signal,
    async (lost) => {
      turns()
      await whenLost(lost)
      lostBy(leaving.signal.aborted ? 'leaving' : 'loss')
    },
    () => {},
  )
  await vi.waitFor(() => expect(turns).toHaveBeenCalledTimes(1), 5_000)
  expect(await cut('liveness leader cut')).toBe(1)
  await vi.waitFor(() => expect(turns).toHaveBeenCalledTimes(2), 5_000)
  leaving.abort()
  await ended
  expect(lostBy.mock.calls).toEqual([['loss'], ['leaving']])
})

test('a frozen leader is succeeded within 15 s, and finds out when it wakes up', { timeout: 60_000 }, async () => {
  const frozen = startChild(script, ['lead', url, 'frozen'])
  try {
    expect(await frozen.next()).toEqual({ leads: true })
    let leads = false
    const ended = holdAdvisoryLock(url, 'frozen', leaving.signal, async (lost) => {
      leads = true
      await whenLost(lost)
    })
    frozen.process.kill('SIGSTOP')
    const since = Date.now()
    await vi.waitFor(() => expect(leads).toBe(true), { timeout: 15_000, interval: 100 })
    expect(Date.now() - since).toBeGreaterThan(5_000) // it was the silence that ended it
    frozen.process.kill('SIGCONT')
    expect(await frozen.next()).toEqual({ leads: false })
    leaving.abort()
    await ended
    expect(await frozen.next()).toEqual({ leads: true })
  } finally {
    await frozen.end('SIGKILL')
  }
})
