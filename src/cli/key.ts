import { Argument, type Command } from 'commander'
import { z } from 'zod'
import { makeApiKey } from '../commands/keys.ts'
import { type Slot, slots } from '../events/catalogue.ts'
import { operate } from './operate.ts'
import { argument, customerIdArgument, print, printJson, reasonArgument } from './output.ts'
import { withSystem } from './system.ts'

const slotArgument = () => new Argument('<slot>', 'which of the two keys').choices(slots)
const future = argument(
  z
    .union([z.iso.date(), z.iso.datetime({ offset: true, local: true })])
    .transform((value) => new Date(value))
    .refine((date) => date.getTime() > Date.now())
    .transform((date) => date.toISOString()),
  'a date or an instant (ISO 8601) in the future',
)

export function addKeyCommands(program: Command): void {
  const key = program.command('key').description("a customer's two API keys")

  key
    .command('regenerate')
    .description('refuse the key in a slot from now on and issue another; it is shown once, here')
    .argument('<customer-id>', '', customerIdArgument)
    .addArgument(slotArgument())
    .option('--expires <instant>', 'refuse the new key from this instant on', future)
    .option('--json', 'one JSON object')
    .action((id: string, slot: Slot, options: { expires?: string; json?: true }) =>
      withSystem(async (system) => {
        const { secret, key: made } = makeApiKey()
        // Shown only after `operate` saw it in the key table: a key that is shown is a key that works.
        await operate(system, id, { type: 'RegenerateApiKey', slot, key: made, expiresAt: options.expires })
        if (options.json) return printJson({ customer_id: id, slot, key_id: made.keyId, key: secret })
        print(`New ${slot} key  ${secret}`)
        print('It is shown this once and kept nowhere. The key it replaces is refused already.')
      }),
    )

  key
    .command('deactivate')
    .description('refuse the key in a slot from now on')
    .argument('<customer-id>', '', customerIdArgument)
    .addArgument(slotArgument())
    .option('--reason <text>', 'kept in the log', reasonArgument, 'by the operator')
    .option('--json', 'one JSON object')
    .action((id: string, slot: Slot, { reason, json }: { reason: string; json?: true }) =>
      withSystem(async (system) => {
        await operate(system, id, { type: 'DeactivateApiKey', slot, reason })
        if (json) return printJson({ customer_id: id, slot, deactivated: true })
        print(`The ${slot} key of ${id} is refused from now on.`)
      }),
    )
}
