/** Which installation a command acts on: never another than the one named, and none that it made itself. */
import { existsSync, mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { addAuditCommands } from '../../src/cli/audit.ts'
import { addBackupCommands } from '../../src/cli/backup.ts'
import { addCustomerCommands } from '../../src/cli/customer.ts'
import { addDemoCommand } from '../../src/cli/demo.ts'
import { addEventsCommand } from '../../src/cli/events.ts'
import { runningHere } from '../../src/cli/installation.ts'
import { addKeyCommands } from '../../src/cli/key.ts'
import { addMeteringCommands } from '../../src/cli/metering.ts'
import { addProjectionCommands } from '../../src/cli/projections.ts'
import { writeRuntime } from '../../src/data-dir.ts'
import { reachableFolder } from '../support/folder.ts'
import { commandsHere } from '../support/here.ts'

const folder = reachableFolder('liveness-installation-')
afterAll(() => rm(folder, { recursive: true, force: true }))
const here = commandsHere(
  addAuditCommands,
  addBackupCommands,
  addCustomerCommands,
  addDemoCommand,
  addEventsCommand,
  addKeyCommands,
  addMeteringCommands,
  addProjectionCommands,
)
const somebody = '00000000-0000-4000-8000-000000000000'

test.each([
  ['backup', join(folder, 'copy')],
  ['audit', 'verify'],
  ['audit', 'replay', '--customer', somebody, '--month', '2026-05'],
  ['audit', 'public-key'],
  ['customer', 'list'],
  ['customer', 'set-cap', somebody, 'on'],
  ['events', somebody],
  ['key', 'deactivate', somebody, 'primary'],
  ['metering', 'status'],
  ['projections', 'rebuild'],
])('on a DATA_DIR that holds nothing, %s %s refuses and makes nothing', async (...args) => {
  const DATA_DIR = join(folder, 'mistyped')
  const { printed, failure } = await here({ DATA_DIR }, ...args)
  expect(failure).toMatch(`DATA_DIR ${DATA_DIR} holds no installation, and neither DATABASE_URL nor EVENTSTORE_URL`)
  expect(printed).toBe('')
  expect(existsSync(DATA_DIR)).toBe(false)
  expect(existsSync(join(folder, 'copy'))).toBe(false)
})

test('demo --keep refuses a DATA_DIR that holds an installation', async () => {
  const DATA_DIR = join(folder, 'used')
  mkdirSync(join(DATA_DIR, 'postgres', 'data'), { recursive: true })
  const { failure } = await here({ DATA_DIR }, 'demo', import.meta.filename, '--into', folder, '--keep')
  expect(failure).toMatch(`DATA_DIR ${DATA_DIR} holds an installation already`)
})

/** Nobody listens on ports 1 and 2. */
const set = { DATABASE_URL: 'postgres://127.0.0.1:1/ours', EVENTSTORE_URL: 'esdb://127.0.0.1:1?tls=false' }
const other = { postgresUrl: 'postgres://127.0.0.1:2/theirs', eventStoreUrl: 'esdb://127.0.0.1:2?tls=false' }

test('with both servers set a command goes there, whatever runs on DATA_DIR', async () => {
  const DATA_DIR = join(folder, 'running')
  mkdirSync(DATA_DIR)
  await writeRuntime(DATA_DIR, { pid: process.pid, ...other })
  const { failure } = await here({ DATA_DIR, ...set }, 'customer', 'list')
  expect(failure).toContain('127.0.0.1:1')
})

test('with one server set a command goes to what runs on DATA_DIR only where that has the same', async () => {
  const DATA_DIR = join(folder, 'half')
  mkdirSync(DATA_DIR)
  const place = { DATA_DIR, DATABASE_URL: undefined, EVENTSTORE_URL: undefined }
  expect(await runningHere({ ...place, DATABASE_URL: set.DATABASE_URL })).toBeNull()
  await writeRuntime(DATA_DIR, { pid: process.pid, ...other })
  const runtime = { pid: process.pid, ...other }
  expect(await runningHere(place)).toEqual(runtime)
  expect(await runningHere({ ...place, DATABASE_URL: other.postgresUrl })).toEqual(runtime)
  await expect(runningHere({ ...place, DATABASE_URL: set.DATABASE_URL })).rejects.toThrow('another DATABASE_URL')
  await expect(runningHere({ ...place, EVENTSTORE_URL: set.EVENTSTORE_URL })).rejects.toThrow('another EVENTSTORE_URL')
})
