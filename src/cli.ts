#!/usr/bin/env node
/** The `liveness` command. Exit code 0 only on success; errors are sentences on stderr. */
import { Command } from 'commander'
import { addAuditCommands } from './cli/audit.ts'
import { addBackupCommands } from './cli/backup.ts'
import { addConfigCommand } from './cli/config.ts'
import { addCustomerCommands } from './cli/customer.ts'
import { addDemoCommand } from './cli/demo.ts'
import { addEvaluateCommand } from './cli/evaluate.ts'
import { addEventsCommand } from './cli/events.ts'
import { addKeyCommands } from './cli/key.ts'
import { addMarketplaceCommands } from './cli/marketplace.ts'
import { addMeteringCommands } from './cli/metering.ts'
import { addMigrateCommand } from './cli/migrate.ts'
import { addModelCommands } from './cli/models.ts'
import { addProjectionCommands } from './cli/projections.ts'
import { addSecretsCommands } from './cli/secrets.ts'
import { addStartCommand } from './cli/start.ts'
import { addUsageCommand } from './cli/usage.ts'
import { version } from './version.ts'

const program = new Command('liveness')
  .description('Liveness Detection API: checks photographs for spoofing, bills each check by one event')
  .version(version)
  .showHelpAfterError('(--help says more)')
  .addHelpText('after', '\nSettings come from the environment and .env; `liveness config` shows them all.')

addStartCommand(program)
addDemoCommand(program)
addCustomerCommands(program)
addKeyCommands(program)
addUsageCommand(program)
addEventsCommand(program)
addProjectionCommands(program)
addMeteringCommands(program)
addMarketplaceCommands(program)
addAuditCommands(program)
addBackupCommands(program)
addMigrateCommand(program)
addSecretsCommands(program)
addModelCommands(program)
addEvaluateCommand(program)
addConfigCommand(program)

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
