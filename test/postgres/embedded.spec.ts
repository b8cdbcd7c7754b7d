import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, cp, lstat, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { packageRoot } from '../../src/built.ts'
import { findBinaries, platformPackage } from '../../src/postgres/binaries.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/postgres/embedded.ts'
import { connect } from '../../src/postgres/pool.ts'
import { canEnter, chooseServerUser, isRoot } from '../../src/postgres/server-user.ts'
import { identityOf } from '../../src/process-identity.ts'
import { startChild } from '../support/child.ts'

const script = new URL('./child.mjs', import.meta.url)
const user = chooseServerUser('/nonexistent')
let folder: string
let toStop: EmbeddedPostgres[]

async function start(dataDir = folder, options: { onExit?: (how: string) => void; log?: (line: string) => void } = {}) {
  const postgres = await startEmbeddedPostgres({ dataDir, ...options })
  toStop.push(postgres)
  return postgres
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'liveness-embedded-'))
  await chmod(folder, 0o755)
  toStop = []
})
afterEach(async () => {
  for (const postgres of toStop) await postgres.stop()
  await rm(folder, { recursive: true, force: true })
})

test('keeps its data over a restart, with durable settings, on loopback, for nobody without the password', async () => {
  const first = await start()
  await query(first.url, 'create table kept as select 42 as n')
  const settings = `select name, setting from pg_settings where name in
    ('fsync', 'synchronous_commit', 'full_page_writes', 'max_connections', 'listen_addresses', 'data_checksums')`
  const rows = await query(first.url, settings)
  expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    max_connections: '100',
    listen_addresses: '127.0.0.1',
    data_checksums: 'on',
  })
  expect(first.dataDir).toBe(join(folder, 'postgres', 'data'))
  expect((await stat(join(folder, 'postgres', 'password'))).mode & 0o777).toBe(0o600)
  const wrong = new URL(first.url)
  wrong.password = 'guess'
  await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })

  await first.stop()
  expect(identityOf(first.pid)).toBeNull()
  const second = await start()
  expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }])
})

test('a second start on the same data directory is refused with the pid of the first', async () => {
  const child = startChild(script, ['serve', folder])
  const { url } = await child.next()
  await expect(startEmbeddedPostgres({ dataDir: folder })).rejects.toThrow(`in use by process ${child.pid}`)
  expect(await query(String(url), 'select 1 as up')).toEqual([{ up: 1 }])
  await child.end('SIGTERM')
  await start()
})

test('after SIGKILL of the application in mid-write nothing acknowledged is lost, and the orphan is no obstacle', async () => {
  const child = startChild(script, ['write', folder])
  const { pid } = await child.next()
  let acknowledged = 0
  while (acknowledged < 200) acknowledged = Number((await child.next()).n)
  await child.end('SIGKILL')
  expect(identityOf(Number(pid)), 'the server outlives the application').not.toBeNull()

  const lines: string[] = []
  const postgres = await start(folder, { log: (line) => lines.push(line) })
  expect(lines).toContainEqual(expect.stringContaining(`process ${pid}`))
  expect(identityOf(Number(pid))).toBeNull()
  const [row] = await query(postgres.url, 'select count(*)::int as n, max(n) as last from written')
  expect(row?.n).toBe(row?.last)
  expect(row?.n).toBeGreaterThanOrEqual(acknowledged)
})

test('a frozen orphan is stopped too', async () => {
  const child = startChild(script, ['serve', folder])
  const { pid } = await child.next()
  process.kill(Number(pid), 'SIGSTOP')
  await child.end('SIGKILL')
  await start()
  expect(identityOf(Number(pid))).toBeNull()
})

test('kill -9 of the server: it comes back on the same port, and the pool works again', async () => {
  const onExit = vi.fn()
  const postgres = await start(folder, { onExit })
  const pool = connect(postgres.url)
  await pool.query('create table kept as select 42 as n')
  for (let round = 1; round <= 2; round++) {
    const { pid } = postgres
    process.kill(pid, 'SIGKILL')
    await vi.waitFor(() => expect(postgres.pid).not.toBe(pid), { timeout: 15_000 })
    await vi.waitFor(async () => expect((await pool.query('select n from kept')).rows).toEqual([{ n: 42 }]), 10_000)
    expect(onExit).toHaveBeenCalledTimes(round)
    expect(onExit).toHaveBeenLastCalledWith(expect.stringContaining('SIGKILL'))
  }
  await pool.end()
})

test('stop while it is being started again leaves nothing behind', async () => {
  const postgres = await start()
  const { pid } = postgres
  process.kill(pid, 'SIGKILL')
  await postgres.stop()
  expect(identityOf(postgres.pid)).toBeNull()
  await start()
})

test('Ctrl-C reaches the application and not the server', async () => {
  const child = startChild(script, ['serve', folder], { detached: true })
  const { url, pid } = await child.next()
  process.kill(-child.pid, 'SIGINT')
  expect(await child.next()).toEqual({ interrupted: true })
  expect(await query(String(url), 'select 1 as up')).toEqual([{ up: 1 }])
  await child.end('SIGTERM')
  expect(identityOf(Number(pid))).toBeNull()
})

test('a pid file that names a living stranger does not block the start', async () => {
  const first = await start()
  await query(first.url, 'create table kept as select 42 as n')
  const pidFile = join(first.dataDir, 'postmaster.pid')
  const content = await readFile(pidFile, 'utf8')
  await first.stop()
  // Of the server's own user, as a number given out anew would be in a container.
  const stranger = spawn('sleep', ['60'], { ...user.ids, cwd: '/' })
  await once(stranger, 'spawn')
  await writeFile(pidFile, content.replace(/^\d+/, String(stranger.pid)))
  const second = await start()
  expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }])
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
  stranger.kill()
})

test('an initdb that was killed half-way leaves nothing that a start trips over', async () => {
  await mkdir(join(folder, 'postgres', 'initdb-half', 'data'), { recursive: true })
  await writeFile(join(folder, 'postgres', 'initdb-half', 'data', 'PG_VERSION'), '18\n')
  await writeFile(join(folder, 'postgres', 'password'), 'of the half-made one\n', { mode: 0o600 })
  const postgres = await start()
  expect(await query(postgres.url, 'select 1 as up')).toEqual([{ up: 1 }])
  expect(existsSync(join(folder, 'postgres', 'initdb-half'))).toBe(false)
})

test('a package whose install script did not run, under a strict umask, is copied with its links made', async () => {
  const root = join(folder, 'package')
  const umask = process.umask(0o077)
  await cp(platformPackage(), root, {
    recursive: true,
    filter: async (path) => !(await lstat(path)).isSymbolicLink(),
  })
  const home = join(folder, 'home')
  await mkdir(home)
  process.umask(umask)
  await chmod(home, 0o755)
  const { postgres, major } = await findBinaries(home, user, root)
  expect(postgres.startsWith(home)).toBe(true)
  expect(major).toBe('18')
  expect((await lstat(join(dirname(postgres), '../lib/libpq.so.5'))).isSymbolicLink()).toBe(true)
  expect(await findBinaries(home, user, root)).toMatchObject({ postgres })
})

test.skipIf(!isRoot())('as root in a folder closed to others: the data lie elsewhere, and stay there', async () => {
  const closed = join(folder, 'root')
  await mkdir(closed, { mode: 0o700 })
  const first = await start(join(closed, 'data'))
  try {
    expect(first.dataDir).toMatch(/^\/var\/lib\/liveness\/data-[0-9a-f]{12}\/data$/)
    await query(first.url, 'create table kept as select 42 as n')
    await first.stop()
    await chmod(closed, 0o755) // open now, but the choice was made
    const second = await start(join(closed, 'data'))
    expect(second.dataDir).toBe(first.dataDir)
    expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }])
    await second.stop()
    await rm(dirname(first.dataDir), { recursive: true })
    await expect(start(join(closed, 'data'))).rejects.toThrow('is not there')
  } finally {
    await rm(dirname(first.dataDir), { recursive: true, force: true })
  }
})

test.skipIf(!isRoot())('as root on data whose folder was closed since: a sentence, and no empty database', async () => {
  const first = await start(join(folder, 'open', 'data'))
  await first.stop()
  await chmod(join(folder, 'open'), 0o700)
  await expect(start(join(folder, 'open', 'data'))).rejects.toThrow('who cannot get there')
})

test('as an ordinary user', async (context) => {
  if (!isRoot()) return // every other test of this file was run as one
  const ordinary = chooseServerUser('/nonexistent')
  const reaches = [dirname(process.execPath), new URL('dist/', packageRoot).pathname].every((path) =>
    canEnter(ordinary, path),
  )
  if (!reaches) {
    console.warn(`SKIPPED: ${ordinary.name} cannot reach node or this clone, so nothing was run as an ordinary user`)
    context.skip()
  }
  await chmod(folder, 0o777)
  const dataDir = join(folder, 'data')
  const as = { ...ordinary.ids, env: { PATH: process.env.PATH, HOME: folder }, cwd: '/' }
  let last = 0
  for (let round = 1; round <= 2; round++) {
    const child = startChild(script, ['serve', dataDir], as)
    const { url, pid, dataDir: where } = await child.next()
    expect(where).toBe(join(dataDir, 'postgres', 'data'))
    expect((await stat(String(where))).uid).toBe(ordinary.ids.uid)
    await query(String(url), 'create table if not exists kept (n serial)')
    const [row] = await query(String(url), 'insert into kept default values returning n')
    expect(row?.n).toBe(++last)
    await child.end('SIGTERM')
    expect(identityOf(Number(pid))).toBeNull()
  }
})
