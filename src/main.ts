/** The composition root: reads the settings, builds the dozen objects by hand, starts the roles, stops in order. */
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { startAnchors } from './app/anchors.ts'
import { openConsole, openMail, publicUrlOf } from './app/console.ts'
import { httpDependencies } from './app/http.ts'
import { startLeaders } from './app/leaders.ts'
import { marketplacePages, openMarketplace } from './app/marketplace.ts'
import { startMeteringRoles } from './app/metering.ts'
import { listenForOperators, watchOver } from './app/operations.ts'
import { prepareDatabaseWhenThere } from './app/prepare.ts'
import { naming, refuseWrongAddresses } from './app/refusals.ts'
import { chooseRoles } from './app/roles.ts'
import { refuseMissingSecrets, secretsOf } from './app/secrets.ts'
import { keepKeys } from './app/secrets-keys.ts'
import { startStack } from './app/stack.ts'
import { type Clocks, openSystem, type System } from './app/system.ts'
import { ConfigError, type LoadedConfig, type Role } from './config.ts'
import { clearRuntime, writeRuntime } from './data-dir.ts'
import { roleLog } from './http/logging.ts'
import type { Watched } from './http/operations.ts'
import { buildServer } from './http/server.ts'
import { chooseSet } from './inference/choose-set.ts'
import { type Inference, startInference } from './inference/inference.ts'
import { loadManifest } from './inference/manifest.ts'
import { startProjections } from './projections/runner.ts'
import { kafkaSettings } from './relay/topic.ts'

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
  /** Resolves with the reason when the process has nothing left to do: each of its roles has stopped for good. */
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
 * @throws the signal's reason, ConfigError, DataDirInUse, WeightsMissing, WeightsCorrupt, ManifestError: sentences for the operator
 */
export async function startApp({ config }: LoadedConfig, options: AppOptions): Promise<App> {
  const { signal = new AbortController().signal } = options
  const roles = chooseRoles(config)
  const log = roleLog(options.log, roles)
  const logOf = (role: string) => roleLog(options.log, role)
  refuseMissingSecrets(config)
  const undo: [part: string, stop: () => Promise<void>][] = []
  let stopping: Promise<void> | undefined
  const stop = () => {
    stopping ??= (async () => {
      for (const [part, end] of undo.reverse()) {
        log.debug(`stopping: ${part}`)
        await end().catch((error: unknown) => log.error({ err: error }, `stopping ${part} failed`))
      }
    })()
    return stopping
  }
  try {
    const stack = await startStack(config, log)
    undo.push(['the servers', () => stack.stop()])
    const { secretsKeys: given, auditSigningKey } = await secretsOf(config)
    await naming('DATABASE_URL', prepareDatabaseWhenThere(stack.databaseUrl, log, signal))
    const system = await openSystem({ ...stack, ...options, log })
    undo.push(['connections', () => system.close()])

    let stopped: string | undefined
    let fail = (_: Error) => {}
    const failed = new Promise<Error>((resolve) => {
      fail = resolve
    })
    const kept = await keepKeys(system.pool, given, (error) => {
      log.fatal({ err: error, alarm: 'secrets' }, error.message)
      fail(error)
    })
    undo.push(['secrets', () => kept.stop()])
    const { keys: secretsKeys } = kept
    const runner = roles.includes('projections')
      ? startProjections({
          pool: system.pool,
          url: system.databaseUrl,
          store: system.store,
          onAlarm(error) {
            stopped = `The projections have stopped for good: ${error.message}`
            logOf('projections').fatal({ err: error, alarm: 'projections' }, stopped)
            if (!roles.includes('api')) fail(error)
          },
          onTrouble: (error, failures) =>
            logOf('projections').warn({ err: error, failures }, 'the projections are held up'),
        })
      : undefined
    if (runner !== undefined) undo.push(['projections', () => runner.stop()])
    undo.push(['ledgers', () => system.ledgers.drained()])
    const mail = openMail(config, log)
    undo.push(['mail', async () => mail.close()])
    await refuseWrongAddresses(config, system.store, mail)
    const leaders = startLeaders({ system, mail, publicUrl: publicUrlOf(config), log: logOf('housekeeping') })
    undo.push(['leaders', () => leaders.stop()])
    if (roles.includes('metering')) {
      const anchors = startAnchors(config, system, auditSigningKey, logOf('metering'))
      undo.push(['anchors', () => anchors.stop()])
    }
    const marketplace = openMarketplace(system, log)
    const metering = await startMeteringRoles({ config, roles, system, marketplace, log: options.log })
    undo.push(['metering', () => metering.stop()])
    metering.failed.then((error) => {
      stopped = `Metering has stopped for good: ${error.message}`
      logOf('metering').fatal({ err: error, alarm: 'metering' }, stopped)
      if (!roles.includes('api')) fail(error)
    })

    // HTTP is last to start and so first to stop: from the wish to stop on, no new request is taken.
    if (stack.embedded) undo.push(['announcement', () => clearRuntime(config.DATA_DIR)])
    const operated = { roles, system, runner, metering, kafka: kafkaSettings(config), stopped: () => stopped }
    const watch = (inference?: Inference) => watchOver({ ...operated, inference, log: options.log })
    let watched: Watched | undefined
    let url: string | undefined
    let modelSet: App['modelSet']
    if (roles.includes('api')) {
      const inference = await startInference({
        modelsDir: config.MODELS_DIR,
        set: await chooseSet({
          manifest: await loadManifest(),
          wanted: config.MODEL_SET,
          modelsDir: config.MODELS_DIR,
          dataDir: config.DATA_DIR,
          say: (sentence) => log.info(sentence),
        }),
        spoofThreshold: config.SPOOF_THRESHOLD,
      })
      undo.push(['inference', () => inference.close()])
      modelSet = inference.set
      const pages = openConsole({
        config,
        system,
        mail,
        secretsKeys,
        auditSigningKey,
        eventStoreUrl: stack.eventStoreUrl,
        log: logOf('api'),
      })
      undo.push(['console', () => pages.close()])
      const landing = marketplacePages({ config, system, marketplace, mail, secretsKeys })
      watched = watch(inference)
      const parts = { config, system, inference, watched, secretsKeys, log: logOf('api') }
      const http = await buildServer(httpDependencies({ ...parts, console: pages.deps, marketplace: landing }))
      undo.push(['HTTP', () => http.drainAndClose()])
      await http.app.listen({ host: config.HOST, port: config.PORT }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EADDRINUSE') throw error
        throw new ConfigError(
          `PORT ${config.PORT} on ${config.HOST} is in use by another program; set PORT to another.`,
        )
      })
      url = `http://${hostInUrl(config.HOST)}:${(http.app.server.address() as AddressInfo).port}`
    }
    let operationsUrl: string | undefined
    if (config.OPERATIONS_PORT !== undefined) {
      const operations = await listenForOperators(config, watched ?? watch(), config.OPERATIONS_PORT)
      undo.push(['operations', () => operations.close()])
      operationsUrl = operations.url
    }
    if (stack.embedded) {
      const { databaseUrl: postgresUrl, eventStoreUrl } = stack
      await writeRuntime(config.DATA_DIR, { pid: process.pid, postgresUrl, eventStoreUrl, httpUrl: url })
    }
    return {
      roles,
      url,
      operationsUrl,
      modelSet,
      system,
      embedded: stack.embedded,
      postgresDir: stack.postgresDir,
      failed,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** An address that a program on this machine can call. */
function hostInUrl(host: string): string {
  if (['127.0.0.1', '0.0.0.0', '::', 'localhost'].includes(host)) return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
