/** Bundles made in the child process: the same bytes, the same refusals, and no process left behind. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { signAnchor } from '../../src/audit/anchor.ts'
import { anchorName, keepAnchor, listAnchors, readAnchor } from '../../src/audit/anchor-files.ts'
import { checkBundle } from '../../src/audit/check-bundle.ts'
import { NotAnchoredYet } from '../../src/audit/choose-anchors.ts'
import { NothingToExport } from '../../src/audit/export.ts'
import { exportApart } from '../../src/audit/export-apart.ts'
import { LogMismatch } from '../../src/commands/errors.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { type EventStore, EventStoreUnavailable } from '../../src/eventstore/store.ts'
import { uuid } from '../support/given.ts'
import { freshDatabase } from '../support/postgres.ts'
import { chunksOf, createWorld, type World } from './world.ts'

// The children give way to everything else on the machine.
vi.setConfig({ testTimeout: 120_000 })

/** Of a call each: more bytes than the pipe to the child and the buffers around it hold. */
const calls = 1_500

let world: World
let server: Awaited<ReturnType<typeof startEmbeddedEventStore>>
let customerId: string
let month: string
const folders: string[] = []
beforeAll(async () => {
  world = createWorld()
  await world.player.play([{ customer: 0, minutes: 5, action: { kind: 'detect', key: undefined } }])
  await world.anchor()
  const detect = { customer: 0, minutes: 1, action: { kind: 'detect', key: undefined } } as const
  await world.player.play([{ ...detect, minutes: 5 * 24 * 60 }, ...Array.from({ length: calls }, () => detect)])
  await world.anchor()
  customerId = world.player.customers()[0]?.id ?? ''
  month = world.player.now.slice(0, 7)
  server = await startEmbeddedEventStore({ databaseUrl: await freshDatabase(inject('postgresUrl')) })
  await copyLog(connectEventStore(server.url))
})
afterAll(async () => {
  await server?.stop()
  await world.close()
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
})

async function copyLog(to: EventStore): Promise<void> {
  const streams = new Set(world.store.all().map(({ stream }) => stream))
  for (const stream of streams) {
    const events = world.store
      .stream(stream)
      .map(
        ({ id, type, data, metadata }) =>
          ({ id, type, data, metadata }) as Parameters<EventStore['send']>[0]['events'][0],
      )
    for (let at = 0; at < events.length; at += 200) {
      const expectedRevision = at === 0 ? 'no_stream' : BigInt(at - 1)
      const outcome = await to.send({ stream, expectedRevision, events: events.slice(at, at + 200) }, 30_000)
      if (outcome.kind !== 'appended') throw new Error(`the log could not be copied: ${outcome.kind}`)
    }
  }
  await to.close()
}

function anchorFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'liveness-anchors-'))
  folders.push(folder)
  return folder
}

const complaints: string[] = []
const now = '2026-07-01T00:00:00.000Z'
const made = (other: { customerId?: string; anchorDir?: string; eventStoreUrl?: string } = {}) =>
  exportApart(
    {
      eventStoreUrl: server.url,
      anchorDir: world.anchorDir,
      signingKey: world.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      customerId,
      month,
      now,
      ...other,
    },
    (message) => complaints.push(message),
  )
/** Process ids of the children that make bundles. */
const processes = () =>
  execFileSync('ps', ['--ppid', String(process.pid), '-o', 'pid=,args='])
    .toString()
    .split('\n')
    .filter((line) => line.includes('export-process'))
    .map((line) => Number.parseInt(line, 10))
const noneLeft = () => vi.waitFor(() => expect(processes()).toEqual([]), 20_000)

test('the bytes are those of a bundle made in this process, and verify', async () => {
  const bytes = await buffer(await made())
  expect((await checkBundle(chunksOf(bytes, 10_000), world.keys)).differences).toEqual([])
  expect(bytes.equals(await world.export(customerId, month, { takeNow: undefined, now: () => now }))).toBe(true)
  await noneLeft()
})

test('what is refused is refused as in this process', async () => {
  await Promise.all([
    expect(made({ customerId: uuid() })).rejects.toBeInstanceOf(NothingToExport),
    expect(made({ anchorDir: join(world.anchorDir, 'nothing') })).rejects.toBeInstanceOf(NotAnchoredYet),
    expect(made({ eventStoreUrl: 'esdb://127.0.0.1:9?tls=false' })).rejects.toBeInstanceOf(EventStoreUnavailable),
  ])
  await noneLeft()
})

test('an anchor that cannot be trusted is told of and passed over', async () => {
  const anchorDir = anchorFolder()
  const [, good] = await listAnchors(world.anchorDir)
  if (good === undefined) throw new Error('there is no second anchor')
  await keepAnchor(anchorDir, await readAnchor(good.path, world.keys))
  const bad = join(anchorDir, anchorName(`${good.through.slice(0, -4)}999Z`))
  await writeFile(bad, '{}')
  const { differences } = await checkBundle(await made({ anchorDir }), world.keys)
  expect(differences).toEqual([])
  expect(complaints).toEqual([`the anchor ${bad} cannot be trusted: it is damaged, or no anchor at all`])
})

test('a log that does not lead to its anchor ends the stream with an error, not as if it were whole', async () => {
  const anchorDir = anchorFolder()
  const [, good] = await listAnchors(world.anchorDir)
  const { heads, through, position } = await readAnchor(good?.path ?? '', world.keys)
  const elsewhere = heads.map((head): typeof head =>
    head[0] === customerStream(customerId) ? [head[0], head[1], 'f'.repeat(64)] : head,
  )
  await keepAnchor(anchorDir, signAnchor({ through, position }, elsewhere, world.privateKey))
  const stream = await made({ anchorDir })
  await expect(buffer(stream)).rejects.toBeInstanceOf(LogMismatch)
  await noneLeft()
})

test('a reader that leaves takes the process along', async () => {
  const stream = await made()
  expect(stream).toBeInstanceOf(Readable)
  expect(processes()).toHaveLength(1)
  stream.destroy()
  await noneLeft()
})

test('a process that is killed does not look like the end of the file', async () => {
  const stream = await made()
  for (const pid of processes()) process.kill(pid, 'SIGKILL')
  await expect(buffer(stream)).rejects.toThrow('ended by itself (SIGKILL)')
})
