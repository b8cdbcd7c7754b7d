/** Which installation a command acts on: the one that the settings name, not another, and none made by accident. */
import { refuseUnfinishedRestore } from '../backup/restore.ts'
import type { Config } from '../config.ts'
import { type Runtime, readRuntime } from '../data-dir.ts'
import { hasHome } from '../postgres/home.ts'
import { CommandError } from './output.ts'

type Place = Pick<Config, 'DATABASE_URL' | 'EVENTSTORE_URL' | 'DATA_DIR'>

/**
 * What `liveness start` runs on this data directory; null when nothing does, or when both servers are set: what runs
 * there is another installation then.
 * @throws CommandError when it runs with another server than the one that is set; DataDirUnusable
 */
export async function runningHere({ DATABASE_URL, EVENTSTORE_URL, DATA_DIR }: Place): Promise<Runtime | null> {
  if (DATABASE_URL !== undefined && EVENTSTORE_URL !== undefined) return null
  const runtime = await readRuntime(DATA_DIR)
  for (const [name, wanted, running] of [
    ['DATABASE_URL', DATABASE_URL, runtime?.postgresUrl],
    ['EVENTSTORE_URL', EVENTSTORE_URL, runtime?.eventStoreUrl],
  ] as const) {
    if (wanted === undefined || running === undefined || wanted === running) continue
    throw new CommandError(
      `What runs on DATA_DIR ${DATA_DIR} has another ${name} than the one that is set: set both as it has them, or ` +
        'DATA_DIR to the folder that is meant.',
    )
  }
  return runtime
}

/**
 * Servers started for the moment would make what is not there, and a mistyped DATA_DIR would pass for an installation
 * in which all is well.
 * @throws CommandError, RestoreUnfinished
 */
export function refuseNoInstallation({ DATABASE_URL, EVENTSTORE_URL, DATA_DIR }: Place): void {
  if (DATABASE_URL !== undefined || EVENTSTORE_URL !== undefined || hasHome(DATA_DIR)) return
  refuseUnfinishedRestore(DATA_DIR)
  throw new CommandError(
    `DATA_DIR ${DATA_DIR} holds no installation, and neither DATABASE_URL nor EVENTSTORE_URL is set. \`liveness start\` ` +
      'and `liveness customer create` make one.',
  )
}
