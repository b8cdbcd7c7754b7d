import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
import { type Command, Option } from 'commander'
import type { Logger } from 'pino'
import { chooseRoles } from '../app/roles.ts'
import { firstSignal } from '../app/shutdown.ts'
import { passesByItself } from '../commands/transient.ts'
import { type LoadedConfig, loadConfig, type Role, roleNames, rolesSchema } from '../config.ts'
import { createLogger, roleLog } from '../http/logging.ts'
import type { App } from '../main.ts'
import { createCustomer } from './create-customer.ts'
import { argument, CommandError, print } from './output.ts'

export function addStartCommand(program: Command): void {
  program
    .command('start')
    .description('serve the API; on embedded defaults with its own Postgres and event store')
    .addOption(
      new Option('--roles <roles>', `what this process does: a list of ${roleNames.join(', ')} (as ROLES)`).argParser(
        argument(rolesSchema, `a comma-separated list of ${roleNames.join(', ')}`),
      ),
    )
    .action(async ({ roles }: { roles?: Role[] }) => {
      const loaded = loadConfig()
      await serve(roles === undefined ? loaded : { ...loaded, config: { ...loaded.config, ROLES: roles } })
    })
}

/** Milliseconds after an orderly stop. */
const lingerMs = 1_000

async function serve(loaded: LoadedConfig): Promise<void> {
  const { config } = loaded
  const base = process.stdout.isTTY
    ? createLogger(config.LOG_LEVEL, (await import('pino-pretty')).default({ ignore: 'instance,role' }))
    : createLogger(config.LOG_LEVEL)
  const log = roleLog(base, chooseRoles(config))
  logMishaps(log)
  const signal = firstSignal(log)
  const stopping = new AbortController()
  signal.then(() => stopping.abort())
  // Loaded here: other commands need neither the models' runtime nor the HTTP server.
  const { startApp } = await import('../main.ts')
  let app: App | undefined
  try {
    app = await startApp(loaded, { log: base, signal: stopping.signal })
    await greet(app, loaded, log)
    const failure = await Promise.race([signal.then(() => null), app.failed])
    if (failure !== null) throw new CommandError(failure.message)
  } catch (error) {
    if (app !== undefined || !stopping.signal.aborted) throw error // else it was stopped before it had started
  } finally {
    await app?.stop()
    log.info('stopped')
    // A connection to a server that says nothing any more would keep the process for as long.
    setTimeout(() => process.exit(), lingerMs).unref()
  }
}

/** What Node would write in words of its own is a line of the log like every other. */
function logMishaps(log: Logger): void {
  process.removeAllListeners('warning')
  process.on('warning', (warning) => log.warn({ err: warning }, warning.message))
  const end = (error: unknown) => {
    log.fatal({ err: error }, 'a fault in the program: it ends')
    process.exit(1)
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

/** Says where everything is. On the first start with embedded defaults, makes somebody to call the API as. */
async function greet(app: App, { config }: LoadedConfig, log: Logger): Promise<void> {
  log.info({ url: app.url, operationsUrl: app.operationsUrl }, 'started')
  // On servers of somebody's own nobody sits before it: what it says is for whatever collects the log.
  if (!app.embedded && !process.stdout.isTTY) return
  print(`Liveness Detection API: ${app.url ?? 'no HTTP'} (roles ${app.roles.join(', ')})`)
  if (app.modelSet !== undefined) print(`Model set: ${app.modelSet.name} ${app.modelSet.version}`)
  if (app.operationsUrl !== undefined) print(`For operators: ${app.operationsUrl}/ready and /metrics`)
  if (!app.embedded) return
  print(`Data: ${config.DATA_DIR}${databaseElsewhere(app, config.DATA_DIR)}`)
  const all = config.DATABASE_URL === undefined && config.EVENTSTORE_URL === undefined
  if (!all || app.url === undefined || !app.roles.includes('projections')) return
  const marker = join(config.DATA_DIR, 'demonstration-customer')
  if (existsSync(marker)) {
    return print('For another API key: npx liveness customer create --plan standard')
  }
  const created = await createCustomer(app.system, { plan: 'standard', hardCap: false }).catch((error: unknown) => {
    if (!passesByItself(error)) throw error
    // It serves already: one who makes customers by hand needs none of this.
    log.warn({ err: error }, 'no demonstration customer can be shown just now; the next start makes one')
    return null
  })
  if (created === null) return
  print(`Demonstration customer ${created.customer_id}, plan standard. Its API key is shown this once:`)
  print()
  print(`  ${created.keys?.primary}`)
  print()
  print('Check a photograph:')
  print()
  print(
    `  { printf '{"image": "'; base64 < face.jpg | tr -d '\\n'; printf '", "image_format": "jpeg"}'; } | ` +
      `curl -X POST ${app.url}/v1/check/liveness -H "X-API-Key: ${created.keys?.primary}" ` +
      `-H "Content-Type: application/json" --data-binary @-`,
  )
  print()
  // Written last: a start that dies before it has shown the key makes another customer next time.
  await writeFile(marker, `${created.customer_id}\n`)
}

/** As root the database may have to lie where its user can get to. */
function databaseElsewhere({ postgresDir }: App, dataDir: string): string {
  if (postgresDir === undefined) return ''
  const inside = relative(dataDir, postgresDir)
  return inside.startsWith('..') || isAbsolute(inside) ? ` (its database: ${postgresDir})` : ''
}
