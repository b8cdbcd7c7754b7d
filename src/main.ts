/** The composition root: reads the settings, starts the roles step by step, stops them in the opposite order. */
import type { Logger } from 'pino'
import { refuseUnknownModelSet, startApi } from './app/api.ts'
import { createFailures } from './app/failures.ts'
import { type Foundation, layFoundation, type Start } from './app/foundation.ts'
import { refuseUnusableModelsDir } from './app/models-dir.ts'
import { listenForOperators, watchOver } from './app/operations.ts'
import { chooseRoles } from './app/roles.ts'
import type { Clocks, System } from './app/system.ts'
import { createUndo } from './app/undo.ts'
import { startWorkers, type Workers } from './app/workers.ts'
import type { LoadedConfig, Role } from './config.ts'
import { clearRuntime, writeRuntime } from './data-dir.ts'
import { roleLog } from './http/logging.ts'
import type { Inference } from './inference/inference.ts'
import { kafkaSettings } from './relay/kafka-settings.ts'

export interface App {
  readonly roles: readonly Role[]
  /** Where HTTP listens; undefined without the role api. */
  readonly url: string | undefined
  /** Where /ready and /metrics are on a port of their own; undefined without OPERATIONS_PORT. */
  readonly operationsUrl: string | undefined
  /** What judges photographs; undefined without the role api. */
  readonly modelSet: { readonly name: string; readonly version: string } | undefined
  readonly system: System
  /** Whether Postgres or the event store, or both, run embedded in this process's data directory. */
  readonly embedded: boolean
  /** Where the embedded Postgres keeps its files. */
  readonly postgresDir: string | undefined
  /** Resolves with the reason for which the process must end: without an API, one of its roles has stopped for good. */
  readonly failed: Promise<Error>
  /**
   * New requests get 503, those in flight finish and are billed; then everything stops in the order in which one
   * thing needs another. Safe to call twice.
   */
  stop(): Promise<void>
}

export interface AppOptions extends Clocks {
  /** Of the process; the roles' lines say which role they are of. */
  readonly log: Logger
  /** Ends a start that still waits for Postgres. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Starts the application.
 * @throws the signal's reason, ConfigError, DataDirInUse, WeightsMissing, WeightsCorrupt, WeightsUnreadable, ManifestError: sentences for the operator
 */
export async function startApp({ config }: LoadedConfig, options: AppOptions): Promise<App> {
  const { log, signal = new AbortController().signal } = options
  const roles = chooseRoles(config)
  if (roles.includes('api')) {
    await refuseUnknownModelSet(config)
    await refuseUnusableModelsDir(config)
  }
  const undo = createUndo(roleLog(log, roles))
  const failures = createFailures(roles, log)
  const start: Start = { config, roles, log, undo, failures }
  try {
    const foundation = await layFoundation(start, options, signal)
    const { stack, system } = foundation
    const workers = await startWorkers(start, foundation)
    const urls = await listen(start, foundation, workers)
    if (stack.embedded) {
      const { databaseUrl: postgresUrl, eventStoreUrl } = stack
      await writeRuntime(config.DATA_DIR, { pid: process.pid, postgresUrl, eventStoreUrl, httpUrl: urls.url })
    }
    const { embedded, postgresDir } = stack
    return { roles, ...urls, system, embedded, postgresDir, failed: failures.failed, stop: undo.run }
  } catch (error) {
    await undo.run()
    throw error
  }
}

/** HTTP is last to start and so first to stop: from the wish to stop on, no new request is taken. */
async function listen(start: Start, foundation: Foundation, workers: Workers) {
  const { config, roles, undo, failures, log } = start
  if (foundation.stack.embedded) undo.add('announcement', () => clearRuntime(config.DATA_DIR))
  const { stopped } = failures
  const operated = { roles, system: foundation.system, ...workers, kafka: kafkaSettings(config), stopped, log }
  const watch = (inference?: Inference) => watchOver({ ...operated, inference })
  const api = roles.includes('api') ? await startApi(start, foundation, workers, watch) : undefined
  let operationsUrl: string | undefined
  if (config.OPERATIONS_PORT !== undefined) {
    const operations = await listenForOperators(config, api?.watched ?? watch(), config.OPERATIONS_PORT)
    undo.add('operations', () => operations.close())
    operationsUrl = operations.url
  }
  return { url: api?.url, modelSet: api?.modelSet, operationsUrl }
}
