import { chmod, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  clearRuntime,
  DataDirInUse,
  DataDirUnusable,
  dataDirFault,
  lockDataDir,
  readRuntime,
  writeRuntime,
} from '../../src/data-dir.ts'
import { identityOf, whereabouts } from '../../src/process-identity.ts'
import { startChild } from '../support/child.ts'

const script = new URL('./child.mjs', import.meta.url)
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'liveness-lock-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('a data directory in use refuses with a sentence that names the process, until it is released', async () => {
  const lock = await lockDataDir(join(folder, 'made', 'on', 'demand'))
  const second = lockDataDir(join(folder, 'made', 'on', 'demand'))
  await expect(second).rejects.toThrow(DataDirInUse)
  await expect(second).rejects.toThrow(`is in use by process ${process.pid}. Stop that process first`)
  await lock.release()
  await (await lockDataDir(join(folder, 'made', 'on', 'demand'))).release()
})

test('a data directory that is a file, or lies below one, is refused in words that name the setting', async () => {
  const file = join(folder, 'file')
  await writeFile(file, '')
  await expect(lockDataDir(file)).rejects.toThrow(
    `The data directory ${file} cannot be used: it is a file. DATA_DIR must name a folder that`,
  )
  await expect(lockDataDir(join(file, 'below'))).rejects.toThrow(DataDirUnusable)
  await expect(readRuntime(file)).rejects.toThrow(DataDirUnusable)
})

test.each([
  ['EACCES', 'this user may not write there'],
  ['EROFS', 'its file system is read-only'],
  ['ENOSPC', 'its disk is full'],
])('%s of a data directory is told as: %s', (code, words) => {
  const error = Object.assign(new Error(`${code}: from the system`), { code })
  expect(dataDirFault('/srv/data', error)).toMatchObject({
    message: expect.stringMatching(`^The data directory /srv/data cannot be used: ${words}\\. DATA_DIR must`),
    cause: error,
  })
})

test('a killed holder is succeeded at once, a frozen one is not', async () => {
  const child = startChild(script, ['lock', folder])
  await child.next()
  child.process.kill('SIGSTOP')
  await expect(lockDataDir(folder)).rejects.toThrow(`process ${child.pid}`)
  await child.end('SIGKILL')
  const before = Date.now()
  const lock = await lockDataDir(folder)
  // Without the 7 s that a holder elsewhere is given.
  expect(Date.now() - before).toBeLessThan(5_000)
  await lock.release()
})

test('of many that find a dead holder, one succeeds it', async () => {
  for (let round = 1; round <= 5; round++) {
    const child = startChild(script, ['lock', folder])
    await child.next()
    await child.end('SIGKILL')
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockDataDir(folder)))
    const won = results.filter((result) => result.status === 'fulfilled')
    const refused = results.filter((result) => result.status === 'rejected' && result.reason instanceof DataDirInUse)
    expect([won.length, refused.length]).toEqual([1, 19])
    await won[0]?.value.release()
  }
})

test('a holder in another container keeps its lock while it touches the file, and loses it when it does not', async () => {
  const path = join(folder, 'lock.1')
  await writeFile(path, JSON.stringify({ pid: 1, started: '1', host: 'another boot, another namespace' }))
  const touching = setInterval(() => utimes(path, new Date(), new Date()), 1_000)
  await expect(lockDataDir(folder)).rejects.toThrow('process 1.')
  clearInterval(touching)
  await (await lockDataDir(folder)).release()
})

test('the runtime addresses are for the owner only, and gone with the process that published them', async () => {
  expect(await readRuntime(folder)).toBeNull()
  await chmod(folder, 0o755)
  const runtime = { pid: process.pid, postgresUrl: 'postgres://a', eventStoreUrl: 'esdb://b', httpUrl: 'http://c' }
  await writeRuntime(folder, runtime)
  expect(await readRuntime(folder)).toEqual(runtime)
  expect((await stat(join(folder, 'runtime.json'))).mode & 0o777).toBe(0o600)
  await clearRuntime(folder)
  expect(await readRuntime(folder)).toBeNull()

  const child = startChild(script, ['lock', folder])
  await child.next()
  expect(await readRuntime(folder)).toEqual({ pid: child.pid, httpUrl: 'http://127.0.0.1:8080' })
  await child.end('SIGKILL')
  expect(await readRuntime(folder)).toBeNull()
})

test('a pid given to another process is not taken for the first one', async () => {
  const identity = identityOf()
  if (identity === null) throw new Error('this process is running')
  expect(whereabouts(identity)).toBe('running')
  expect(whereabouts({ ...identity, started: `${identity.started}0` })).toBe('gone')
  expect(await readFile('/proc/self/stat', 'utf8').catch(() => identity.started)).toContain(identity.started)
})
