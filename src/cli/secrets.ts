import type { Command } from 'commander'
import { secretsOf } from '../app/secrets.ts'
import { rotateKeys } from '../app/secrets-keys.ts'
import { loadConfig } from '../config.ts'
import { CommandError, print, printJson } from './output.ts'
import { withSystem } from './system.ts'

export function addSecretsCommands(program: Command): void {
  const secrets = program.command('secrets').description('change of SECRETS_KEY')

  secrets
    .command('rotate')
    .description('from now on everybody writes with SECRETS_KEY, and still accepts SECRETS_KEY_PREVIOUS')
    .option('--json', 'one JSON object')
    .addHelpText('after', '\nFirst start every process with both settings; docs/operations.md has the steps.')
    .action(({ json }: { json?: true }) =>
      withSystem(async ({ pool }) => {
        const { secretsKeys } = await secretsOf(loadConfig().config)
        const [next, previous] = secretsKeys
        if (next === undefined || previous === undefined) {
          throw new CommandError('Set SECRETS_KEY to the new key and SECRETS_KEY_PREVIOUS to the one before it.')
        }
        const { changed, resealed, previousNeededUntil } = await rotateKeys(pool, { next, previous })
        const until = previousNeededUntil.toISOString()
        if (json) return printJson({ changed, resealed, previous_needed_until: until })
        print(changed ? 'Everybody writes with the new key.' : 'The new key was the one that writes already.')
        print(`${resealed} secrets of authenticators were sealed anew.`)
        print(`Keep SECRETS_KEY_PREVIOUS set until ${until}; after that, start every process without it.`)
      }),
    )
}
