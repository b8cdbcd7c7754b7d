/** How a command reaches the system: the one that runs, or one started for the moment. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { prepareDatabase } from '../app/prepare.ts'
import { type Stack, startStack } from '../app/stack.ts'
import { openSystem, type System } from '../app/system.ts'
import { type Config, loadConfig } from '../config.ts'
import { DataDirInUse } from '../data-dir.ts'
import { createLogger } from '../http/logging.ts'
import { type Runner, startProjections } from '../projections/runner.ts'
import { refuseNoInstallation, runningHere } from './installation.ts'

/** Another command may hold the data directory for a moment, and `liveness start` needs one to begin. */
const busyMs = 45_000

interface Reach {
  /** Whether a new installation is made where there is none; otherwise that is refused. */
  readonly mayBegin?: boolean
}

/**
 * Runs a command's work with the system that the settings name.
 *
 * Where both servers are somebody else's, or `liveness start` runs on this data directory, the command connects. Else
 * it starts the embedded servers, and the projections so that what it reads is up to date, and stops them again.
 */
export async function withSystem<T>(
  work: (system: System) => Promise<T>,
  { mayBegin = false }: Reach = {},
): Promise<T> {
  const { config } = loadConfig()
  const log = createLogger(config.LOG_LEVEL === 'info' ? 'warn' : config.LOG_LEVEL, process.stderr)
  const { stack, ours } = await reach(config, log, mayBegin)
  let runner: Runner | undefined
  let system: System | undefined
  try {
    if (ours) await prepareDatabase(stack.databaseUrl)
    system = await openSystem({ ...stack, log })
    if (ours) {
      const { pool, store, databaseUrl: url } = system
      const onAlarm = (error: Error) => log.error({ err: error, alarm: 'projections' }, error.message)
      runner = startProjections({ pool, url, store, onAlarm })
    }
    return await work(system)
  } finally {
    await runner?.stop()
    await system?.close()
    await stack.stop()
  }
}

async function reach(config: Config, log: Logger, mayBegin: boolean): Promise<{ stack: Stack; ours: boolean }> {
  for (const deadline = Date.now() + busyMs; ; await pause(200)) {
    const runtime = await runningHere(config)
    if (runtime?.postgresUrl !== undefined && runtime.eventStoreUrl !== undefined) {
      const stop = async () => {} // not ours to stop
      const { postgresUrl: databaseUrl, eventStoreUrl } = runtime
      return { stack: { databaseUrl, eventStoreUrl, embedded: false, postgresDir: undefined, stop }, ours: false }
    }
    if (!mayBegin) refuseNoInstallation(config)
    try {
      const stack = await startStack(config, log)
      return { stack, ours: stack.embedded }
    } catch (error) {
      if (!(error instanceof DataDirInUse) || Date.now() > deadline) throw error
    }
  }
}
