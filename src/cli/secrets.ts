import type { Command } from 'commander'
import { keysOfChange } from '../app/secrets.ts'
import { NeverUsed, refuseNeverUsed, rotateKeys } from '../app/secrets-keys.ts'
import { type Config, loadConfig, withoutPassword } from '../config.ts'
import { hasHome } from '../postgres/home.ts'
import { connect } from '../postgres/pool.ts'
import { CommandError, print, printJson } from './output.ts'
import { withSystem } from './system.ts'

export function addSecretsCommands(program: Command): void {
  const secrets = program.command('secrets').description('change of SECRETS_KEY')

  secrets
    .command('rotate')
    .description('from now on everybody writes with SECRETS_KEY, and still accepts SECRETS_KEY_PREVIOUS')
    .option('--json', 'one JSON object')
    .addHelpText('after', '\nFirst start every process with both settings; docs/operations.md has the steps.')
    .action(({ json }: { json?: true }) => rotate(json))
}

async function rotate(json: true | undefined): Promise<void> {
  const { config } = loadConfig()
  const keys = await keysOfChange(config)
  await refuseNothingThere(config)
  const { changed, resealed, previousNeededUntil } = await withSystem(({ pool }) => rotateKeys(pool, keys)).catch(
    (error: unknown) => {
      throw nothingAt(config, error)
    },
  )
  const until = previousNeededUntil.toISOString()
  if (json) return printJson({ changed, resealed, previous_needed_until: until })
  print(changed ? 'Everybody writes with the new key.' : 'The new key was the one that writes already.')
  print(`${resealed} secrets of authenticators were sealed anew.`)
  print(`Keep SECRETS_KEY_PREVIOUS set until ${until}; after that, start every process without it.`)
}

/** Before servers are started for the moment, which would make what is not there. @throws CommandError */
async function refuseNothingThere(config: Config): Promise<void> {
  const { DATABASE_URL: url, DATA_DIR: dataDir } = config
  if (url === undefined) {
    if (hasHome(dataDir)) return
    throw new CommandError(
      `There is nothing to rotate: DATA_DIR ${dataDir} holds no embedded servers' data, and DATABASE_URL is not set.`,
    )
  }
  const pool = connect(url, { max: 1, applicationName: 'liveness secrets' })
  try {
    await refuseNeverUsed(pool)
  } catch (error) {
    throw nothingAt(config, error)
  } finally {
    await pool.end()
  }
}

/** Says which place was looked at. */
function nothingAt({ DATABASE_URL: url, DATA_DIR: dataDir }: Config, error: unknown): unknown {
  if (!(error instanceof NeverUsed)) return error
  const place = url === undefined ? `in DATA_DIR ${dataDir}` : `at DATABASE_URL ${withoutPassword(url)}`
  return new CommandError(`There is nothing to rotate ${place}: ${error.message}.`)
}
