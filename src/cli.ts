#!/usr/bin/env node
/** The `liveness` command. Exit code 0 only on success; errors are sentences on stderr. */
import { Command } from 'commander'
import { version } from './version.ts'

const program = new Command('liveness')
  .description('Liveness Detection API: checks photographs for spoofing, bills each check by one event')
  .version(version)
  .showHelpAfterError('(--help says more)')
  .addHelpText('after', '\nSettings come from the environment and .env; `liveness config` shows them all.')

/** What adds each command, in the order of the help. */
const commands: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  start: async () => (await import('./cli/start.ts')).addStartCommand,
  demo: async () => (await import('./cli/demo.ts')).addDemoCommand,
  customer: async () => (await import('./cli/customer.ts')).addCustomerCommands,
  key: async () => (await import('./cli/key.ts')).addKeyCommands,
  usage: async () => (await import('./cli/usage.ts')).addUsageCommand,
  events: async () => (await import('./cli/events.ts')).addEventsCommand,
  projections: async () => (await import('./cli/projections.ts')).addProjectionCommands,
  metering: async () => (await import('./cli/metering.ts')).addMeteringCommands,
  marketplace: async () => (await import('./cli/marketplace.ts')).addMarketplaceCommands,
  audit: async () => (await import('./cli/audit.ts')).addAuditCommands,
  backup: async () => (await import('./cli/backup.ts')).addBackupCommands,
  restore: async () => (await import('./cli/backup.ts')).addBackupCommands,
  migrate: async () => (await import('./cli/migrate.ts')).addMigrateCommand,
  secrets: async () => (await import('./cli/secrets.ts')).addSecretsCommands,
  models: async () => (await import('./cli/models.ts')).addModelCommands,
  evaluate: async () => (await import('./cli/evaluate.ts')).addEvaluateCommand,
  config: async () => (await import('./cli/config.ts')).addConfigCommand,
}

// Only the command that is called is loaded: everything together takes a second of processor time.
const all = Object.entries(commands)
const called = all.filter(([name]) => name === process.argv[2])
const added = await Promise.all((called.length > 0 ? called : all).map(([, load]) => load()))
for (const add of new Set(added)) add(program)

// A reader that has seen enough (`liveness demo … | head`) is no error, and no reason to leave servers behind.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') process.exit(1)
})

try {
  await program.parseAsync()
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`liveness: ${message}\n`)
  if (process.env.LOG_LEVEL === 'debug' || process.env.LOG_LEVEL === 'trace') console.error(error)
  process.exitCode = 1
}
