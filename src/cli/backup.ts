/** `liveness backup` and `liveness restore`: the embedded stack into a folder, and back. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { backup } from '../backup/backup.ts'
import { restore } from '../backup/restore.ts'
import { type Config, loadConfig } from '../config.ts'
import { lockDataDir, readRuntime } from '../data-dir.ts'
import { countEvents } from '../move/source-log.ts'
import { startEmbeddedPostgres } from '../postgres/embedded.ts'
import { findHome } from '../postgres/home.ts'
import { ensureDatabase } from '../postgres/migrate.ts'
import { connect } from '../postgres/pool.ts'
import { refuseNoInstallation } from './installation.ts'
import { CommandError, print, printJson } from './output.ts'

export function addBackupCommands(program: Command): void {
  program
    .command('backup')
    .description('everything of the embedded stack as it is at one instant, while it runs or not')
    .argument('<folder>', 'a new folder; it holds the secrets too')
    .option('--json', 'one JSON object')
    .action((folder: string, { json }: { json?: true }) => takeBackup(resolve(folder), json))

  program
    .command('restore')
    .description('a backup into DATA_DIR, which must be new or empty')
    .argument('<folder>', 'what `liveness backup` wrote')
    .option('--json', 'one JSON object')
    .action((folder: string, { json }: { json?: true }) => bringBack(resolve(folder), json))
}

async function takeBackup(into: string, json: true | undefined): Promise<void> {
  const { config } = loadConfig()
  const { DATA_DIR: dataDir } = embeddedOnly(config)
  refuseNoInstallation(config)
  const { url, stop } = await runningPostgres(dataDir)
  try {
    const logPool = connect(await ensureDatabase(url, 'eventstore'), { max: 1, applicationName: 'liveness backup' })
    const events = async () => (await countEvents(logPool)) ?? 0
    const taken = await backup({ dataDir, home: await findHome(dataDir), url, countEvents: events, into }).finally(() =>
      logPool.end(),
    )
    const bytes = taken.files.reduce((sum, file) => sum + file.bytes, 0)
    if (json) return printJson({ folder: into, taken_at: taken.takenAt, events: taken.events, bytes })
    print(`${taken.files.length} files, ${Math.ceil(bytes / 1e6)} MB, at least ${taken.events} events: ${into}`)
    print('It holds the secrets of this installation. `liveness restore` brings it back.')
  } finally {
    await stop()
  }
}

/** That of the running application, or one started for the moment. */
async function runningPostgres(dataDir: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const runtime = await readRuntime(dataDir)
  if (runtime?.postgresUrl !== undefined) return { url: runtime.postgresUrl, stop: async () => {} }
  const lock = await lockDataDir(dataDir)
  try {
    const postgres = await startEmbeddedPostgres({ dataDir })
    return {
      url: postgres.url,
      stop: async () => {
        await postgres.stop()
        await lock.release()
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

async function bringBack(from: string, json: true | undefined): Promise<void> {
  const { config } = loadConfig()
  const { DATA_DIR: dataDir } = embeddedOnly(config)
  const lock = await lockDataDir(dataDir)
  try {
    const { takenAt, version, files } = await restore(from, dataDir)
    if (json) return printJson({ data_dir: dataDir, taken_at: takenAt, version, files: files.length })
    print(
      `The backup of ${takenAt} is in ${dataDir}. \`liveness audit verify\` with an anchor that you kept says what it`,
    )
    print('lacks; then `liveness start`.')
  } finally {
    await lock.release()
  }
}

function embeddedOnly(config: Config): Config {
  if (config.DATABASE_URL === undefined && config.EVENTSTORE_URL === undefined) return config
  throw new CommandError(
    'DATABASE_URL or EVENTSTORE_URL is set: servers of your own are backed up with their own tools, in the order that ' +
      'docs/operations.md gives.',
  )
}
