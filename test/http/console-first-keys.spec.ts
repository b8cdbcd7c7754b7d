/** Keys are shown once, at the end of the activation: what is slow or fails on the way must not cost them. */
import { expect, test } from 'vitest'
import { NotFreshYet } from '../../src/readmodels/freshness.ts'
import { activate, consoleWorld } from './console-identity.ts'

const { start } = consoleWorld()
const isUnavailable = (error: unknown) => error instanceof NotFreshYet

/** Read models that come at the given try. */
const comeAt = (wanted: number) => {
  let tries = 0
  return async () => {
    tries += 1
    if (tries < wanted) throw new NotFreshYet('a rebuild is at work')
  }
}

test('read models that are slow cost no key', async () => {
  const served = await start({ isUnavailable, shows: comeAt(5) })
  const { keys } = await activate(served)
  expect(keys).toHaveLength(2)
  for (const key of keys) expect((await served.check({ key })).statusCode).toBe(200)
})

test('an event store that fails in between costs no key: both are one append', async () => {
  const served = await start()
  let sends = 0
  served.store.onSend = () => ({ requestLost: ++sends > 1 })
  const { keys } = await activate(served)
  expect(keys).toHaveLength(2)
  expect(sends).toBe(1)
})

test('whoever could not be shown their keys in time is told what to do', async () => {
  const served = await start({ isUnavailable, shows: comeAt(Number.POSITIVE_INFINITY) })
  const { browser, shown, keys } = await activate(served)
  expect([shown.status, keys]).toEqual([503, []])
  expect(shown.text).toContain('could not be shown in time. Regenerate each of them')
  await browser.get('/console/first-keys')
  expect((await browser.submit('/console/first-keys')).text).toContain('regenerate one to see a new key')
})
